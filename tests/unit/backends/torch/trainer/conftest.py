"""Small networks and data that train in milliseconds."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.backends.training import TrainConfig
from acgraph.data import ArrayDataset
from acgraph.ir import model_from_proto

CLASSES = 3


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ACGRAPH_CACHE", str(tmp_path / "cache"))


def build(nodes, weights, shape_in, outputs):
    """Make a model of nodes and float32 weights; outputs are (name, shape)."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto, full_check=True)
    return model_from_proto(proto)


def linear_model(features=4, classes=CLASSES, *, bias=True, seed=0):
    rng = np.random.default_rng(seed)
    weights = {"w": rng.standard_normal((classes, features)) * 0.1}
    if bias:
        weights["b"] = np.zeros(classes)
    node = helper.make_node("Gemm", ["x", *weights], ["y"], transB=1)
    return build([node], weights, ["n", features], [("y", ["n", classes])])


def conv_model(*, softmax=False, dropout=False, seed=0):
    """Conv, BatchNormalization, Relu, Conv, mean over the image, Gemm."""
    rng = np.random.default_rng(seed)
    weights = {
        "conv1.w": rng.standard_normal((6, 3, 3, 3)) * 0.3,
        "bn.scale": np.ones(6),
        "bn.bias": np.zeros(6),
        "bn.mean": np.zeros(6),
        "bn.var": np.ones(6),
        "conv2.w": rng.standard_normal((8, 6, 3, 3)) * 0.2,
        "fc.w": rng.standard_normal((CLASSES, 8)) * 0.3,
        "fc.b": np.zeros(CLASSES),
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "conv1.w"], ["a"], **pads),
        helper.make_node(
            "BatchNormalization", ["a", "bn.scale", "bn.bias", "bn.mean", "bn.var"], ["c"]
        ),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "conv2.w"], ["e"], **pads),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("GlobalAveragePool", ["f"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
    ]
    last = "h"
    if dropout:
        nodes.append(helper.make_node("Dropout", ["h"], ["i"]))
        last = "i"
    name = "z" if softmax else "y"
    nodes.append(helper.make_node("Gemm", [last, "fc.w", "fc.b"], [name], transB=1))
    if softmax:
        nodes.append(helper.make_node("Softmax", ["z"], ["y"], axis=1))
    return build(nodes, weights, ["n", 3, 8, 8], [("y", ["n", CLASSES])])


def blobs(count=96, features=4, seed=0, labelled=True):
    """Return points around one centre a class, which a linear network can tell apart."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    x = (np.eye(features)[y] * 2 + rng.standard_normal((count, features)) * 0.5).astype(np.float32)
    return ArrayDataset(x, y.astype(np.int64) if labelled else None, name="blobs")


def bare_model(*, seed=0):
    """Conv, Relu, mean over the image, Gemm: a network without statistics."""
    rng = np.random.default_rng(seed)
    weights = {
        "conv.w": rng.standard_normal((6, 3, 3, 3)) * 0.3,
        "fc.w": rng.standard_normal((CLASSES, 6)) * 0.3,
        "fc.b": np.zeros(CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "fc.w", "fc.b"], ["y"], transB=1),
    ]
    return build(nodes, weights, ["n", 3, 8, 8], [("y", ["n", CLASSES])])


def patterns(count=60, seed=0, labelled=True, layout="NCHW"):
    """Return images [N, 3, 8, 8] whose brightest channel is their class."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % CLASSES
    x = rng.standard_normal((count, 3, 8, 8)).astype(np.float32)
    x[np.arange(count), y] += 1
    return ArrayDataset(x, y.astype(np.int64) if labelled else None, layout=layout, name="patterns")


def plain(**options):
    """Return a configuration without timing, augmentation, decay, distillation or clipping."""
    defaults = {
        "precision": "fp32",
        "channels_last": False,
        "augment": False,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "schedule": "constant",
        "distill_weight": 0.0,
        "grad_clip": 0.0,
        "batch_size": 16,
        "learning_rate": 0.1,
    }
    return TrainConfig(**{**defaults, **options})


@pytest.fixture
def make():
    """The builders, for test modules that importlib keeps apart."""
    from types import SimpleNamespace

    return SimpleNamespace(
        linear=linear_model,
        conv=conv_model,
        bare=bare_model,
        blobs=blobs,
        patterns=patterns,
        plain=plain,
        build=build,
        classes=CLASSES,
    )
