"""Small models, run in ONNX Runtime and in the PyTorch backend."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.ir import Model, model_from_proto, proto_from_model

torch.set_num_threads(1)


def run_ort(model: Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    data = proto_from_model(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def run_torch(module: GraphModule, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    with torch.no_grad():
        outputs = module(*(torch.from_numpy(feeds[name]) for name in module.input_names))
    return [output.numpy() for output in outputs]


def make_model(
    nodes: Sequence[onnx.NodeProto],
    feeds: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
    outputs: Sequence[str],
    opset: int = 20,
    shapes: dict[str, Sequence[object]] | None = None,
) -> Model:
    inputs = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(value.dtype),
            (shapes or {}).get(name, value.shape),
        )
        for name, value in feeds.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "g",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    proto = onnx.shape_inference.infer_shapes(proto)
    for output in proto.graph.output:  # what inference leaves open: float of any shape
        if output.type.tensor_type.elem_type == TensorProto.UNDEFINED:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    return model_from_proto(proto)


def compare_node(
    op: str,
    feeds: dict[str, np.ndarray],
    constants: dict[str, np.ndarray] | None = None,
    order: Sequence[str] | None = None,
    outputs: int = 1,
    opset: int = 20,
    tolerance: float = 1e-5,
    **attributes: object,
) -> list[np.ndarray]:
    """Check one node against ONNX Runtime; return what PyTorch gave."""
    constants = constants or {}
    names = list(order) if order is not None else [*feeds, *constants]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name="node", **attributes)
    model = make_model([node], feeds, constants, results, opset)
    wanted = run_ort(model, feeds)
    found = run_torch(GraphModule(model).eval(), feeds)
    for a, b in zip(wanted, found, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    return found


@pytest.fixture(scope="session")
def compare() -> Callable[..., list[np.ndarray]]:
    return compare_node


@pytest.fixture(scope="session")
def build() -> Callable[..., Model]:
    return make_model


@pytest.fixture(scope="session")
def ort() -> Callable[..., list[np.ndarray]]:
    return run_ort


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def normal(rng: np.random.Generator) -> Callable[..., np.ndarray]:
    return lambda *shape: rng.standard_normal(shape).astype(np.float32)
