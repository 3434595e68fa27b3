"""What is only rounding passes, whatever the outputs make of it, and what is not does not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.backends.ort.mobile import write_ort
from acgraph.backends.ort.noise import move
from acgraph.ir import model_from_proto
from acgraph.ir.precision import computes_in_half, widened

Parse = Callable[[str], bytes]


def _network(last: str, *, order: int = 0, wrong: float = 0.0, bias: float = 0.0) -> bytes:
    """Two layers of float32 and an operator; equal for any ``order`` of the hidden channels.

    Another order is another order of the sums, so another rounding. ``wrong`` is added to one
    weight.
    """
    rng = np.random.default_rng(5)
    first, second = rng.standard_normal((32, 300)), rng.standard_normal((300, 4))
    first[:, 150:], second[:150, 1] = first[:, :150], 0
    second[150:, 1], second[150:, 0] = second[:150, 0], 0  # outputs 0 and 1 are ties
    second[7, 0] += wrong
    hidden = np.random.default_rng(order).permutation(300)
    weights = {
        "w": first[:, hidden] / 6,
        "v": second[hidden] / 20,
        "b": np.full(4, bias),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "v"], ["s"], "second"),
        helper.make_node("Add", ["s", "b"], ["a"], "bias"),
        helper.make_node(last, ["a"], ["y"], "last", **({"axis": 1} if last == "ArgMax" else {})),
    ]
    kind = TensorProto.INT64 if last == "ArgMax" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 32])],
        [helper.make_tensor_value_info("y", kind, [64, 1 if last == "ArgMax" else 4])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _without_first(model: bytes) -> bytes:
    """Rename what the first layer makes: its channels are in another order, which no cut does."""
    proto = onnx.ModelProto.FromString(model)
    proto.graph.node[0].output[0] = proto.graph.node[1].input[0] = "another"
    return bytes(proto.SerializeToString())


def test_indices_that_flip_on_ties_are_compared_before_they_are_chosen() -> None:
    masked, compact = _network("ArgMax"), _without_first(_network("ArgMax", order=1))
    result = check_equivalence(compact, masked)
    assert result.passed
    assert not result.vacuous
    assert result.max_rel_error < 1e-5
    assert "compared before its last operators, at 's'" in result.per_output[0].remark
    wrong = check_equivalence(_without_first(_network("ArgMax", order=1, wrong=0.1)), masked)
    assert not wrong.passed


@pytest.mark.parametrize("bias", [-17.0, 40.0])
def test_sigmoids_that_saturate_are_compared_before(bias: float) -> None:
    masked = _network("Sigmoid", bias=bias)
    result = check_equivalence(_without_first(_network("Sigmoid", order=1, bias=bias)), masked)
    assert result.passed
    assert not result.vacuous
    wrong = check_equivalence(
        _without_first(_network("Sigmoid", order=1, bias=bias, wrong=0.1)), masked
    )
    assert not wrong.passed
    assert "tensor '" in wrong.failures[-1] or "output" in wrong.failures[0]


def test_where_no_graph_is_at_hand_rounding_is_measured(tmp_path: Path) -> None:
    """A file for phones shows nothing inside: the steps of the sigmoid's kernel are its noise."""
    path = tmp_path / "compact.onnx"
    path.write_bytes(_network("Sigmoid", order=1, bias=-17.0))
    write_ort(path, tmp_path / "compact.ort")
    result = check_equivalence(tmp_path / "compact.ort", _network("Sigmoid", bias=-17.0))
    assert result.passed
    assert result.per_output[0].noise > 1e-4
    assert "rounding" in result.per_output[0].remark


def test_a_last_operator_that_differs_is_found_behind_equal_values() -> None:
    masked, compact = _network("ArgMax"), onnx.ModelProto.FromString(_network("ArgMax"))
    compact.graph.node[-1].op_type = "ArgMin"
    assert not check_equivalence(compact.SerializeToString(), masked).passed


