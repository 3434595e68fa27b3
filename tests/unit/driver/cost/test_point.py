"""What a point costs by its shares is what the model costs that is cut there."""

from collections.abc import Callable
from typing import Any

import pytest

from acgraph.analysis.cost import model_cost
from acgraph.analysis.dependency import analyse
from acgraph.driver.cost.compact import SmallestChooser, compact
from acgraph.driver.space.space import Space
from acgraph.ir import model_from_proto
from acgraph.pruning.shrink import shrink


def attention(net: Any) -> Any:
    """Products of activations: their sizes follow the heads and features that are cut."""
    x = net.input(1, 5, 8)
    q, k, v = (
        net.op("Reshape", net.op("MatMul", x, net.w(8, 16)), net.ints(0, 0, 4, 4)) for _ in "qkv"
    )
    q, v = (net.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
    k = net.op("Transpose", k, perm=[0, 2, 3, 1])
    y = net.op("MatMul", net.op("Softmax", net.op("MatMul", q, k), axis=-1), v)
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(0, 0, -1))
    return net.proto(net.op("MatMul", y, net.w(16, 8)))


def recurrent(net: Any) -> Any:
    """The gates of a GRU read two weights of which only one is a layer's."""
    x = net.op("MatMul", net.input(5, 1, 8), net.w(8, 12))
    y = net.op("GRU", x, net.w(1, 24, 12), net.w(1, 24, 8), hidden_size=8)
    return net.proto(net.op("MatMul", net.op("Squeeze", y, net.ints(1)), net.w(8, 4)))


def two_readers(net: Any) -> Any:
    """Two convolutions of different positions that share a weight: both count."""
    weight = net.w(8, 8, 3, 3)
    x = net.op("Conv", net.input(1, 3, 16, 16), net.w(8, 3, 3, 3))
    small = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    found = [net.op("GlobalAveragePool", net.op("Conv", t, weight)) for t in (x, small)]
    return net.proto(net.op("Add", *found))


@pytest.mark.parametrize("build", [attention, recurrent, two_readers])
def test_a_point_costs_what_the_cut_model_costs(build: Callable[[Any], Any], make_net: Any) -> None:
    model = model_from_proto(build(make_net()))
    dependency = analyse(model)
    space = Space(dependency=dependency, weights=model.constants(), columns=False)
    for share in (1.0, 0.5):
        point = tuple(knob.snap(share * knob.size) for knob in space.knobs)
        cut = shrink(dependency, space.plan(point, space.weights)).model
        cost = model_cost(compact(cut, SmallestChooser())[0])
        assert space.cost(point, "params") == cost.params
        assert space.cost(point, "macs") == cost.macs
    assert model_cost(cut).macs < 0.8 * model_cost(model).macs
