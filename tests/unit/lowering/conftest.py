"""Models of one pruned layer, made with onnx alone, and ONNX Runtime as the oracle."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from acgraph.ir import Model, model_from_proto, proto_from_model


@dataclass
class Spec:
    """A convolution and which columns it uses."""

    weight: np.ndarray
    spatial: tuple[int, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    bias: bool = True
    batch: int = 1
    opset: int = 17
    dynamic: bool = False


def conv_model(spec: Spec) -> Model:
    """Build ``y = Relu(Conv(x, w, b))``."""
    out, channels = spec.weight.shape[:2]
    group = spec.attrs.get("group", 1)
    constants = [numpy_helper.from_array(spec.weight, "w")]
    if spec.bias:
        bias = np.linspace(-1, 1, out).astype(spec.weight.dtype)
        constants.append(numpy_helper.from_array(bias, "b"))
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", "b"][: 2 + spec.bias], ["c"], name="conv", **spec.attrs
        ),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    sizes: list[Any] = [spec.batch, channels * group, *spec.spatial]
    if spec.dynamic:
        sizes = ["n", channels * group, *[f"s{i}" for i in range(len(spec.spatial))]]
    return _model(nodes, constants, sizes, spec.opset, spec.weight.dtype)


def node_model(op: str, weight: np.ndarray, sizes: list[Any], **options: Any) -> Model:
    """Build ``y = op(x, w)``; ``left`` puts the weight first, ``bias`` adds a third input."""
    left, bias = options.pop("left", False), options.pop("bias", None)
    constants = [numpy_helper.from_array(weight, "w")]
    names = ["w", "x"] if left else ["x", "w"]
    if bias is not None:
        constants.append(numpy_helper.from_array(bias, "b"))
        names.append("b")
    nodes = [helper.make_node(op, names, ["y"], name="layer", **options)]
    return _model(nodes, constants, sizes, 17, weight.dtype)


def _model(nodes: Any, constants: Any, sizes: Any, opset: int, dtype: Any) -> Model:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, sizes)],
        [helper.make_tensor_value_info("y", kind, None)],
        constants,
    )
    imports = [helper.make_opsetid("", opset)]
    return model_from_proto(helper.make_model(graph, opset_imports=imports, ir_version=8))


def run(model: Model, x: np.ndarray, optimise: bool = False) -> np.ndarray:
    """First output in ONNX Runtime, with or without its graph optimisations."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    data = proto_from_model(model).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def pruned_weight(
    shape: tuple[int, ...], kept: np.ndarray, seed: int = 0, dtype: Any = np.float32
) -> np.ndarray:
    """Random weights in which only the kept columns are not zero; ``kept`` is ``[I/g, *k]``."""
    weight = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return np.where(kept[None], weight, dtype(0))


def relative_error(got: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference over largest magnitude."""
    return float(np.abs(got - wanted).max() / max(np.abs(wanted).max(), 1e-6))


class Lab:
    """What the tests of this folder share; a fixture, because they cannot import each other."""

    Spec = Spec
    conv_model = staticmethod(conv_model)
    node_model = staticmethod(node_model)
    pruned_weight = staticmethod(pruned_weight)
    relative_error = staticmethod(relative_error)
    run = staticmethod(run)


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()
