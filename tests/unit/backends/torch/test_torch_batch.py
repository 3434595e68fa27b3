"""Graphs exported at batch 1, run at other batches: every sample must come out as alone."""

import numpy as np
import pytest
import torch
from onnx import helper

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.errors import DataError

N = helper.make_node


def ints(*numbers):
    return np.array(numbers, np.int64)


def window_attention():
    """Windows of an image to the batch axis and back, as Swin does, with a Gather of three."""
    nodes = [
        N("Reshape", ["x", "s1"], ["a"], name="split"),
        N("Transpose", ["a"], ["b"], name="t1", perm=[0, 1, 3, 2, 4, 5]),
        N("Reshape", ["b", "s2"], ["c"], name="windows"),
        N("MatMul", ["c", "w"], ["d"], name="qkv"),
        N("Reshape", ["d", "s3"], ["e"], name="heads"),
        N("Transpose", ["e"], ["f"], name="t2", perm=[2, 0, 3, 1, 4]),
        N("Gather", ["f", "i0"], ["q"], name="q", axis=0),
        N("Gather", ["f", "i1"], ["k"], name="k", axis=0),
        N("Transpose", ["k"], ["kt"], name="t3", perm=[0, 1, 3, 2]),
        N("MatMul", ["q", "kt"], ["g"], name="scores"),
        N("Add", ["g", "bias"], ["h"], name="bias"),
        N("Softmax", ["h"], ["p"], name="softmax", axis=-1),
        N("Reshape", ["p", "s4"], ["y"], name="back"),
    ]
    rng = np.random.default_rng(0)
    constants = {
        "s1": ints(1, 2, 2, 2, 2, 4),
        "s2": ints(4, 4, 4),
        "w": rng.standard_normal((4, 12)).astype(np.float32),
        "s3": ints(4, 4, 3, 2, 2),
        "i0": np.array(0),
        "i1": np.array(1),
        "bias": rng.standard_normal((1, 2, 4, 4)).astype(np.float32),
        "s4": ints(1, 4, 32),
    }
    return nodes, (1, 4, 4, 4), constants


def class_token():
    nodes = [
        N("Reshape", ["x", "s"], ["a"], name="flat"),
        N("Transpose", ["a"], ["b"], name="t", perm=[0, 2, 1]),
        N("Concat", ["token", "b"], ["c"], name="token", axis=1),
        N("LayerNormalization", ["c", "g"], ["d"], name="norm"),
        N("Gather", ["d", "first"], ["y"], name="head", axis=1),
    ]
    rng = np.random.default_rng(0)
    constants = {
        "s": ints(1, 3, -1),
        "token": rng.standard_normal((1, 1, 3)).astype(np.float32),
        "g": rng.standard_normal(3).astype(np.float32),
        "first": np.array(0),
    }
    return nodes, (1, 3, 4, 4), constants


def expand_and_resize():
    nodes = [
        N("ReduceMean", ["x"], ["m"], name="mean", axes=[2, 3]),
        N("Expand", ["m", "s"], ["e"], name="expand"),
        N("Resize", ["e", "", "", "z"], ["r"], name="resize", mode="linear"),
        N("Flatten", ["r"], ["y"], name="flatten"),
    ]
    return nodes, (1, 2, 3, 3), {"s": ints(1, 2, 3, 3), "z": ints(1, 2, 6, 6)}


def own_shape_arithmetic():
    nodes = [
        N("Shape", ["x"], ["s"], name="shape"),
        N("Gather", ["s", "zero"], ["n"], name="n"),
        N("Concat", ["n", "rest"], ["t"], name="target", axis=0),
        N("Reshape", ["x", "t"], ["y"], name="reshape"),
    ]
    return nodes, (1, 2, 6), {"zero": ints(0), "rest": ints(3, 4)}


def strided_view():
    nodes = [
        N("Reshape", ["x", "s"], ["a"], name="flat"),
        N("Gather", ["a", "i"], ["y"], name="view", axis=0),
    ]
    return nodes, (1, 2, 3), {"s": ints(-1), "i": np.array([[[0, 2], [3, 5]]])}


def recurrent():
    nodes = [
        N("Transpose", ["x"], ["a"], name="t", perm=[1, 0, 2]),
        N("LSTM", ["a", "w", "r", "", "", "h", "c"], ["b"], name="lstm", hidden_size=3),
        N("Transpose", ["b"], ["d"], name="t2", perm=[2, 0, 1, 3]),
        N("Reshape", ["d", "s"], ["y"], name="reshape"),
    ]
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((1, 12, 4)).astype(np.float32),
        "r": rng.standard_normal((1, 12, 3)).astype(np.float32),
        "h": np.zeros((1, 1, 3), np.float32),
        "c": np.zeros((1, 1, 3), np.float32),
        "s": ints(1, 5, 3),
    }
    return nodes, (1, 5, 4), constants


