"""What may not be cut: the node and the reason are named, and the rest goes on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from acgraph.analysis.dependency import analyse
from acgraph.ir import model_from_proto

Build = Callable[[Any, str], str]


def _conv_head(net: Any, x: str) -> Any:
    return net.proto(net.conv(x, 8, 2))


REFUSALS: dict[str, tuple[str, int, Build]] = {
    "custom operator": (
        "the operator is not understood",
        17,
        lambda net, x: net.op("Wave", x, domain="my.ops"),
    ),
    "branches": ("is read inside a subgraph", 17, lambda net, x: _branch(net, x)),
    "local response": (
        "looks at neighbouring channels",
        17,
        lambda net, x: net.op("LRN", x, size=3),
    ),
    "convolution along the channels": (
        "convolves along the axis",
        17,
        lambda net, x: _channel_conv(net, x),
    ),
    "cumulative sum": (
        "sums along the axis",
        17,
        lambda net, x: net.op("CumSum", x, net.const(np.int64(1))),
    ),
    "largest channels": (
        "takes the largest along the axis",
        17,
        lambda net, x: net.op("TopK", x, net.ints(8), outputs=2, axis=1)[0],
    ),
    "best channel": (
        "returns positions on the axis",
        17,
        lambda net, x: _best(net, x),
    ),
    "step over channels": (
        "slices with a step",
        17,
        lambda net, x: net.op("Slice", x, net.ints(7), net.ints(-9), net.ints(1), net.ints(-1)),
    ),
    "wrapped padding": (
        "pads the axis in mode reflect",
        17,
        lambda net, x: net.op(
            "Slice",
            net.op("Pad", x, net.ints(0, 1, 0, 0, 0, 1, 0, 0), mode="reflect"),
            net.ints(1), net.ints(9), net.ints(1),
        ),
    ),
    "indices from the data": (
        "gathers at indices that are not constant",
        17,
        lambda net, x: net.op("Gather", x, net.input(8, name="i", dtype=np.int64), axis=1),
    ),
    "scattered channels": (
        "scatters by index along the axis",
        17,
        lambda net, x: net.op(
            "ScatterND", x, net.const(np.zeros((1, 2), np.int64)), net.w(1, 8, 8)
        ),
    ),
    "no common factors": (
        "splits or joins axes that have no common factors",
        17,
        lambda net, x: _odd_view(net, x),
    ),
    "quantised": (
        "prune the model before quantisation",
        17,
        lambda net, x: net.op("DequantizeLinear", net.op(
            "QuantizeLinear", x, net.const(np.float32(0.1)), net.const(np.int8(0))),
            net.const(np.float32(0.1)), net.const(np.int8(0))),
    ),
    "weights from the data": (
        "the weight is not a constant",
        17,
        lambda net, x: net.op("Conv", x, net.input(8, 8, 1, 1, name="k")),
    ),
    "fused attention": (
        "heads inside the operator are not analysed",
        23,
        lambda net, x: net.op("Attention", x, x, x),
    ),
    "positions of what is not zero": (
        "the positions of its results depend on the data",
        17,
        lambda net, x: net.op(
            "Add", x, net.op("Cast", net.op("ReduceMax", net.op("NonZero", x), keepdims=0), to=1)
        ),
    ),
    "identity of the same shape": (
        "it converts between positions and values",
        17,
        lambda net, x: net.op("Add", x, net.op("EyeLike", net.op("Squeeze", net.op(
            "Slice", x, net.ints(0), net.ints(1), net.ints(2)), net.ints(0, 2)))),
    ),
    "triangle": (
        "cuts a triangle along the axis",
        17,
        lambda net, x: net.op(
            "Transpose",
            net.op("Trilu", net.op("Transpose", x, perm=[0, 2, 3, 1])),
            perm=[0, 3, 1, 2],
        ),
    ),
}  # fmt: skip


def _channel_conv(net: Any, x: str) -> str:
    """Efficient channel attention: a convolution over the channel axis itself."""
    s = net.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    s = net.op("Conv", net.op("Unsqueeze", s, net.ints(1)), net.w(1, 1, 3), pads=[1, 1])
    s = net.op("Sigmoid", net.op("Reshape", s, net.ints(1, 8, 1, 1)))
    return str(net.op("Mul", x, s))


def _best(net: Any, x: str) -> str:
    best = net.op("Cast", net.op("ArgMax", x, axis=1), to=1)
    return str(net.op("Add", x, best))


def _odd_view(net: Any, x: str) -> str:
    x = net.op("MaxPool", x, kernel_shape=[3, 3])
    return str(net.op("Reshape", net.op("Reshape", x, net.ints(1, 9, 32)), net.ints(1, 8, 6, 6)))


def _branch(net: Any, x: str) -> str:
    def side(name: str, op: str) -> onnx.GraphProto:
        made = helper.make_tensor_value_info(f"{name}_y", 1, (1, 8, 8, 8))
        return helper.make_graph([helper.make_node(op, [x], [f"{name}_y"])], name, [], [made])

    flag = net.input(name="flag", dtype=np.bool_)
    return str(net.op("If", flag, then_branch=side("a", "Relu"), else_branch=side("b", "Neg")))


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_names_node_and_reason(name: str, make_net: Any) -> None:
    reason, opset, build = REFUSALS[name]
    net = make_net(opset)
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    found = analyse(model_from_proto(_conv_head(net, build(net, x))))
    assert not found.prunable(allow_inexact=True)
    texts = [str(f) for f in found.all_fences()]
    assert any(reason in text and "node '" in text for text in texts), texts


#: ONNX Runtime has no such operator, or the weights are an input.
_WITHOUT_RUN = {"custom operator", "weights from the data", "fused attention"}


@pytest.mark.parametrize("name", sorted(set(REFUSALS) - _WITHOUT_RUN))
def test_one_odd_node_does_not_stop_the_rest(
    name: str, make_net: Any, check_equivalence: Any
) -> None:
    _, opset, build = REFUSALS[name]
    net = make_net(opset)
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    x = net.op("Relu", net.conv(build(net, x), 8, 16))
    assert check_equivalence(net.proto(net.conv(x, 16, 2))).rate > 1.3


INEXACT: dict[str, tuple[str, Build]] = {
    "softmax over channels": (
        "normalises over the axis",
        lambda net, x: net.op("Softmax", x, axis=1),
    ),
    "largest of all channels": (
        "reduces over the axis",
        lambda net, x: net.op("Sub", x, net.op("ReduceMax", x, axes=[1])),
    ),
    "mean of what is not zero": (
        "reduces over the axis",
        lambda net, x: net.op("Mul", x, net.op("ReduceMean", net.op("Exp", x), axes=[1])),
    ),
    "division by zeros": (
        "divides by what a cut leaves zero",
        lambda net, x: net.op("Div", x, net.op("Abs", x)),
    ),
    "logarithm of zeros": (
        "is not finite where a cut leaves zeros",
        lambda net, x: net.op("Log", net.op("Abs", x)),
    ),
    "negative powers of zeros": (
        "negative power",
        lambda net, x: net.op("Pow", net.op("Abs", x), net.const(np.float32(-0.5))),
    ),
    "layer norm over channels": (
        "normalises over the axis",
        lambda net, x: net.op(
            "Transpose",
            net.op("LayerNormalization", net.op("Transpose", x, perm=[0, 2, 3, 1]),
                   net.positive(8), net.w(8)),
            perm=[0, 3, 1, 2],
        ),
    ),
    "norm written out": (
        "reduces over the axis",
        lambda net, x: _written_out(net, x),
    ),
}  # fmt: skip


def _written_out(net: Any, x: str) -> str:
    d = net.op("Sub", x, net.op("ReduceMean", x, axes=[1]))
    v = net.op("ReduceMean", net.op("Mul", d, d), axes=[1])
    return str(net.op("Div", d, net.op("Sqrt", net.op("Add", v, net.const(np.float32(1e-5))))))


@pytest.mark.parametrize("name", INEXACT)
def test_inexact_cuts_are_only_made_when_allowed(
    name: str, make_net: Any, check_equivalence: Any
) -> None:
    reason, build = INEXACT[name]
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    proto = _conv_head(net, build(net, x))
    found = analyse(model_from_proto(proto))
    assert not found.prunable()
    assert any(reason in str(f) for f in found.all_fences())
    assert len(found.prunable(allow_inexact=True)) == 1
    if "zeros" not in name:  # the masked model of these computes no numbers
        assert check_equivalence(proto, allow_inexact=True).rate > 1.5


def test_a_constant_that_is_added_and_divided_by_is_never_zeroed(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    c = net.positive(8, 8, 8)
    x = net.op("Add", net.conv(net.input(1, 3, 8, 8), 3, 8), c)
    found = check_equivalence(net.proto(net.conv(net.op("Div", net.op("Exp", x), c), 8, 2)))
    zeroed = next(t for t in found.masked.graph.initializer if t.name == c)
    assert numpy_helper.to_array(zeroed).all()
    assert found.rate > 1.7


def test_quantised_weights_stay_integers(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    q = net.const(np.random.default_rng(0).integers(-100, 100, (8, 8, 3, 3)).astype(np.int8), "q")
    scale, zero = net.const(np.full(8, 0.01, "f4")), net.const(np.zeros(8, np.int8))
    w = net.op("DequantizeLinear", q, scale, zero, axis=0)
    x = net.op("Relu", net.op("Conv", x, w, pads=[1] * 4))
    found = check_equivalence(net.proto(net.conv(net.conv(x, 8, 16), 16, 2)))
    assert found.shape("q") == [8, 8, 3, 3]
    assert any("quantis" in str(f) for f in found.dependency.all_fences())
    assert found.rate > 1.1


def test_a_size_from_the_input_is_not_written_over(make_net: Any, check_equivalence: Any) -> None:
    """The Flatten of an image of any size cannot state the size of one image."""
    net = make_net()
    x = net.conv(net.input(1, 3, "h", "w"), 3, 8)
    shape = net.op("Shape", x)
    flat = net.op("Concat", net.ints(1), net.op("Mul", net.op("Slice", shape, net.ints(1),
                  net.ints(2)), net.op("Mul", net.op("Slice", shape, net.ints(2), net.ints(3)),
                  net.op("Slice", shape, net.ints(3), net.ints(4)))), axis=0)  # fmt: skip
    y = net.op("Reshape", net.op("Reshape", x, flat), shape)
    proto = net.proto(net.conv(y, 8, 2))
    found = check_equivalence(proto, sizes=({"h": 8, "w": 8}, {"h": 12, "w": 6}))
    assert not found.plan.sets
    assert any("depends on the size" in str(f) for f in found.dependency.all_fences())


def test_an_output_that_no_rule_follows_keeps_its_shape(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.op("MatMul", net.w(8, 3), net.input(3, 6))
    y, mean = net.op("LayerNormalization", x, net.positive(6), net.w(6), outputs=2, axis=-1)
    found = check_equivalence(net.proto(net.op("MatMul", net.w(2, 8), y), mean))
    assert not found.plan.sets
    assert any("is not analysed" in str(f) for f in found.dependency.fences)


def test_positions_on_an_axis_of_any_length_are_not_counted(
    make_net: Any, check_equivalence: Any
) -> None:
    """``[n, 8 h w]``: the last four positions are of the last channel at one size only."""
    net = make_net()
    x = net.op("Flatten", net.conv(net.input(1, 3, "h", "w"), 3, 8))
    x = net.op("Slice", x, net.ints(-4), net.ints(1 << 40), net.ints(1))
    proto = net.proto(net.op("MatMul", x, net.w(4, 2)))
    found = check_equivalence(proto, sizes=({"h": 2, "w": 2}, {"h": 4, "w": 6}))
    assert not found.plan.sets
    assert any("depends on the input" in str(f) for f in found.dependency.all_fences())


def _measured(net: Any, use: str) -> Any:
    x = net.conv(net.input("n", 3, 4, 4), 3, 8)
    if use == "element count":  # a mean written as sum over number of elements
        size = net.op("Cast", net.op("Size", x), to=1)
        total = net.op("ReduceSum", x, keepdims=0)
        return net.proto(net.conv(x, 8, 2), net.op("Div", total, size))
    shape = net.op("Shape", x)
    if use == "returned":
        return net.proto(net.conv(x, 8, 2), integers=[shape])
    if use == "height":  # of no concern: nothing cuts the height
        h = net.op("Cast", net.op("Gather", shape, net.const(np.int64(2))), to=1)
        return net.proto(net.op("Mul", net.conv(x, 8, 2), h))
    c = net.op("Cast", net.op("Gather", shape, net.const(np.int64(1))), to=1)  # pinned
    return net.proto(net.conv(net.op("Div", x, net.op("Sqrt", c)), 8, 2))


@pytest.mark.parametrize(
    ("use", "cuts"),
    [("element count", False), ("returned", False), ("height", True), ("channel count", True)],
)
def test_numbers_from_sizes_stay_what_they_are(
    use: str, cuts: bool, make_net: Any, check_equivalence: Any
) -> None:
    found = check_equivalence(_measured(make_net(), use), sizes=({"n": 1}, {"n": 3}))
    assert bool(found.plan.sets) == cuts
    said = any("size that a cut would change" in str(f) for f in found.dependency.all_fences())
    assert said != cuts