def test_what_the_inputs_hardly_change_must_be_equal_all_the_closer() -> None:
    """A few parts in 100,000 of the largest output is all that the inputs change of it."""
    masked = _network("Identity", bias=2e5)
    result = check_equivalence(_without_first(_network("Identity", order=1, bias=2e5)), masked)
    assert result.passed
    wrong = check_equivalence(
        _without_first(_network("Identity", order=1, bias=2e5, wrong=5.0)), masked
    )
    assert wrong.max_rel_error < 1e-4
    assert not wrong.passed


def test_a_network_in_float16_is_compared_in_float32() -> None:
    model = onnx.ModelProto.FromString(_network("Identity"))
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    other = onnx.ModelProto()
    other.CopyFrom(model)
    order = np.random.default_rng(1).permutation(300)
    for tensor, axis in zip(other.graph.initializer[:2], (1, 0), strict=True):
        values = np.take(numpy_helper.to_array(tensor), order, axis)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    compact = _without_first(other.SerializeToString())
    result = check_equivalence(compact, model.SerializeToString())
    assert result.passed
    assert result.max_rel_error < 1e-5
    assert "float32" in result.notes[-1]


def test_widening_changes_no_value() -> None:
    model = onnx.ModelProto.FromString(_network("Relu"))
    assert not computes_in_half(model_from_proto(model))
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor).astype(np.float16)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    half = model_from_proto(model)
    assert computes_in_half(half)
    wide = widened(half)
    assert not computes_in_half(wide)
    assert np.array_equal(wide.constants()["w"], values.astype(np.float32))


def test_weights_move_by_one_step_and_zeros_stay() -> None:
    values = np.array([1.0, 0.0, -2.5, np.inf, np.finfo(np.float16).max], np.float16)
    moved = move(values, np.random.default_rng(0))
    assert moved.dtype == values.dtype
    assert moved[1] == 0
    assert moved[3] == np.inf
    assert np.isfinite(moved[4])
    assert 0 < abs(float(moved[0]) - 1.0) <= 2**-10


def _sensitive(*, order: int = 0, wrong: float = 0.0) -> bytes:
    """``sin((x W V)^3)``, in which rounding grows with the cube of the inputs."""
    model = onnx.ModelProto.FromString(_network("Sin", order=order, wrong=wrong))
    *_, last = model.graph.node
    square = helper.make_node("Mul", [last.input[0], last.input[0]], ["square"], "square")
    cube = helper.make_node("Mul", ["square", last.input[0]], ["cube"], "cube")
    last.input[0] = "cube"
    del model.graph.node[-1]
    model.graph.node.extend([square, cube, last])
    return bytes(model.SerializeToString())


def test_rounding_is_measured_on_the_inputs_where_the_models_differ() -> None:
    usual = [{"x": np.random.default_rng(k).standard_normal((64, 32))} for k in range(3)]
    inputs = [{"x": each["x"].astype(np.float32)} for each in usual]
    masked, compact = _sensitive(), _without_first(_sensitive(order=1))
    result = check_equivalence(compact, masked, inputs=inputs)
    assert result.max_rel_error > 1e-4  # on larger inputs only
    assert result.passed
    assert "the difference is rounding" in result.per_output[0].remark


def test_rounding_of_larger_inputs_excuses_no_difference_on_usual_ones() -> None:
    inputs = [{"x": np.ones((64, 32), np.float32) * scale} for scale in (1.0, 1.1, 300.0)]
    masked = _sensitive()
    noisy = check_equivalence(_without_first(_sensitive(order=1)), masked, inputs=inputs)
    assert noisy.passed
    wrong = _without_first(_sensitive(order=1, wrong=0.002))
    result = check_equivalence(wrong, masked, inputs=inputs)
    assert result.per_output[0].noise > 100 * 1e-4
    assert not result.passed
