"""Every rule on a tiny graph: something is cut, and the equivalence holds in ONNX Runtime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from acgraph.pruning.plan import Plan

Build = Callable[[Any], Any]
CASES: dict[str, tuple[float, int, Build]] = {}


def case(rate: float, opset: int = 17) -> Callable[[Build], Build]:
    """Register a graph that must shrink by at least ``rate`` at half."""

    def register(build: Build) -> Build:
        CASES[build.__name__] = (rate, opset, build)
        return build

    return register


def _head(net: Any, x: str, c: int) -> Any:
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.proto(net.gemm(pooled, c, 3))


@case(2.5)
def chain(net: Any) -> Any:
    x = net.bn(net.conv(net.input(1, 3, 8, 8), 3, 8), 8)
    return _head(net, net.op("Relu", net.conv(net.op("Relu", x), 8, 8)), 8)


@case(2.2)
def residual(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    y = net.conv(net.op("Relu", net.conv(x, 8, 8)), 8, 8)
    return _head(net, net.op("Add", x, y), 8)


@case(2.1)
def depthwise(net: Any) -> Any:
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    x = net.op(
        "Clip", net.conv(x, 8, 8, group=8), net.const(np.float32(0)), net.const(np.float32(6))
    )
    return _head(net, net.conv(x, 8, 8, 1), 8)


@case(1.8)
def depthwise_multiplier(net: Any) -> Any:
    x = net.conv(net.conv(net.input(1, 3, 8, 8), 3, 4), 4, 8, group=4)
    return _head(net, net.conv(x, 8, 8, 1), 8)


@case(1.8)
def grouped(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 16)
    return _head(net, net.op("Relu", net.conv(x, 16, 16, group=4)), 16)


@case(1.8)
def conv_transpose(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 6, 6), 3, 8)
    x = net.op("ConvTranspose", x, net.w(8, 8, 2, 2), net.w(8), strides=[2, 2])
    return net.proto(net.conv(net.op("Relu", x), 8, 2))


@case(1.8)
def conv_transpose_grouped(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 6, 6), 3, 8)
    x = net.op("ConvTranspose", x, net.w(8, 4, 2, 2), strides=[2, 2], group=4)
    return net.proto(net.conv(x, 16, 2))


@case(1.5)
def conv1d_and_3d(net: Any) -> Any:
    x = net.op("Conv", net.input(1, 3, 8), net.w(8, 3, 3), pads=[1, 1])
    x = net.op("Reshape", net.op("Relu", x), net.ints(1, 8, 2, 2, 2))
    x = net.op("Conv", x, net.w(4, 8, 1, 1, 1))
    return net.proto(net.op("Conv", x, net.w(2, 4, 1, 1, 1)))


@case(1.5)
def gemm_forms(net: Any) -> Any:
    x = net.op("Gemm", net.input(2, 6), net.w(6, 8), net.w(8), alpha=0.5)
    x = net.op("Transpose", net.op("Relu", x))
    x = net.op("Gemm", x, net.w(8, 8), net.w(1, 8), transA=1, beta=2.0)
    return net.proto(net.op("MatMul", x, net.w(8, 3)))


@case(1.5)
def matmul_on_the_left(net: Any) -> Any:
    x = net.op("MatMul", net.w(8, 4), net.input(1, 4, 5))
    return net.proto(net.op("MatMul", net.w(3, 8), net.op("Relu", x)))


@case(1.5)
def einsum(net: Any) -> Any:
    x = net.op("Einsum", net.input(2, 3, 4), net.w(4, 8), equation="bti,io->bto")
    return net.proto(net.op("Einsum", x, net.w(8, 2), equation="bto,od->btd"))


@case(1.7)
def attention(net: Any) -> Any:
    x = net.input(1, 5, 8)
    heads = []
    for _ in range(3):
        y = net.op("Add", net.op("MatMul", x, net.w(8, 16)), net.w(16))
        heads.append(net.op("Reshape", y, net.ints(0, 0, 4, 4)))
    q, k, v = heads
    q, v = (net.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
    k = net.op("Transpose", k, perm=[0, 2, 3, 1])
    a = net.op(
        "Softmax", net.op("Mul", net.op("MatMul", q, k), net.const(np.float32(0.5))), axis=-1
    )
    y = net.op("Transpose", net.op("MatMul", a, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, net.ints(0, 0, -1))
    return net.proto(net.op("MatMul", y, net.w(16, 8)))


@case(1.7)
def fused_qkv(net: Any) -> Any:
    qkv = net.op("MatMul", net.input(1, 5, 8), net.w(8, 48))
    qkv = net.op("Transpose", net.op("Reshape", qkv, net.ints(1, 5, 3, 4, 4)), perm=[2, 0, 3, 1, 4])
    q, k, v = (net.op("Gather", qkv, net.const(np.int64(j)), axis=0) for j in range(3))
    k = net.op("Transpose", k, perm=[0, 1, 3, 2])
    a = net.op("Softmax", net.op("MatMul", q, k), axis=-1)
    y = net.op("Transpose", net.op("MatMul", a, v), perm=[0, 2, 1, 3])
    return net.proto(net.op("MatMul", net.op("Reshape", y, net.ints(1, 5, 16)), net.w(16, 8)))


@case(1.8)
def squeeze_and_excite(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 16)
    s = net.op("ReduceMean", x, axes=[2, 3], keepdims=1)
    s = net.op("Relu", net.conv(s, 16, 8, 1))
    s = net.op("HardSigmoid", net.conv(s, 8, 16, 1))
    return _head(net, net.op("Mul", x, s), 16)


@case(1.8)
def swish_and_gelu(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    x = net.op("Mul", x, net.op("Sigmoid", x))
    half, one = net.const(np.float32(0.5)), net.const(np.float32(1))
    e = net.op("Add", net.op("Erf", net.op("Div", x, net.const(np.float32(1.414)))), one)
    return _head(net, net.op("Mul", net.op("Mul", x, e), half), 8)


@case(1.8)
def concat_and_split(net: Any) -> Any:
    x = net.input(1, 3, 8, 8)
    joined = net.op("Concat", net.conv(x, 3, 8), net.conv(x, 3, 4), axis=1)
    a, b = net.op("Split", net.op("Relu", joined), net.ints(6, 6), outputs=2, axis=1)
    return net.proto(net.conv(net.op("Add", a, b), 6, 2))


@case(1.6, opset=18)
def split_without_sizes(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 10)
    a, b = net.op("Split", x, outputs=2, axis=1, num_outputs=2)
    return net.proto(net.conv(a, 5, 2), net.conv(b, 5, 2))


@case(1.8)
def channel_shuffle(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 12)
    x = net.op("Reshape", x, net.ints(1, 2, 6, 8, 8))
    x = net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    return _head(net, net.op("Reshape", x, net.ints(1, 12, 8, 8)), 12)


@case(1.5)
def flatten_to_gemm(net: Any) -> Any:
    x = net.op("Relu", net.conv(net.input(2, 3, 4, 4), 3, 8))
    x = net.op("Relu", net.gemm(net.op("Flatten", x), 128, 16))
    return net.proto(net.gemm(x, 16, 3))


@case(1.8)
def pixel_shuffle(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 4, 4), 3, 32)
    x = net.op("DepthToSpace", x, blocksize=2, mode="CRD")
    x = net.op("SpaceToDepth", net.conv(x, 8, 8), blocksize=2)
    return net.proto(net.conv(x, 32, 2))


@case(1.8)
def pad_shortcut(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    s = net.op("Slice", x, net.ints(0, 0), net.ints(8, 8), net.ints(2, 3), net.ints(2, 2))
    s = net.op("Pad", s, net.ints(0, 4, 0, 0, 0, 4, 0, 0))
    y = net.conv(x, 8, 16, strides=[2, 2])
    return _head(net, net.op("Add", s, y), 16)


@case(1.6)
def slice_channels(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 12)
    a = net.op("Slice", x, net.ints(0), net.ints(5), net.ints(1))
    b = net.op("Slice", x, net.ints(-7), net.ints(1 << 40), net.ints(1))
    return net.proto(net.conv(a, 5, 2), net.conv(b, 7, 2))


@case(1.8)
def gather_a_permutation(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    x = net.op("Gather", x, net.ints(7, 0, 6, 1, -3, 2, 4, 3), axis=1)
    return net.proto(net.conv(x, 8, 2))


@case(1.4)
def gather_a_grid(net: Any) -> Any:
    x = net.op("MatMul", net.input(4, 6), net.w(6, 8))
    index = np.arange(8).reshape(2, 4)[:, ::-1].astype(np.int64)
    x = net.op("Gather", x, net.const(index), axis=1)
    return net.proto(net.op("MatMul", net.op("Reshape", x, net.ints(4, 8)), net.w(8, 3)))


@case(1.4)
def gather_nd_of_channels(net: Any) -> Any:
    x = net.op("MatMul", net.w(8, 6), net.input(6, 5))
    x = net.op(
        "GatherND", x, net.const(np.array([[3], [1], [0], [2], [7], [6], [5], [4]], np.int64))
    )
    return net.proto(net.op("MatMul", net.w(3, 8), x))


@case(1.4)
def gather_elements(net: Any) -> Any:
    x = net.op("MatMul", net.input(4, 6), net.w(6, 8))
    index = np.random.default_rng(0).integers(0, 4, (3, 8))
    x = net.op("GatherElements", x, net.const(index), axis=0)
    return net.proto(net.op("MatMul", x, net.w(8, 3)))


@case(1.3)
def scatter(net: Any) -> Any:
    x = net.op("MatMul", net.input(4, 6), net.w(6, 8))
    u = net.op("MatMul", net.input(2, 6, name="u"), net.w(6, 8))
    x = net.op("ScatterND", x, net.const(np.array([[3], [0]], np.int64)), u)
    index = np.random.default_rng(0).permuted(np.tile(np.arange(4), (8, 1)), axis=1).T[:2]
    x = net.op("ScatterElements", x, net.const(index.astype(np.int64)), u, axis=0)
    return net.proto(net.op("MatMul", x, net.w(8, 3)))


@case(1.4)
def top_k_over_tokens(net: Any) -> Any:
    x = net.op("MatMul", net.input(4, 6), net.w(6, 8))
    x, _ = net.op("TopK", x, net.ints(2), outputs=2, axis=0)
    return net.proto(net.op("MatMul", x, net.w(8, 3)))


@case(1.3)
def trilu_of_a_batch(net: Any) -> Any:
    x = net.op("Conv", net.input(1, 3, 4, 4), net.w(8, 3, 1, 1))
    return net.proto(net.op("Conv", net.op("Trilu", x, upper=0), net.w(3, 8, 1, 1)))


@case(1.4)
def expand_and_tile(net: Any) -> Any:
    x = net.op("MatMul", net.input(1, 6), net.w(6, 8))
    x = net.op("Add", net.op("Expand", x, net.ints(4, 8)), net.op("Tile", x, net.ints(4, 1)))
    return net.proto(net.op("MatMul", net.op("Tile", x, net.ints(1, 2)), net.w(16, 3)))


@case(1.4)
def zeros_of_a_shape(net: Any) -> Any:
    x = net.op("MatMul", net.input(4, 6), net.w(6, 8))
    zeros = net.op("ConstantOfShape", net.ints(4, 8))
    x = net.op("Concat", x, net.op("Add", zeros, net.w(8)), axis=0)
    return net.proto(net.op("MatMul", x, net.w(8, 3)))


@case(1.4)
def instance_norm(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    x = net.op("InstanceNormalization", x, net.w(8), net.w(8))
    return net.proto(net.conv(x, 8, 2))


@case(1.4, opset=21)
def group_norm(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 16)
    x = net.op("GroupNormalization", x, net.positive(16), net.w(16), num_groups=4)
    return net.proto(net.conv(x, 16, 2))


@case(1.4)
def group_norm_written_out(net: Any) -> Any:
    """Exporters of old opsets: Reshape, InstanceNormalization, Reshape, scale and shift."""
    x = net.conv(net.input(1, 3, 8, 8), 3, 16)
    y = net.op("Reshape", x, net.ints(0, 4, -1))
    ones, zeros = net.const(np.ones(4, "f4")), net.const(np.zeros(4, "f4"))
    y = net.op("InstanceNormalization", y, ones, zeros)
    y = net.op("Reshape", y, net.op("Shape", x))
    y = net.op("Add", net.op("Mul", y, net.positive(16, 1, 1)), net.w(16, 1, 1))
    return net.proto(net.conv(net.op("Relu", y), 16, 2))


@case(1.3)
def layer_norm_over_tokens(net: Any) -> Any:
    x = net.op("MatMul", net.w(8, 4), net.input(1, 4, 6))
    x = net.op("LayerNormalization", x, net.positive(6), net.w(6), axis=-1)
    return net.proto(net.op("MatMul", net.w(3, 8), x))


@case(1.4)
def global_response_norm(net: Any) -> Any:
    """ConvNeXt v2: the mean over the channels counts the removed ones as zeros."""
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 16))
    g = net.op("ReduceL2", x, axes=[2, 3])
    m = net.op("Add", net.op("ReduceMean", g, axes=[1]), net.const(np.float32(1e-6)))
    y = net.op("Mul", net.op("Mul", x, net.op("Div", g, m)), net.w(16, 1, 1))
    y = net.op("Add", net.op("Add", y, net.w(16, 1, 1)), x)
    return net.proto(net.conv(y, 16, 2))


@case(1.5)
def weight_standardisation(net: Any) -> Any:
    """The kernel is computed from a constant; its statistics are over the cut columns."""
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    w = net.w(8, 8, 3, 3)
    centred = net.op("Sub", w, net.op("ReduceMean", w, axes=[1, 2, 3]))
    variance = net.op("ReduceMean", net.op("Mul", centred, centred), axes=[1, 2, 3])
    spread = net.op("Sqrt", net.op("Add", variance, net.const(np.float32(1e-5))))
    x = net.op("Conv", x, net.op("Div", centred, spread), net.w(8), pads=[1] * 4)
    return net.proto(net.conv(net.op("Relu", x), 8, 2))


@case(1.5)
def weight_standardisation_by_batch_norm(net: Any) -> Any:
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    w = net.op("Reshape", net.w(8, 8, 3, 3), net.ints(1, 8, -1))
    zeros, mean, var = (net.const(np.zeros(8, "f4")) for _ in range(3))
    w, _, _ = net.op(
        "BatchNormalization", w, net.positive(8), zeros, mean, var, outputs=3, training_mode=1
    )
    w = net.op("Reshape", w, net.ints(8, 8, 3, 3))
    return net.proto(net.conv(net.op("Conv", x, w, pads=[1] * 4), 8, 2))


@case(1.5)
def weights_behind_views(net: Any) -> Any:
    x = net.op("MatMul", net.input(4, 6), net.op("Transpose", net.w(8, 6)))
    w = net.op("Reshape", net.op("Identity", net.w(3, 8, 1)), net.ints(3, 8))
    return net.proto(net.op("MatMul", net.op("Relu", x), net.op("Transpose", w)))


@case(1.4)
def a_bias_by_index(net: Any) -> Any:
    """A relative position bias: rows of a table, picked by constant indices."""
    table = net.w(5, 4)
    bias = net.op("Gather", table, net.const(np.array([[0, 1, 2], [1, 0, 3], [2, 3, 4]])))
    bias = net.op("Transpose", bias, perm=[2, 0, 1])
    x = net.op("MatMul", net.input(1, 3, 6), net.w(6, 8))
    x = net.op("Transpose", net.op("Reshape", x, net.ints(1, 3, 4, 2)), perm=[0, 2, 1, 3])
    a = net.op("Add", net.op("MatMul", x, net.op("Transpose", x, perm=[0, 1, 3, 2])), bias)
    y = net.op("MatMul", net.op("Softmax", a, axis=-1), x)
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(1, 3, 8))
    return net.proto(net.op("MatMul", y, net.w(8, 3)))


def _rnn(net: Any, op: str, gates: int, dirs: int, **attrs: Any) -> Any:
    x = net.op("MatMul", net.input(5, 2, 4), net.w(4, 6))
    hidden = 8
    weights = [net.w(dirs, gates * hidden, 6), net.w(dirs, gates * hidden, hidden)]
    y, last = net.op(
        op, x, *weights, net.w(dirs, 2 * gates * hidden), outputs=2, hidden_size=hidden, **attrs
    )
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(5, 2, dirs * hidden))
    last = net.op("MatMul", net.op("Squeeze", net.op("Slice", last, net.ints(0), net.ints(1)),
                                   net.ints(0)), net.w(hidden, 2))  # fmt: skip
    return net.proto(net.op("MatMul", y, net.w(dirs * hidden, 3)), last)


@case(2.0)
def lstm(net: Any) -> Any:
    return _rnn(net, "LSTM", 4, 1)


@case(2.0)
def lstm_both_ways(net: Any) -> Any:
    return _rnn(net, "LSTM", 4, 2, direction="bidirectional")


@case(2.0)
def gru(net: Any) -> Any:
    return _rnn(net, "GRU", 3, 1, linear_before_reset=1)


@case(2.0)
def rnn(net: Any) -> Any:
    return _rnn(net, "RNN", 1, 2, direction="bidirectional", activations=["Relu", "Tanh"])


@case(1.8)
def lstm_with_states_and_peepholes(net: Any) -> Any:
    x = net.input(5, 2, 4)
    zeros = net.op("ConstantOfShape", net.ints(1, 2, 8))
    weights = [net.w(1, 32, 4), net.w(1, 32, 8), net.w(1, 64)]
    y, h, c = net.op(
        "LSTM", x, *weights, "", net.w(1, 2, 8), zeros, net.w(1, 24), outputs=3, hidden_size=8
    )
    both = net.op("Add", net.op("Reshape", h, net.ints(2, 8)), net.op("Reshape", c, net.ints(2, 8)))
    y = net.op("MatMul", net.op("Reshape", y, net.ints(5, 2, 8)), net.w(8, 3))
    return net.proto(y, net.op("MatMul", both, net.w(8, 3)))


@case(1.8)
def lstm_with_reordered_gates(net: Any) -> Any:
    """A new exporter slices the gates of the weights apart and puts them together again."""
    made = []
    for size in (4, 8):
        w = net.w(32, size)
        i, f, g, o = net.op("Split", w, outputs=4, axis=0)
        made.append(net.op("Unsqueeze", net.op("Concat", i, o, f, g, axis=0), net.ints(0)))
    y, _ = net.op("LSTM", net.input(5, 2, 4), *made, net.w(1, 64), outputs=2, hidden_size=8)
    return net.proto(net.op("MatMul", net.op("Reshape", y, net.ints(5, 2, 8)), net.w(8, 3)))


@case(1.4)
def pools_and_resize(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("AveragePool", x, kernel_shape=[2, 2])
    x = net.op("Resize", x, "", net.const(np.array([1, 1, 2, 2], "f4")))
    return net.proto(net.conv(x, 8, 2))


@case(1.4)
def sampled_on_a_grid(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    x = net.op("GridSample", x, net.input(1, 4, 4, 2, name="grid"))
    return net.proto(net.conv(x, 8, 2))


@case(1.7, opset=9)
def sizes_computed_as_before_opset_10(net: Any) -> Any:
    """PaddlePaddle's exporter: slices of shapes with bounds that are attributes."""
    x = net.op("Relu", net.conv(net.input("n", 3, 4, 4), 3, 16))
    shape = net.op(
        "Slice", net.op("Cast", net.op("Shape", x), to=6), starts=[0], ends=[1], axes=[0]
    )
    shape = net.op("Concat", shape, net.const(np.array([16, -1], np.int32)), axis=0)
    x = net.op("Reshape", x, net.op("Cast", shape, to=7))
    x = net.op("MatMul", net.op("Transpose", x, perm=[0, 2, 1]), net.w(16, 8))
    return net.proto(net.op("MatMul", net.op("Relu", x), net.w(8, 2)))