def recurrent_over_rows():
    """The rows of an image as a batch of sequences, from a state that is stored for all of them."""
    nodes = [
        N("Reshape", ["x", "s1"], ["a"], name="rows"),
        N("Transpose", ["a"], ["b"], name="t", perm=[1, 0, 2]),
        N("GRU", ["b", "w", "r", "", "", "h"], ["c"], name="gru", hidden_size=3),
        N("Squeeze", ["c", "one"], ["d"], name="squeeze"),
        N("Transpose", ["d"], ["e"], name="t2", perm=[1, 0, 2]),
        N("Reshape", ["e", "s2"], ["y"], name="image"),
    ]
    rng = np.random.default_rng(0)
    constants = {
        "s1": ints(2, 5, 4),
        "w": rng.standard_normal((1, 9, 4)).astype(np.float32),
        "r": rng.standard_normal((1, 9, 3)).astype(np.float32),
        "h": rng.standard_normal((1, 2, 3)).astype(np.float32),
        "one": ints(1),
        "s2": ints(1, 2, 5, 3),
    }
    return nodes, (1, 2, 5, 4), constants


def tokens_first():
    """Attention over tokens that come first, as of torch.nn.MultiheadAttention.

    ``[tokens, 1, 4]`` becomes the rows of a product: the batch is the fastest part of an axis.
    """
    nodes = [N("Transpose", ["x"], ["b0"], name="t", perm=[1, 0, 2])]
    for i in range(3):
        nodes += [
            N("Reshape", [f"b{i}", "rows"], [f"r{i}"], name=f"rows{i}"),
            N("Gemm", [f"r{i}", "w", "bias"], [f"g{i}"], name=f"gemm{i}", transB=1),
            N("Reshape", [f"g{i}", "heads"], [f"h{i}"], name=f"heads{i}"),
            N("Transpose", [f"h{i}"], [f"q{i}"], name=f"q{i}", perm=[1, 2, 0, 3]),
            N("Transpose", [f"h{i}"], [f"k{i}"], name=f"k{i}", perm=[1, 2, 3, 0]),
            N("MatMul", [f"q{i}", f"k{i}"], [f"s{i}"], name=f"scores{i}"),
            N("Softmax", [f"s{i}"], [f"p{i}"], name=f"softmax{i}", axis=-1),
            N("MatMul", [f"p{i}", f"q{i}"], [f"o{i}"], name=f"mix{i}"),
            N("Transpose", [f"o{i}"], [f"m{i}"], name=f"m{i}", perm=[2, 0, 1, 3]),
            N("Reshape", [f"m{i}", "tokens"], [f"b{i + 1}"], name=f"tokens{i}"),
        ]
    nodes.append(N("Transpose", ["b3"], ["y"], name="back", perm=[1, 0, 2]))
    rng = np.random.default_rng(0)
    constants = {
        "rows": ints(5, 4),
        "w": rng.standard_normal((4, 4)).astype(np.float32),
        "bias": rng.standard_normal(4).astype(np.float32),
        "heads": ints(5, 1, 2, 2),
        "tokens": ints(5, 1, 4),
    }
    return nodes, (1, 5, 4), constants


FREE = [
    tokens_first,
    window_attention,
    class_token,
    expand_and_resize,
    own_shape_arithmetic,
    strided_view,
    recurrent,
    recurrent_over_rows,
]


@pytest.mark.parametrize("case", FREE)
def test_every_sample_comes_out_as_alone(case, build, ort, rng):
    nodes, shape, constants = case()
    x = rng.standard_normal((3, *shape[1:])).astype(np.float32)
    model = build(nodes, {"x": x[:1]}, constants, ["y"], opset=17)
    module = GraphModule(model).eval()
    wanted = np.concatenate([ort(model, {"x": part[None]})[0] for part in x])
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x))[0], wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            module(torch.from_numpy(x[:1]))[0], wanted[:1], rtol=1e-4, atol=1e-5
        )
    assert module.fixed_batch is None


def mixes_by_softmax():
    return [N("Softmax", ["x"], ["y"], name="bad", axis=0)], (1, 4), {}


def reduces_over_the_batch():
    return [N("ReduceMean", ["x"], ["y"], name="bad", axes=[0])], (1, 4), {}


def drops_the_batch():
    return [N("Squeeze", ["x"], ["y"], name="bad")], (1, 4), {}


def pads_the_batch():
    return [N("Pad", ["x", "p"], ["y"], name="bad")], (1, 4), {"p": ints(1, 0, 0, 0)}


