"""An operator that is not understood, or an unknown length, fences what depends on it, not more."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from acgraph.analysis.cost import layer_costs, model_cost
from acgraph.analysis.dependency import analyse
from acgraph.ir import infer_facts, model_from_proto


def _declare(proto: onnx.ModelProto, name: str, shape: Any) -> onnx.ModelProto:
    kept = [value for value in proto.graph.value_info if value.name != name]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend([*kept, helper.make_tensor_value_info(name, 1, shape)])
    return proto


def _foreign(net: Any) -> str:
    """An operator of another domain that ONNX Runtime runs: ``[1, 4, 8]`` to ``[1, 4, 1, 8]``."""
    x = net.op("Relu", net.op("Conv", net.input(1, 3, 8), net.w(4, 3, 1)))
    axis = net.const(np.array(2, np.int32))
    return str(net.op("ExpandDims", x, axis, domain="com.microsoft", name="foreign"))


def _behind(net: Any, x: str) -> Any:
    x = net.op("Relu", net.conv(x, 4, 16))
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, 16, 32)))
    proto = net.proto(net.gemm(x, 32, 3))
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(proto.graph.output[0].name, 1, [1, 3])
    )
    return proto


@pytest.mark.parametrize("declared", [None, [1, 4, 1, 8], ["n", 4, "h", "w"], [1, 99, 1, 8]])
def test_what_lies_behind_a_foreign_operator_is_cut(
    declared: Any, make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    proto = _behind(net, _foreign(net))
    if declared:
        _declare(proto, "foreign:0", declared)
    found = check_equivalence(proto)
    assert found.rate > 1.9
    reasons = {fence.location.node: fence.message for fence in found.dependency.fences}
    assert reasons == {"foreign": "the operator is not understood"}


def test_declared_shapes_are_counted_with_and_survive_the_cut(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    bare = _behind(net, _foreign(net))
    assert len(model_cost(model_from_proto(bare)).unknown) == 4
    proto = _declare(bare, "foreign:0", [1, 4, 1, 8])
    before = model_cost(model_from_proto(proto))
    after = model_cost(model_from_proto(check_equivalence(proto).after))
    assert before.unknown == after.unknown == ("foreign",)
    assert before.macs > 2 * after.macs > 0


def _decoder(net: Any, x: str) -> Any:
    x = net.op("LeakyRelu", net.op("Conv", x, net.w(16, 4, 3), pads=[1, 1]))
    x = net.op("LeakyRelu", net.op("ConvTranspose", x, net.w(16, 8, 4), strides=[2], pads=[1, 1]))
    y = net.op("Conv", net.op("LeakyRelu", x), net.w(8, 8, 3), pads=[1, 1])
    return net.proto(net.op("Conv", net.op("Add", x, y), net.w(1, 8, 3), pads=[1, 1]))


def _compressed(net: Any) -> str:
    x = net.input(1, 4, 32)
    return str(net.op("Compress", x, net.const(np.arange(32) % 3 > 0), axis=2))


def _taken_at_nonzero(net: Any) -> str:
    """As many positions as the data has above zero."""
    x = net.input(1, 4, 32)
    first = net.op("Gather", x, net.const(np.int64(0)), axis=1)
    where = net.op("NonZero", net.op("Greater", first, net.const(np.float32(0))))
    index = net.op("Gather", where, net.const(np.int64(1)), axis=0)
    return str(net.op("Gather", x, index, axis=2))


def _expanded(net: Any) -> str:
    """Repeated as often as a computed number says."""
    x = net.op("ReduceMean", net.input(1, 4, 32), axes=[2], keepdims=1)
    length = net.op("Add", net.op("Ceil", net.op("Abs", x)), net.const(np.float32(9)))
    length = net.op("Cast", net.op("ReduceMax", length, keepdims=0), to=7)
    shape = net.op("Concat", net.ints(1, 4), net.op("Unsqueeze", length, net.ints(0)), axis=0)
    return str(net.op("Expand", x, shape))


@pytest.mark.parametrize("start", [_compressed, _taken_at_nonzero, _expanded])
def test_a_length_that_depends_on_the_data_fences_no_channels(
    start: Any, make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    proto = _decoder(net, start(net))
    found = check_equivalence(proto)
    assert found.rate > 1.9
    cost = model_cost(model_from_proto(proto))
    assert len(cost.unknown) == 4  # every layer; never a guess, never below zero
    assert cost.macs == 0
    model = model_from_proto(proto)
    facts = infer_facts(model, assume=True)
    assert {layer.macs for layer in layer_costs(model, facts)} == {None}


def test_a_resize_to_computed_sizes_keeps_the_channels(
    make_net: Any, check_equivalence: Any
) -> None:
    """Up-sampled to a size that the data decides, and joined with another branch of that size."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 16))
    edges = net.op("Cast", net.input(2, name="edges"), to=7)
    edges = net.op("Add", net.op("Abs", edges), net.ints(9, 12))
    sizes = net.op("Concat", net.ints(1, 16), edges, axis=0)
    up = net.op("Resize", x, "", "", sizes, mode="nearest")
    y = net.op("Resize", net.conv(x, 16, 16), "", "", sizes, mode="nearest")
    joined = net.op("Concat", up, net.op("Relu", y), axis=1)
    found = check_equivalence(net.proto(net.conv(joined, 32, 2)))
    assert found.rate > 1.9


