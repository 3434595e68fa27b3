"""An If whose condition the file decides becomes its branch; any other stays as it is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from acgraph.analysis.dependency import analyse
from acgraph.ir import Model, model_from_proto, proto_from_model, resolve_sizes
from acgraph.ir.check import check_model
from acgraph.ir.validity import check_proto

Nodes = Sequence[onnx.NodeProto]
node = helper.make_node


def _value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _bare(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _branch(nodes: Nodes, *outputs: str, **constants: Any) -> onnx.GraphProto:
    return helper.make_graph(
        list(nodes), "b", [], [_bare(name) for name in outputs], _tensors(constants)
    )


def _tensors(constants: dict[str, Any]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]


def _net(
    nodes: Nodes, inputs: Sequence[onnx.ValueInfoProto], outputs: Nodes, **constants: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), _tensors(constants))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    check_proto(proto)
    return proto


def _run(proto: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def _ops(model: Model) -> list[str]:
    return [n.op for n in model.graph.nodes]


def _checked(proto: onnx.ModelProto, **feeds: np.ndarray) -> Model:
    """Read a model, and show that what is written of it computes the same."""
    model = model_from_proto(proto)
    check_model(model)
    # ONNX Runtime makes garbage of an If where a branch returns a value twice.
    expected = ReferenceEvaluator(proto).run(None, feeds)
    for a, b in zip(expected, _run(proto_from_model(model), **feeds), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    return model


def _squeeze(batch: int | str, length: int | str) -> onnx.ModelProto:
    """What torch writes for squeeze(2): is the length one?"""
    then = _branch([node("Squeeze", ["b", "ax"], ["t"])], "t")
    other = _branch([node("Identity", ["b"], ["f"])], "f")
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["x", "w1"], ["a"], "conv"),
        node("Relu", ["a"], ["b"], "relu"),
        node("Shape", ["b"], ["s"]),
        node("Gather", ["s", "two"], ["n"], axis=0),
        node("Equal", ["n", "one"], ["c"]),
        node("If", ["c"], ["q"], "if", then_branch=then, else_branch=other),
        node("ReduceSum", ["q", "ax1"], ["r"], keepdims=0),
        node("Softsign", ["r"], ["y"]),
    ]
    return _net(
        nodes,
        [_value("x", batch, 8, length)],
        [_bare("y")] if isinstance(length, str) else [_value("y", batch)],
        w1=rng.standard_normal((16, 8, 4)).astype("f4"),
        ax=np.array([2]), ax1=np.array([1]), two=np.array([2]), one=np.array([1]),
    )  # fmt: skip


def _x(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("batch", [1, "n"])
def test_a_condition_on_fixed_sizes_is_decided(batch: int | str) -> None:
    model = _checked(_squeeze(batch, 4), x=_x(1, 8, 4))
    assert "If" not in _ops(model)
    assert "Equal" not in _ops(model)  # nothing reads it any more
    assert model.remarks == ["1 If with a constant condition replaced by the branch taken: if"]
    family = analyse(model).family("conv")
    assert not any("subgraph" in fence.message for fence in family.fences)


def test_a_condition_on_an_open_size_is_not_decided_by_the_sizes_that_are_tried() -> None:
    proto = _squeeze(1, "length")
    model = _checked(proto, x=_x(1, 8, 4))
    assert "If" in _ops(model)
    _checked(proto, x=_x(1, 8, 9))
    assert any("subgraph" in f.message for f in analyse(model).all_fences())


def test_an_open_size_that_comes_to_one_number_decides_nothing() -> None:
    """At most 3 of the length are kept: 3 at every size that is tried, but 2 of 2."""
    branch = {
        name: _branch([node(op, ["a"], [name])], name) for name, op in (("t", "Neg"), ("f", "Abs"))
    }
    nodes = [
        node("Slice", ["x", "zero", "three", "one"], ["a"]),
        node("Shape", ["a"], ["s"], start=1),
        node("Equal", ["s", "three"], ["c"]),
        node("If", ["c"], ["y"], "if", then_branch=branch["t"], else_branch=branch["f"]),
    ]
    proto = _net(
        nodes, [_value("x", 1, "length")], [_bare("y")],
        zero=np.array([0]), one=np.array([1]), three=np.array([3]),
    )  # fmt: skip
    assert "If" in _ops(_checked(proto, x=_x(1, 2)))
    _checked(proto, x=_x(1, 8))


def test_an_if_on_an_input_keeps_its_fence() -> None:
    branch = _branch([node("MatMul", ["a", "w"], ["o"])], "o")
    nodes = [
        node("MatMul", ["x", "w0"], ["a"], "first"),
        node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch),
    ]
    inputs = [_value("x", 1, 4), _value("c", kind=TensorProto.BOOL)]
    w = np.eye(4, dtype=np.float32)
    model = _checked(
        _net(nodes, inputs, [_value("y", 1, 4)], w=w, w0=w), x=_x(1, 4), c=np.array(True)
    )
    assert _ops(model) == ["MatMul", "If"]
    assert not analyse(model).prunable()


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("as_node", [True, False])
def test_what_branches_share_and_name_alike(condition: bool, as_node: bool) -> None:
    """Names made in both, a nested If, captured and own constants, a loop, and two more Ifs."""
    nested = {
        kind: _branch(
            [node(op, ["t"], ["u"], "twin"), node("Add", ["u", "own"], ["o"], "twin2")], "o",
            own=np.full(4, value, np.float32),
        )
        for kind, op, value in (("then_branch", "Neg", 2), ("else_branch", "Abs", 3))
    }  # fmt: skip
    flag = TensorProto.BOOL
    body = helper.make_graph(
        [node("Identity", ["go"], ["went"]), node("Add", ["v", "t"], ["v2"])], "body",
        [_value("i", kind=TensorProto.INT64), _value("go", kind=flag), _value("v", 1, 4)],
        [_value("went", kind=flag), _value("v2", 1, 4)],
    )  # fmt: skip
    then = _branch(
        [
            node("MatMul", ["a", "w"], ["t"], "twin"),
            node("If", ["inner"], ["p"], "inside", **nested),
            node("Loop", ["count", "yes", "p"], ["l"], "loop", body=body),
            node("Identity", ["a"], ["same"], "hands on"),
        ],
        "l", "same", "l", "k",
        inner=np.array(False), count=np.array(2), yes=np.array(True),
        k=np.full((1, 4), 7, np.float32),
    )  # fmt: skip
    other = _branch(
        [node("Neg", ["a"], ["t"], "twin"), node("MatMul", ["t", "w"], ["u"])], "u", "t", "t", "u"
    )
    both = {"then_branch": then, "else_branch": other}
    again = {
        kind: _branch([node(op, ["y0"], ["t"], "twin")], "t")
        for kind, op in (("then_branch", "Abs"), ("else_branch", "Neg"))
    }
    nodes = [
        node("Relu", ["x"], ["a"], "relu"),
        node("If", ["c"], ["y0", "y1", "y2", "y3"], "first", **both),
        node("If", ["c"], ["y4"], "second", **again),
    ]
    constants: dict[str, Any] = {"w": np.eye(4, dtype=np.float32) * 3}
    if as_node:
        value = numpy_helper.from_array(np.array([condition]))
        nodes.insert(0, node("Constant", [], ["c"], value=value))
    else:
        constants["c"] = np.array(condition)
    outputs = [_bare(f"y{i}") for i in range(5)]
    proto = _net(nodes, [_value("x", 1, 4)], outputs, **constants)
    before = proto.SerializeToString(deterministic=True)
    model = _checked(proto, x=_x(1, 4))
    assert proto.SerializeToString(deterministic=True) == before
    assert "If" not in _ops(model)
    assert model.remarks[0].startswith("3 Ifs" if condition else "2 Ifs")
    assert ("Loop" in _ops(model)) == condition


def test_notes_of_nodes_in_a_branch_stay() -> None:
    inner = node("Neg", ["x"], ["t"], "inner")
    inner.metadata_props.add(key="namespace", value="net/inner")
    branch = _branch([inner], "t")
    proto = _net(
        [node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        [_value("x", 2)], [_value("y", 2)], c=np.array(True),
    )  # fmt: skip
    (written,) = proto_from_model(model_from_proto(proto)).graph.node
    assert (written.op_type, written.name, list(written.output)) == ("Neg", "inner", ["y"])
    assert written.metadata_props[0].value == "net/inner"


def test_assumed_sizes_fit_what_is_inside_branches() -> None:
    branches = {
        f"{name}_branch": _branch(
            [node("Conv", ["x", "w"], [f"{name}_y"], f"{name}_conv")],
            f"{name}_y",
            w=np.ones((2, 1, width), np.float32),
        )
        for name, width in (("then", 300), ("else", 40))
    }
    proto = _net(
        [node("If", ["c"], ["y"], "choose", **branches)],
        [_value("x", "n", 1, "length"), _value("c", kind=TensorProto.BOOL)],
        [_value("y", "n", 2, "frames")],
    )
    sizes = resolve_sizes(model_from_proto(proto))
    assert sizes.shapes["x"] == (1, 1, 512)
    assert not sizes.contradiction