@case(1.7, opset=19)
def deformable(net: Any) -> Any:
    x = net.op("Relu", net.conv(net.input(1, 3, 6, 6), 3, 8))
    offset = net.conv(net.input(1, 3, 6, 6, name="z"), 3, 18)
    x = net.op("DeformConv", x, net.w(16, 8, 3, 3), offset, net.w(16), pads=[1] * 4)
    return net.proto(net.conv(net.op("Relu", x), 16, 2))


@case(1.7, opset=18)
def patches_put_into_an_image(net: Any) -> Any:
    x = net.op("MatMul", net.input(1, 9, 4), net.w(4, 32))
    x = net.op("Transpose", net.op("Relu", x), perm=[0, 2, 1])
    x = net.op("Col2Im", x, net.ints(6, 6), net.ints(2, 2), strides=[2, 2])
    return net.proto(net.conv(x, 8, 2))


@case(1.7)
def reversed_sequences(net: Any) -> Any:
    x = net.op("Relu", net.op("MatMul", net.input(5, 2, 4), net.w(4, 16)))
    x = net.op("ReverseSequence", x, net.ints(3, 5))
    return net.proto(net.op("MatMul", x, net.w(16, 3)))


@case(1.4)
def elementwise_with_constants(net: Any) -> Any:
    x = net.conv(net.input(1, 3, 4, 4), 3, 8)
    x = net.op("Div", net.op("Sub", x, net.w(8, 1, 1)), net.positive(8, 1, 1))
    x = net.op("PRelu", net.op("Max", x, net.w(1, 8, 1, 1)), net.positive(8, 1, 1))
    x = net.op("Pow", net.op("Abs", x), net.const(np.float32(1.5)))
    keep = net.const(np.arange(16).reshape(1, 1, 4, 4) % 3 > 0)
    x = net.op("Where", keep, x, net.op("Exp", x))
    return net.proto(net.conv(x, 8, 2))