def test_an_unknown_length_that_meets_channels_fences_them(
    make_net: Any, check_equivalence: Any
) -> None:
    """The length is that of the channels, which nothing in the file says."""
    net = make_net()
    x = net.input(1, 6)
    picked = net.op("Compress", net.w(1, 12), net.const(np.arange(12) % 3 > 0), axis=1)
    length = net.op("Compress", net.input(12, name="z"), net.input(12, name="k", dtype=bool))
    y = net.op("Add", net.op("MatMul", x, net.w(6, 8)), length)
    proto = net.proto(net.op("MatMul", net.op("Add", net.op("Relu", y), picked), net.w(8, 3)))
    assert not analyse(model_from_proto(proto)).prunable(allow_inexact=True)


def test_channels_that_a_reshape_puts_elsewhere_are_fenced(make_net: Any) -> None:
    """``[n, 8, m]`` to ``[n * m, 8, 1]``, for all that is known: the channels are interleaved."""
    net = make_net()
    x = net.op("Compress", net.input(9, 4, 9), net.input(9, name="k", dtype=bool), axis=0)
    x = net.op("Compress", x, net.input(9, name="l", dtype=bool), axis=2)
    x = net.op("Conv", x, net.w(8, 4, 1))
    length = net.op("Cast", net.op("ReduceMax", net.input(3, name="y"), keepdims=0), to=7)
    length = net.op("Unsqueeze", length, net.ints(0))
    shape = net.op("Concat", length, net.ints(8), length, axis=0)
    proto = net.proto(net.op("Conv", net.op("Reshape", x, shape), net.w(2, 8, 1)))
    graph = analyse(model_from_proto(proto))
    assert not graph.prunable(allow_inexact=True)
    assert "reshapes by sizes that are unknown" in {fence.message for fence in graph.all_fences()}


def test_a_split_into_unknown_parts_is_fenced(make_net: Any) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 4, 4), 3, 8)
    first = net.op("Cast", net.op("ReduceMax", x, keepdims=0), to=7)
    first = net.op("Unsqueeze", first, net.ints(0))
    sizes = net.op("Concat", first, net.op("Sub", net.ints(8), first), axis=0)
    a, b = net.op("Split", x, sizes, outputs=2, axis=1)
    proto = net.proto(net.op("ReduceMean", a, axes=[1]), net.op("ReduceMean", b, axes=[1]))
    assert not analyse(model_from_proto(proto)).prunable(allow_inexact=True)


