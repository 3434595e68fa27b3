"""``prune`` cuts columns of every kind of layer, under a pattern, or says why it does not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from acgraph.driver.cost.compact import SmallestChooser
from acgraph.driver.prune.magnitude import PruneReport, prune
from acgraph.errors import UsageError
from acgraph.ir import Model, is_same, model_from_proto, read_model
from acgraph.lowering import Candidate, CostModelChooser
from acgraph.models.demo import model_path


@pytest.fixture(scope="module")
def demo() -> Model:
    return read_model(model_path())


def cut(model: Model, **options: Any) -> PruneReport:
    options = {"sparsity": 0.0, "columns": 0.75, "chooser": CostModelChooser()} | options
    return prune(model, **options)


def masks(result: PruneReport) -> dict[str, np.ndarray]:
    """Keep-flags ``[channels, *kernel]`` of every convolution of the masked model."""
    constants = result.masked.constants()
    weights = [constants[n.inputs[1].name] for n in result.masked.graph.nodes if n.op == "Conv"]
    return {str(i): (weight != 0).any(axis=0) for i, weight in enumerate(weights)}


def test_every_pattern_cuts_otherwise(demo: Model) -> None:
    found = {}
    for pattern in ("free", "balanced", "kernel", "contiguous", "box"):
        result = cut(demo, column_pattern=pattern)
        assert result.verify.passed
        found[pattern] = b"".join(mask.tobytes() for mask in masks(result).values())
        assert {c.pattern for c in result.cuts if not c.remark} >= {pattern}
    assert len(set(found.values())) == len(found)


def test_kernel_keeps_all_channels_at_the_same_positions(demo: Model) -> None:
    for mask in masks(cut(demo, column_pattern="kernel")).values():
        if mask[0].size > 1 and mask.shape[0] > 1:
            assert (mask == mask[:1]).all()


def test_auto_says_which_pattern_each_layer_got(demo: Model) -> None:
    result = cut(demo, column_pattern="auto")
    patterns = {c.name: c.pattern for c in result.cuts if not c.remark}
    assert set(patterns.values()) <= {"free", "balanced", "kernel", "contiguous", "box"}
    assert set(patterns.values()) != {"free"}  # the demo's layers are small
    for name in patterns:
        assert name in {layer.name for layer in result.lowered}


def test_multiple_rounds_the_channels_at_every_position(demo: Model) -> None:
    plain, rounded = (
        masks(
            cut(
                demo,
                column_pattern="balanced",
                column_multiple=n,
                chooser=SmallestChooser("params"),
            )
        )
        for n in (1, 3)
    )
    assert any((plain[k] != rounded[k]).any() for k in plain)
    for mask in rounded.values():
        counts = mask.reshape(len(mask), -1).sum(axis=0)
        assert all(count % 3 == 0 or count == len(mask) for count in counts)


def test_no_other_pattern_is_taken(demo: Model) -> None:
    with pytest.raises(UsageError, match="no column pattern is named 'round'"):
        cut(demo, column_pattern="round")


RNG = np.random.default_rng(0)


def weight(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def chain(steps: Sequence[Any], constants: dict[str, np.ndarray], shape: Sequence[int]) -> Model:
    graph = helper.make_graph(
        list(steps),
        "g",
        [helper.make_tensor_value_info("x", 1, list(shape))],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 17)]
    return model_from_proto(helper.make_model(graph, opset_imports=imports, ir_version=8))


def one(op: str, w: np.ndarray, shape: Sequence[int], **attrs: Any) -> Model:
    return chain([helper.make_node(op, ["x", "w"], ["y"], name="layer", **attrs)], {"w": w}, shape)


def test_a_channel_without_columns_goes_with_its_filter() -> None:
    first, second = weight(8, 3, 3, 3), weight(4, 8, 3, 3)
    second[:, [1, 6]] *= 0.01
    steps = [
        helper.make_node("Conv", ["x", "a", "b"], ["p"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["p"], ["q"], name="relu"),
        helper.make_node("Conv", ["q", "c"], ["y"], name="second"),
    ]
    constants = {"a": first, "b": weight(8), "c": second}
    result = cut(chain(steps, constants, [1, 3, 9, 9]), columns=0.5, chooser=SmallestChooser())
    assert result.verify.passed
    masked = result.masked.constants()
    gone = [1, 6]
    for name in ("a", "b"):
        assert np.flatnonzero(~masked[name].reshape(8, -1).any(axis=1)).tolist() == gone
    filters = (
        next(n for n in result.model.graph.nodes if n.name.startswith("first/") and n.op == "Conv")
        .inputs[1]
        .shape[0]
    )
    assert filters == 6
    (_, after) = result.lowered
    assert (after.columns_before, after.columns_after) == (72, 36)


LAYERS: dict[str, tuple[Model, int, int]] = {
    "1d": (one("Conv", weight(6, 8, 5), [1, 8, 40], pads=[2, 2]), 40, 10),
    "3d": (one("Conv", weight(4, 6, 3, 3, 3), [1, 6, 6, 6, 6], pads=[1] * 6), 162, 40),
    "grouped": (one("Conv", weight(8, 4, 3, 3), [1, 8, 9, 9], group=2), 36, 8),
    "depthwise": (one("Conv", weight(8, 1, 3, 3), [1, 8, 9, 9], group=8), 9, 2),
    "1x1": (one("Conv", weight(8, 64, 1, 1), [1, 64, 9, 9]), 64, 16),
    "gemm": (one("Gemm", weight(16, 64), [1, 64], transB=1), 64, 16),
    "matmul": (one("MatMul", weight(64, 16), [2, 5, 64]), 64, 16),
    "batched": (one("MatMul", weight(3, 64, 16), [3, 5, 64]), 64, 16),
    "transposed": (
        one("ConvTranspose", weight(16, 4, 3, 3), [1, 16, 6, 6], strides=[2, 2]),
        144,
        36,
    ),
}


@pytest.mark.parametrize("case", LAYERS)
def test_columns_of_every_kind_of_layer_go(case: str) -> None:
    model, before, after = LAYERS[case]
    result = cut(model, chooser=SmallestChooser())
    (layer,) = result.lowered
    assert result.verify.passed
    assert layer.remark == ""
    assert layer.form != "dense"
    assert (layer.columns_before, layer.columns_after) == (before, after)
    assert result.after.params < result.before.params


def embedded(*, tied: bool) -> Model:
    """An embedding, and a head that multiplies with the same table."""
    table, head = weight(64, 32), weight(64, 32)
    name = "table" if tied else "head"
    steps = [
        helper.make_node("Cast", ["x"], ["i"], name="cast", to=7),
        helper.make_node("Gather", ["table", "i"], ["e"], name="embed"),
        helper.make_node("Transpose", [name], ["t"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["e", "t"], ["y"], name="layer"),
    ]
    constants = {"table": table} | ({} if tied else {"head": head})
    return chain(steps, constants, [2, 3])


def remark(result: PruneReport) -> str:
    return next(layer.remark for layer in result.lowered if layer.name == "layer")


def test_a_table_that_other_nodes_read_is_not_cut() -> None:
    result = cut(embedded(tied=True))
    assert remark(result) == "the weight is also read by embed, which is not a layer"
    assert np.all(result.masked.constants()["table"] != 0)
    assert remark(cut(embedded(tied=False), chooser=SmallestChooser())) == ""


def test_layers_that_are_not_cut_say_why() -> None:
    grouped = one("ConvTranspose", weight(4, 2, 3, 3), [1, 4, 6, 6], group=2)
    assert "group" in remark(cut(grouped))
    assert (
        remark(cut(one("Conv", weight(4, 1, 1, 1), [1, 1, 6, 6])))
        == "the layer has only one column"
    )
    turned = chain(
        [
            helper.make_node("Identity", ["w"], ["v"], name="alias"),
            helper.make_node("Conv", ["x", "v"], ["y"], name="layer"),
        ],
        {"w": weight(4, 4, 3, 3)},
        [1, 4, 6, 6],
    )
    assert remark(cut(turned)) == "the weight passes through alias before the layer reads it"


class Dense:
    """Finds no form worth taking."""

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        return candidates[0]


def test_columns_that_save_nothing_are_not_zeroed() -> None:
    model, before, _ = LAYERS["gemm"]
    result = cut(model, chooser=Dense())
    (layer,) = result.lowered
    assert (layer.columns_before, layer.columns_after) == (before, before)
    assert (
        layer.remark
        == "no compact form of the layer is both smaller and faster than the dense form"
    )
    for changed in (result.masked, result.model):
        assert is_same(changed.constants()["w"], model.constants()["w"])


def test_a_filter_that_lost_its_readers_stays_away_when_columns_come_back() -> None:
    first, second = weight(8, 3, 3, 3), weight(4, 8, 3, 3)
    second[:, [1, 6]] *= 0.01
    steps = [
        helper.make_node("Conv", ["x", "a"], ["p"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["p"], ["q"], name="relu"),
        helper.make_node("Conv", ["q", "c"], ["y"], name="second"),
    ]
    model = chain(steps, {"a": first, "c": second}, [1, 3, 9, 9])
    result = cut(model, columns=0.5, chooser=Dense())
    assert result.verify.passed
    constants = result.model.constants()
    assert is_same(constants["c"], np.delete(second, [1, 6], axis=1))
    assert is_same(constants["a"], np.delete(first, [1, 6], axis=0))


def test_filters_that_lost_their_readers_go_in_whole_blocks() -> None:
    first, second = weight(16, 3, 3, 3), weight(4, 16, 3, 3)
    second[:, :6] *= 0.01
    steps = [
        helper.make_node("Conv", ["x", "a"], ["p"], name="first", pads=[1] * 4),
        helper.make_node("Conv", ["p", "c"], ["y"], name="second"),
    ]
    model = chain(steps, {"a": first, "c": second}, [1, 3, 9, 9])
    for align, kept in ((1, 10), (4, 12), (16, 16)):
        result = cut(model, columns=0.4, align=align, chooser=Dense())
        assert result.model.constants()["a"].shape[0] == kept


def test_a_file_that_would_become_larger_is_left_as_it_is() -> None:
    """Three filters go; the Slice whose ends must be computed anew weighs more than they do."""
    model, *_ = LAYERS["depthwise"]
    result = prune(model, sparsity=0.0, columns=0.4, allow_slower=True)
    assert result.after.bytes <= result.before.bytes
    assert result.verify.passed


def shared_block(*, by: str) -> Model:
    """Run one block twice: with its weight through Identity, or two equal ones transposed."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal((64, 64)).astype(np.float32) / 8
    head = rng.standard_normal((64, 5)).astype(np.float32)
    weights = {"w": block, "head": head}
    if by == "Identity":
        reads = [helper.make_node("Identity", ["w"], [name], name=f"as_{name}") for name in "vu"]
        first, second = "v", "u"
    else:
        weights["u"] = block.copy()
        reads = [
            helper.make_node("Transpose", [name], [f"{name}.t"], name=f"turn_{name}")
            for name in ("w", "u")
        ]
        first, second = "w.t", "u.t"
    nodes = [
        *reads,
        helper.make_node("MatMul", ["x", first], ["a"], name="first"),
        helper.make_node("LayerNormalization", ["a", "one"], ["n"], name="norm"),
        helper.make_node("MatMul", ["n", second], ["b"], name="second"),
        helper.make_node("MatMul", ["b", "head"], ["y"], name="last"),
    ]
    weights["one"] = np.linspace(0.5, 1.5, 64, dtype=np.float32)
    graph = helper.make_graph(
        nodes,
        "shared",
        [helper.make_tensor_value_info("x", 1, [3, 64])],
        [helper.make_tensor_value_info("y", 1, [3, 5])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model_from_proto(proto, "shared")


@pytest.mark.parametrize("by", ["Identity", "Transpose"])
def test_equal_weights_of_several_layers_lose_the_same_columns(by: str) -> None:
    """The check failed: the masked model had zeros in one of them, the compact one in both."""
    result = cut(shared_block(by=by), columns=0.5, chooser=SmallestChooser("size"))
    assert result.verify.passed
    forms = {layer.name: layer.columns_after for layer in result.lowered}
    assert forms["first"] == forms["second"] == 32


def test_columns_go_behind_a_length_that_depends_on_the_data(make_net: Any) -> None:
    net = make_net()
    first = net.op("Gather", net.input(1, 8, 40), net.const(np.int64(0)), axis=1)
    where = net.op("NonZero", net.op("Greater", first, net.const(np.float32(0))))
    index = net.op("Gather", where, net.const(np.int64(1)), axis=0)
    x = net.op("Gather", "x", index, axis=2)
    x = net.op("Conv", x, net.w(16, 8, 3), pads=[1, 1], name="wide")
    x = net.op("Conv", net.op("Relu", x), net.w(16, 16, 5), pads=[2, 2], strides=[2], name="half")
    x = net.op("ConvTranspose", net.op("Relu", x), net.w(16, 8, 4), strides=[2], name="up")
    x = net.op("MatMul", net.op("Transpose", x, perm=[0, 2, 1]), net.w(8, 2), name="last")
    result = cut(model_from_proto(net.proto(x)), chooser=SmallestChooser("params"), columns=0.6)
    assert result.verify.passed
    assert {layer.name for layer in result.lowered if layer.form != "dense"} >= {"wide", "half"}
    assert [c.remark for c in result.cuts] == [""] * 4
    assert result.after.params < 0.6 * result.before.params