@pytest.mark.parametrize("name", CASES)
def test_half_of_it_goes_and_the_equivalence_holds(
    name: str, make_net: Any, check_equivalence: Any
) -> None:
    rate, opset, build = CASES[name]
    found = check_equivalence(build(make_net(opset)))
    assert found.plan.sets, found.dependency.all_fences()
    assert found.rate >= rate


@pytest.mark.parametrize("name", CASES)
def test_a_second_cut_of_the_output_works(name: str, make_net: Any, check_equivalence: Any) -> None:
    _, opset, build = CASES[name]
    first = check_equivalence(build(make_net(opset)), 0.3)
    check_equivalence(first.after, 0.4)


def test_what_one_family_keeps_meets_what_another_keeps(
    make_net: Any, check_equivalence: Any
) -> None:
    """Padded channels and the places of a depthwise multiplier cross: they are two families."""
    net = make_net()
    x = net.op("Pad", net.conv(net.input(1, 3, 8, 8), 3, 8), net.ints(0, 1, 0, 0, 0, 1, 0, 0))
    proto = _head(net, net.conv(x, 10, 20, group=10), 20)

    def all_but_one(dependency: Any) -> Plan:
        sets = {f.name: np.arange(f.size) > 0 for f in dependency.prunable()}
        return Plan(sets=sets)

    assert len(check_equivalence(proto, plan=all_but_one).plan.sets) == 3
