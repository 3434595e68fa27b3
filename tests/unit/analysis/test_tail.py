"""What follows a layer, as a gain and an offset of each filter, and the sum that it ends in."""

import numpy as np
import pytest

from acgraph.analysis.layers import layers
from acgraph.analysis.tail import tails
from acgraph.ir import model_from_proto


def _tails(proto):
    model = model_from_proto(proto)
    return model.constants(), tails(model, layers(model))


def test_normalisation_behind_a_convolution_and_the_sum_of_a_residual_block(make_net):
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 6, 6), 3, 8))
    y = net.bn(net.conv(x, 8, 8), 8)
    proto = net.proto(net.op("Relu", net.op("Add", x, y, name="sum")))
    weights, found = _tails(proto)
    tail = found["Conv_2"]
    assert (tail.join, tail.other) == ("sum", 0)
    affine = tail.affine(weights)
    scale, var, bias, mean = (weights[f"c{n}"].astype(np.float64) for n in range(4, 8))
    np.testing.assert_allclose(affine.gain, scale / np.sqrt(var + 1e-5))
    np.testing.assert_allclose(affine.offset, bias - mean * affine.gain)
    np.testing.assert_allclose(affine.bias, weights["c3"])
    assert affine.shift == "c6"
    np.testing.assert_array_equal(affine.after, 1)
    assert found["Conv_0"].join == ""


def test_a_bias_and_a_scale_that_are_nodes_of_their_own(make_net):
    net = make_net()
    y = net.op("Add", net.op("MatMul", net.input(2, 5, 4), net.w(4, 6)), net.w(6))
    y = net.op("Mul", y, net.const(np.arange(6, dtype="f4")))
    proto = net.proto(net.op("Tanh", y))
    weights, found = _tails(proto)
    affine = found["MatMul_0"].affine(weights)
    np.testing.assert_allclose(affine.gain, np.arange(6))
    np.testing.assert_allclose(affine.offset, weights["c1"] * np.arange(6), rtol=1e-6)
    assert affine.shift == "c1"
    np.testing.assert_allclose(affine.after, np.arange(6))


@pytest.mark.parametrize("kind", ["read twice", "an output", "along the width"])
def test_a_tail_ends_where_the_value_is_used_otherwise(make_net, kind):
    net = make_net()
    z = net.conv(net.input(1, 3, 6, 6), 3, 6, bias=False)
    y = net.op("Add", z, net.w(6)) if kind == "along the width" else net.bn(z, 6)
    outputs = [net.op("Relu", y), *([net.op("Tanh", z)] if kind == "read twice" else [])]
    proto = net.proto(*outputs, *([z] if kind == "an output" else []))
    weights, found = _tails(proto)
    tail = found["Conv_0"]
    assert tail.steps == ()
    assert tail.affine(weights).shift == ""


def test_a_bias_that_two_nodes_read_takes_no_offset(make_net):
    net = make_net()
    bias = net.w(6, name="shared")
    x = net.input(1, 3, 6, 6)
    first = net.op("Conv", x, net.w(6, 3, 1, 1), bias)
    second = net.op("Conv", x, net.w(6, 3, 1, 1), bias)
    weights, found = _tails(net.proto(net.op("Mul", first, second)))
    assert {tail.affine(weights).shift for tail in found.values()} == {""}