def moves_the_batch_inside():
    nodes = [
        N("Transpose", ["x"], ["a"], name="t", perm=[1, 0, 2]),
        N("Reshape", ["a", "s"], ["b"], name="r"),
        N("Softmax", ["b"], ["y"], name="bad", axis=1),
    ]
    return nodes, (1, 3, 4), {"s": ints(3, 4)}


def multiplies_over_the_batch():
    nodes = [
        N("Transpose", ["x"], ["t"], name="t", perm=[1, 0]),
        N("MatMul", ["t", "x"], ["y"], name="bad"),
    ]
    return nodes, (1, 4), {}


def returns_the_batch_inside():
    nodes = [
        N("Transpose", ["x"], ["a"], name="t", perm=[1, 0, 2]),
        N("Reshape", ["a", "s"], ["b"], name="r"),
        N("Gemm", ["b", "w"], ["y"], name="bad"),
    ]
    return nodes, (1, 3, 4), {"s": ints(3, 4), "w": np.eye(4, 2, dtype=np.float32)}


FIXED = [
    returns_the_batch_inside,
    mixes_by_softmax,
    reduces_over_the_batch,
    drops_the_batch,
    pads_the_batch,
    multiplies_over_the_batch,
]


@pytest.mark.parametrize("case", FIXED)
def test_a_graph_that_mixes_samples_runs_in_parts_of_its_batch(case, build, ort, rng):
    nodes, shape, constants = case()
    x = rng.standard_normal((2, *shape[1:])).astype(np.float32)
    model = build(nodes, {"x": x[:1]}, constants, ["y"], opset=17)
    module = GraphModule(model).eval()
    assert module.fixed_batch == 1
    assert "node 'bad'" in str(module.fixed_reason)
    alone = [ort(model, {"x": part[None]})[0] for part in x]
    has_batch = alone[0].shape[0] == 1
    wanted = np.concatenate(alone) if has_batch else np.stack(alone)
    with torch.no_grad():
        found = module(torch.from_numpy(x))[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match=r"fixed the batch size at 1.*node 'bad'"):
        module.plan_for(torch.from_numpy(x))


def test_a_batch_inside_another_axis_stays_right_or_is_refused(build, ort, rng):
    """[3, batch, 4] to [3, 4]: the batch joins the last axis; Softmax over it must not mix."""
    nodes, shape, constants = moves_the_batch_inside()
    x = rng.standard_normal((2, *shape[1:])).astype(np.float32)
    model = build(nodes, {"x": x[:1]}, constants, ["y"], opset=17)
    assert GraphModule(model).eval().fixed_batch == 1


def test_a_batch_of_eight_may_be_left_as_well(build, ort, normal):
    nodes = [N("Reshape", ["x", "s"], ["a"], name="r"), N("Gemm", ["a", "w"], ["y"], name="g")]
    constants = {"s": ints(8, 12), "w": normal(12, 5)}
    x = normal(8, 3, 4)
    model = build(nodes, {"x": x}, constants, ["y"])
    module = GraphModule(model).eval()
    (wanted,) = ort(model, {"x": x})
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x[:3]))[0], wanted[:3], rtol=1e-4)


def test_a_declared_batch_trains_at_another(build, normal):
    nodes = [
        N("Conv", ["x", "w"], ["a"], name="conv"),
        N("BatchNormalization", ["a", "g", "b", "m", "v"], ["n"], name="bn"),
        N("Reshape", ["n", "s"], ["y"], name="r"),
    ]
    constants = {"w": normal(4, 3, 1, 1), "s": ints(1, 16)}
    constants |= {name: np.abs(normal(4)) + 0.1 for name in "gbmv"}
    module = GraphModule(build(nodes, {"x": normal(1, 3, 2, 2)}, constants, ["y"])).train()
    before = module.weights()
    out = module(torch.from_numpy(normal(6, 3, 2, 2)))[0]
    assert out.shape == (6, 16)
    out.square().sum().backward()
    assert module.parameter("w").grad.abs().max() > 0
    assert not np.allclose(module.weights()["m"], before["m"])


def test_a_batch_that_only_constants_bind_is_left_as_well(build, ort, normal):
    """The file declares any batch, but flattens to [1, 12]."""
    nodes = [N("Reshape", ["x", "s"], ["a"], name="r"), N("Gemm", ["a", "w"], ["y"], name="g")]
    x, constants = normal(3, 3, 4), {"s": ints(1, -1), "w": normal(12, 5)}
    model = build(nodes, {"x": x[:1]}, constants, ["y"])
    model.graph.inputs[0].shape = ["n", 3, 4]
    module = GraphModule(model).eval()
    wanted = np.concatenate([ort(model, {"x": part[None]})[0] for part in x])
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x))[0], wanted, rtol=1e-4, atol=1e-5)
