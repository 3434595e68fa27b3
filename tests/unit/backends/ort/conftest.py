"""Small models for the ONNX Runtime tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

ConvNet = Callable[..., onnx.ModelProto]


@pytest.fixture(scope="session")
def conv_net() -> ConvNet:
    """Build a small classifier: Conv, BatchNormalization, Relu, pool, Gemm."""

    def build(
        *, batch: int | str = "N", size: int | str = 8, channels: int = 6, scale: float = 1.0
    ) -> onnx.ModelProto:
        rng = np.random.default_rng(3)

        def constant(name: str, *shape: int, low: float = -1.0) -> onnx.TensorProto:
            values = rng.uniform(low, 1.0, shape).astype(np.float32)
            return numpy_helper.from_array(values * np.float32(scale), name)

        graph = helper.make_graph(
            [
                helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
                helper.make_node(
                    "BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["n"], name="bn"
                ),
                helper.make_node("Relu", ["n"], ["r"], name="relu"),
                helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
                helper.make_node("Flatten", ["p"], ["f"], name="flat"),
                helper.make_node("Gemm", ["f", "v", "d"], ["logits"], name="fc"),
            ],
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, size, size])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 5])],
            [
                constant("w", channels, 3, 3, 3),
                constant("b", channels),
                constant("gamma", channels, low=0.5),
                constant("beta", channels),
                constant("mean", channels),
                constant("var", channels, low=0.5),
                constant("v", channels, 5),
                constant("d", 5),
            ],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="test"
        )

    return build


@pytest.fixture(scope="session")
def parse() -> Callable[[str], bytes]:
    """Build the bytes of a model from ONNX text without its header."""

    def build(text: str) -> bytes:
        header = '<ir_version: 8, opset_import: ["" : 17]>\n'
        return onnx.parser.parse_model(header + text).SerializeToString()

    return build


@pytest.fixture
def net_path(conv_net: ConvNet, tmp_path: Path) -> Path:
    """The classifier in a file."""
    path = tmp_path / "net.onnx"
    onnx.save(conv_net(), path)
    return path
