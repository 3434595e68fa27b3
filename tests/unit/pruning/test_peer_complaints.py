"""What users of other tools ran into, each as a tiny graph; issue numbers in the names."""

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from acgraph.analysis.dependency import analyse
from acgraph.ir import model_from_proto


def _constants(proto: Any) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def test_onnx2torch_24_resize_with_constant_sizes(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    sizes = net.ints(1, 8, 16, 16)
    x = net.op("Resize", x, "", "", sizes, name="up")
    found = check_equivalence(net.proto(net.conv(x, 8, 2)))
    node = found.node("up")
    assert _constants(found.after)[node.input[3]].tolist() == [1, 4, 16, 16]


def test_onnx2pytorch_8_reshape_constants_follow(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 4, 4), 3, 8)
    x = net.op("Reshape", x, net.ints(1, 8, 16), name="view")
    x = net.op("Reshape", net.op("Relu", x), net.ints(1, 8, 4, 4))
    found = check_equivalence(net.proto(net.conv(x, 8, 2)))
    assert _constants(found.after)[found.node("view").input[1]].tolist() == [1, 4, 16]


def test_nncf_1038_ultralytics_16806_the_file_is_smaller(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.bn(net.conv(net.input(1, 3, 8, 8), 3, 32), 32)
    found = check_equivalence(net.proto(net.conv(net.op("Relu", x), 32, 4)))
    assert found.rate > 1.9
    assert len(found.after.SerializeToString()) < 0.65 * len(found.before.SerializeToString())


@pytest.mark.parametrize("norm", ["bn", "instance", "group"])
def test_nncf_851_1057_statistics_shrink_along(
    norm: str, make_net: Any, check_equivalence: Any
) -> None:
    net = make_net(21)
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    scale, shift = net.positive(8), net.w(8)
    if norm == "bn":
        x = net.op("BatchNormalization", x, scale, shift, net.w(8, name="mean"), net.positive(8))
    elif norm == "instance":
        x = net.op("InstanceNormalization", x, scale, shift)
    else:
        x = net.op("GroupNormalization", x, scale, shift, num_groups=4, name="gn")
    found = check_equivalence(net.proto(net.conv(x, 8, 2)))
    assert found.shape(scale) == found.shape(shift) == [4]
    if norm == "group":
        assert found.node("gn").attribute[0].i == 2


@pytest.mark.parametrize("odd", ["Trilu", "SpaceToDepth", "Wave"])
def test_aimet_4011_one_odd_op_does_not_stop_the_model(
    odd: str, make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    if odd == "Wave":
        y = net.op("Wave", net.conv(x, 8, 8), domain="my.ops", name="odd")
        found = analyse(model_from_proto(net.proto(net.conv(y, 8, 2))))
        assert found.fences[0].location.node == "odd"
        assert [f.size for f in found.prunable()] == [8]
        return
    y = net.op(odd, net.conv(x, 8, 8), **({"blocksize": 2} if odd == "SpaceToDepth" else {}))
    found = check_equivalence(net.proto(net.conv(y, 32 if odd == "SpaceToDepth" else 8, 2)))
    assert found.rate > 1.5


def test_torch_pruning_146_concat_of_a_tensor_with_itself(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    y = net.op("Concat", x, x, axis=1)
    w = net.w(4, 16, 3, 3)
    found = check_equivalence(net.proto(net.op("Conv", y, w, pads=[1] * 4)))
    assert found.shape(w) == [4, 8, 3, 3]
    (family,) = found.dependency.prunable()
    column = next(m for m in family.members if m.tensor == w)
    assert np.array_equal(column.sets[:8], column.sets[8:])


def test_torch_pruning_481_415_branches_keep_their_own_positions(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.input(1, 3, 8, 8)
    a, b = net.conv(x, 3, 8), net.conv(x, 3, 4)
    y = net.conv(net.op("Concat", a, b, axis=1), 12, 4)
    found = check_equivalence(net.proto(net.conv(net.op("Concat", y, b, axis=1), 8, 2)))
    assert sorted(f.size for f in found.dependency.prunable()) == [4, 4, 8]


def test_torch_pruning_126_179_one_output_channel_is_not_depthwise(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.conv(net.input(1, 1, 8, 8), 1, 8)
    w = net.w(1, 8, 3, 3)
    y = net.op("Conv", x, w, pads=[1] * 4)
    found = check_equivalence(net.proto(net.conv(y, 1, 4)))
    assert found.shape(w) == [1, 4, 3, 3]


@pytest.mark.parametrize("doc", ["", "written by an exporter"])
def test_torch_pruning_328_depthwise_groups_are_rewritten(
    doc: str, make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 27)
    x = net.conv(x, 27, 27, group=27, name="dw")
    net.nodes[-1].doc_string = doc  # such nodes are written back as they were read
    found = check_equivalence(net.proto(net.conv(x, 27, 2, 1)), 0.5)
    node = found.node("dw")
    assert {a.name: a.i for a in node.attribute}["group"] == 14
    assert node.doc_string == doc


def test_torch_pruning_125_nni_4688_view_to_more_than_two_axes(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.conv(net.input(2, 3, 4, 4), 3, 16)
    x = net.op("Reshape", x, net.ints(2, 4, 4, 4, 4))
    x = net.op("Reshape", net.op("Relu", x), net.ints(0, 16, 2, 2, 2, -1))
    x = net.op("Reshape", x, net.ints(2, 16, 4, 4))
    assert check_equivalence(net.proto(net.conv(x, 16, 2))).rate > 1.7


def test_nni_5143_3329_split_chunk_upsample_exp(make_net: Any, check_equivalence: Any) -> None:
    net = make_net(9)
    x = net.conv(net.input(1, 3, 4, 4), 3, 12)
    a, b, c = net.op("Split", x, outputs=3, axis=1, split=[4, 4, 4])
    y = net.op("Mul", net.op("Exp", a), net.op("Add", b, c))
    y = net.op("Upsample", y, net.const(np.array([1, 1, 2, 2], "f4")), mode="nearest")
    assert check_equivalence(net.proto(net.conv(y, 4, 2))).rate > 1.6


def test_oto_57_nothing_to_prune_is_said_with_reasons(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    proto = net.proto(net.op("LRN", x, size=3, name="lrn"))
    found = check_equivalence(proto)
    assert not found.plan.sets
    assert found.rate == 1.0
    assert any("'lrn'" in str(f) for f in found.dependency.all_fences())
