"""Initial states that an exporter makes at once tie no recurrent layers together."""

from typing import Any

import numpy as np
import onnx
import pytest

from acgraph.driver.prune import prune
from acgraph.ir import model_from_proto, proto_from_model
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.tie import retie_constants

FILLS = ("ConstantOfShape", "Expand")
ZERO = np.zeros(1, np.float32)


def two_layers(make_net: Any, fill: str) -> onnx.ModelProto:
    """Two LSTM, the second before a LayerNormalization, whose states are slices of one fill."""
    net = make_net()
    net.input(5, "n", 12)
    axis = net.ints(0)
    batch = net.op("Slice", net.op("Shape", "x"), net.ints(1), net.ints(2), axis)
    sizes = net.op("Concat", net.ints(2), batch, net.ints(16), axis=0)
    if fill == "Expand":
        states = net.op("Expand", net.const(ZERO), sizes, name="fill")
    else:
        value = onnx.numpy_helper.from_array(ZERO)
        states = net.op("ConstantOfShape", sizes, name="fill", value=value)
    x = "x"
    for layer, size in enumerate((12, 16)):
        state = net.op("Slice", states, net.ints(layer), net.ints(layer + 1), axis)
        weights = [net.w(1, 64, size), net.w(1, 64, 16), net.w(1, 128), "", state, state]
        y, *_ = net.op("LSTM", x, *weights, outputs=3, hidden_size=16)
        x = net.op("Squeeze", y, net.ints(1))
    x = net.op("LayerNormalization", x, net.positive(16), net.w(16), axis=-1)
    return net.proto(net.op("MatMul", x, net.w(16, 4)))


@pytest.mark.parametrize("fill", FILLS)
def test_layers_whose_states_are_one_fill_are_cut_apart(make_net: Any, fill: str) -> None:
    source = two_layers(make_net, fill)
    result = prune(model_from_proto(source), sparsity=0.5)
    assert result.verify.passed
    assert result.after.params < result.before.params / 1.3
    masked = proto_from_model(result.masked)
    assert [n.name for n in masked.graph.node] == [n.name for n in source.graph.node]
    assert [list(n.input) for n in masked.graph.node] == [list(n.input) for n in source.graph.node]
    onnx.checker.check_model(proto_from_model(result.model), full_check=True)


@pytest.mark.parametrize("fill", FILLS)
def test_fills_that_stay_alike_are_one_again(make_net: Any, fill: str) -> None:
    source = two_layers(make_net, fill)
    model = model_from_proto(source)
    copies = untie_constants(model)
    assert sum(node.op == fill for node in model.graph.nodes) == 2
    retie_constants(model, copies)
    assert [n.name for n in model.graph.nodes] == [n.name for n in source.graph.node]


@pytest.mark.parametrize("fill", FILLS)
def test_layers_that_lose_as_many_share_a_fill_again(make_net: Any, fill: str) -> None:
    """Both lose half: the sizes that the fill is made of are overridden once for both."""
    source = two_layers(make_net, fill)
    result = prune(model_from_proto(source), sparsity=0.5, allow_inexact=True)
    assert sum(node.op == fill for node in result.model.graph.nodes) == 1
