"""A cut with one wrong index is found, in networks of ten kinds, on every constant that was cut.

One position that was removed takes the place of one that was kept, in one tensor: the smallest
mistake that an analysis of dependencies can make.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.ir import Model, clone_model, model_from_proto
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import Shrunk, masked_model, replace_constants, shrink

Build = Callable[[Any], onnx.ModelProto]


def _chain(net: Any) -> onnx.ModelProto:
    x = net.op("Relu", net.bn(net.conv(net.input("N", 3, 12, 12), 3, 12), 12))
    x = net.op("Relu", net.conv(x, 12, 16))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.proto(net.gemm(x, 16, 5))


def _residual(net: Any) -> onnx.ModelProto:
    x = net.op("Relu", net.conv(net.input(1, 3, 12, 12), 3, 12))
    for _ in range(2):
        y = net.conv(net.op("Relu", net.conv(x, 12, 16)), 16, 12)
        x = net.op("Relu", net.op("Add", x, y))
    return net.proto(net.conv(x, 12, 2, k=1))


def _concat(net: Any) -> onnx.ModelProto:
    x = net.input(1, 3, 12, 12)
    parts = [net.op("Relu", net.conv(x, 3, n)) for n in (8, 12)]
    return net.proto(net.conv(net.op("Concat", *parts, axis=1), 20, 3))


def _shuffle(net: Any) -> onnx.ModelProto:
    x = net.op("Relu", net.conv(net.input(1, 3, 12, 12), 3, 16, k=1))
    x = net.op("Reshape", x, net.ints(1, 2, 8, 12, 12))
    x = net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = net.op("Reshape", x, net.ints(1, 16, 12, 12))
    return net.proto(net.conv(x, 16, 4))


def _heads(net: Any) -> onnx.ModelProto:
    x, t, h, d = net.input(1, 6, 12), 6, 4, 5

    def project(perm: list[int], bias: bool = True) -> str:
        y = net.op("MatMul", x, net.w(12, h * d))
        y = net.op("Add", y, net.w(h * d)) if bias else y
        return str(net.op("Transpose", net.op("Reshape", y, net.ints(1, t, h, d)), perm=perm))

    # A bias of the keys moves all scores of a query alike: Softmax does not see it.
    scores = net.op("MatMul", project([0, 2, 1, 3]), project([0, 2, 3, 1], bias=False))
    y = net.op("MatMul", net.op("Softmax", scores, axis=-1), project([0, 2, 1, 3]))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(1, t, h * d))
    return net.proto(net.op("Add", x, net.op("MatMul", y, net.w(h * d, 12))))


def _lstm(net: Any) -> onnx.ModelProto:
    hidden = 10
    weights = [net.w(1, 4 * hidden, 6), net.w(1, 4 * hidden, hidden), net.w(1, 8 * hidden)]
    y, _, _ = net.op(
        "LSTM", net.input(7, 2, 6), *weights, outputs=3, hidden_size=hidden, direction="forward"
    )
    return net.proto(net.op("MatMul", net.op("Squeeze", y, net.ints(1)), net.w(hidden, 4)))


def _grouped(net: Any) -> onnx.ModelProto:
    x = net.op("Relu", net.conv(net.input(1, 3, 12, 12), 3, 16))
    x = net.op("Relu", net.conv(x, 16, 16, group=16))
    x = net.op("Relu", net.conv(x, 16, 24, group=4))
    return net.proto(net.conv(x, 24, 3, k=1))


def _gating(net: Any) -> onnx.ModelProto:
    x = net.op("Relu", net.conv(net.input(1, 3, 12, 12), 3, 16))
    gate = net.op("Relu", net.conv(net.op("GlobalAveragePool", x), 16, 8, k=1))
    gate = net.op("Sigmoid", net.conv(gate, 8, 16, k=1))
    return net.proto(net.conv(net.op("Mul", x, gate), 16, 3))


def _flatten(net: Any) -> onnx.ModelProto:
    x = net.op("Relu", net.conv(net.input(2, 3, 8, 8), 3, 10))
    x = net.op("Flatten", net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    return net.proto(net.gemm(net.op("Relu", net.gemm(x, 160, 24)), 24, 5))


def _saturated(net: Any) -> onnx.ModelProto:
    """Every output is 1e-8 and less, below one step of the kernel of Sigmoid."""
    x = net.op("Relu", net.conv(net.input(1, 3, 12, 12), 3, 16))
    x = net.op("Conv", x, net.w(1, 16, 3, 3), net.const(np.array([-21.0], "f4")), pads=[1] * 4)
    return net.proto(net.op("Sigmoid", x))


def _one_hot(net: Any) -> onnx.ModelProto:
    """Softmax is 1 for the same class everywhere."""
    x = net.op("Relu", net.gemm(net.input(4, 9), 9, 16))
    bias = net.const(np.array([0, 0, 90, 0, 0], "f4"))
    return net.proto(net.op("Softmax", net.op("Gemm", x, net.w(16, 5), bias), axis=-1))


def _classes(net: Any) -> onnx.ModelProto:
    x = net.op("Relu", net.gemm(net.input(4, 9), 9, 16))
    classes = net.op("ArgMax", net.gemm(x, 16, 5), axis=1)
    return net.proto(integers=[classes])


def _half(net: Any) -> onnx.ModelProto:
    """The chain in float16, whose own rounding is as large as the error of a wrong index."""
    proto = onnx.ModelProto()
    proto.CopyFrom(_flatten(net))
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))
    for value in [*proto.graph.input, *proto.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    del proto.graph.value_info[:]
    return proto


def _weak_branch(net: Any) -> onnx.ModelProto:
    """A branch of which one part in a million reaches the output, as behind a new layer scale."""
    x = net.conv(net.input(1, 3, 12, 12), 3, 12)
    y = net.conv(net.op("Relu", net.conv(x, 12, 16)), 16, 12)
    y = net.op("Mul", y, net.const(np.full((1, 12, 1, 1), 1e-6, "f4")))
    return net.proto(net.conv(net.op("Add", x, y), 12, 2, k=1))


def _constant_signal(net: Any) -> onnx.ModelProto:
    """What the inputs change is a millionth of the outputs, which are all but constant."""
    x = net.op("Relu", net.conv(net.input(1, 3, 12, 12), 3, 16))
    bias = net.const(np.array([3e5, -2e5], "f4"))
    return net.proto(net.op("Conv", x, net.w(2, 16, 3, 3), bias, pads=[1] * 4))


NETS: list[Build] = [
    _chain, _residual, _concat, _shuffle, _heads, _lstm, _grouped, _gating, _flatten, _saturated,
    _one_hot, _classes, _half, _weak_branch,
]  # fmt: skip


def _cut(proto: onnx.ModelProto) -> tuple[DependencyGraph, Shrunk, Model]:
    model = model_from_proto(proto)
    untie_constants(model)
    dependency = analyse(model)
    plan = magnitude_plan(dependency, model.constants(), 0.5)
    return dependency, shrink(dependency, plan), masked_model(dependency, plan)


def _mutants(dependency: DependencyGraph, cut: Shrunk, seed: int) -> Iterator[tuple[str, Model]]:
    """Yield the compact model with one wrong index in one tensor, for each axis of each tensor."""
    dense, small = dependency.model.constants(), cut.model.constants()
    rng = np.random.default_rng(seed)
    for name, axes in cut.kept.items():
        for axis, kept in axes.items():
            removed = np.setdiff1d(np.arange(dense[name].shape[axis]), kept)
            if dense[name].dtype.kind != "f" or not removed.size:
                continue
            wrong = kept.copy()
            wrong[rng.integers(len(kept))] = rng.choice(removed)
            value = dense[name]
            for other, positions in axes.items():
                value = np.take(value, wrong if other == axis else positions, axis=other)
            assert value.shape == small[name].shape
            if np.array_equal(value, small[name]):
                continue
            mutant = clone_model(cut.model)
            replace_constants(mutant, {name: value})
            yield f"{name}:{axis}", mutant


@pytest.mark.parametrize("build", NETS, ids=lambda build: build.__name__.strip("_"))
def test_one_wrong_index_is_found(build: Build, make_net: Any) -> None:
    for seed in range(2):
        dependency, cut, masked = _cut(build(make_net(17, seed)))
        right = check_equivalence(cut.model, masked)
        assert right.passed, right.failures
        assert not right.vacuous
        mutants = dict(_mutants(dependency, cut, seed))
        assert len(mutants) >= 3
        missed = [
            name for name, mutant in mutants.items() if check_equivalence(mutant, masked).passed
        ]
        assert not missed