@pytest.mark.parametrize(("channels", "cut"), [(4, [8]), (6, [])])
def test_a_wrong_declaration_makes_no_wrong_cut(
    channels: int, cut: list[int], make_net: Any
) -> None:
    """What follows a foreign tensor in a Concat lies where that tensor's size says."""
    net = make_net()
    x = _foreign(net)
    y = net.conv(net.input(1, 3, 1, 8, name="z"), 3, 8)
    joined = net.op("Relu", net.op("Concat", x, y, axis=1))
    proto = _declare(net.proto(net.conv(joined, 12, 2)), "foreign:0", [1, channels, 1, 8])
    graph = analyse(model_from_proto(proto))
    assert [family.size for family in graph.prunable() if family.name != "Conv_0"] == cut


def test_placeholders_are_never_returned_as_shapes(make_net: Any) -> None:
    net = make_net()
    proto = _decoder(net, _compressed(net))
    model = model_from_proto(proto)
    assert not any(96 in shape for shape in infer_facts(model).shapes.values())
    facts = infer_facts(model, assume=True)
    unsure = {name for name, shape in facts.shapes.items() if 96 in shape or 192 in shape}
    assert unsure
    assert unsure == set(facts.assumed)


def test_sizes_that_do_not_fit_fence_what_they_meet(make_net: Any, check_equivalence: Any) -> None:
    """The file leaves the image's size open, and takes one size only, which is not known."""
    net = make_net()
    x = net.op("Flatten", net.conv(net.input(1, 3, "h", "w"), 3, 4))
    x = net.op("Relu", net.gemm(x, 4 * 6 * 6, 16, name="first"))
    proto = net.proto(net.gemm(net.op("Relu", net.gemm(x, 16, 32)), 32, 2))
    del proto.graph.value_info[:]
    found = check_equivalence(proto, sizes=[{"h": 6, "w": 6}])
    assert sorted(family.size for family in found.dependency.prunable()) == [16, 32]
    reasons = {f.message for f in found.dependency.all_fences() if f.location.node == "first"}
    assert reasons == {"couples axes of different or unknown size"}


def test_a_length_that_does_not_fit_is_given_up(make_net: Any, check_equivalence: Any) -> None:
    """Positions are stored for 6 places, and the file leaves open how many there are."""
    net = make_net()
    x = net.op("Add", net.input(1, "t", 8), net.w(1, 6, 8))
    x = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
    square = net.op("ReduceMean", net.op("Mul", x, x), axes=[-1])
    x = net.op("Div", x, net.op("Sqrt", net.op("Add", square, net.const(np.float32(1e-3)))))
    x = net.op(
        "Transpose", net.op("MatMul", net.op("Mul", x, net.w(8)), net.w(8, 16)), perm=[0, 2, 1]
    )
    x = net.op("Transpose", net.op("Relu", x), perm=[0, 2, 1])
    proto = net.proto(net.op("MatMul", x, net.w(16, 3)))
    del proto.graph.value_info[:]
    found = check_equivalence(proto, sizes=[{"t": 6}])
    assert [family.size for family in found.dependency.prunable()] == [16]
    assert found.dependency.facts.unknown == []


def test_readers_behind_a_transpose_say_the_size_of_an_axis(make_net: Any) -> None:
    net = make_net()
    x = net.op("Wave", net.input(1, 8, 5), domain="my.ops", name="wave")
    x = net.op("Relu", net.op("Transpose", x, perm=[0, 2, 1]))
    x = net.op("Relu", net.op("MatMul", net.op("LayerNormalization", x, net.w(12)), net.w(12, 16)))
    graph = analyse(model_from_proto(net.proto(net.op("MatMul", x, net.w(16, 2)))))
    assert [family.size for family in graph.prunable()] == [16]
    assert graph.facts.shapes["wave:0"][1] == 12
    assert graph.facts.assumed["wave:0"] == (True, False, True)
