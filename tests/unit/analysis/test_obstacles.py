"""What holds the weights of a model, and how many of them."""

from typing import Any

import numpy as np
import pytest

from acgraph.analysis.dependency import analyse
from acgraph.analysis.obstacles import Obstacle, obstacles
from acgraph.ir import model_from_proto


def found(net: Any, *outputs: str, **options: Any) -> list[Obstacle]:
    return obstacles(analyse(model_from_proto(net.proto(*outputs))), **options)


def test_what_can_be_cut_is_held_by_nothing(make_net: Any) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 64, bias=False))
    assert found(net, net.conv(x, 64, 64, bias=False)) == []


def test_a_fence_holds_what_it_fences(make_net: Any) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 64, bias=False)
    x = net.op("Cumulate", x, domain="custom", name="odd")
    (first, *_) = found(net, net.conv(x, 64, 4, k=1, bias=False))
    assert first.nodes == ("odd",)
    assert first.reason == "the operator is not understood"
    assert not first.inexact
    assert first.share > 0.8


@pytest.mark.parametrize("allowed", [False, True])
def test_what_only_exactness_holds_is_told_apart(make_net: Any, allowed: bool) -> None:
    net = make_net()
    x = net.op("MatMul", net.input(1, 5, 16), net.w(16, 64))
    x = net.op("LayerNormalization", x, net.positive(64), net.w(64), name="norm", axis=-1)
    inexact = [o for o in found(net, net.op("MatMul", x, net.w(64, 4)), allow_inexact=allowed)
               if o.inexact]  # fmt: skip
    assert [o.nodes for o in inexact] == ([] if allowed else [("norm",)])


def test_a_constant_without_channels_is_held_by_its_reader(make_net: Any) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 4, bias=False)
    table = net.const(np.arange(4 * 4096, dtype=np.int64).reshape(4, 4096) % 8)
    (first, *_) = found(net, net.op("Gather", x, table, axis=2, name="look"))
    assert first.nodes == ("look",)
    assert first.share > 0.9
