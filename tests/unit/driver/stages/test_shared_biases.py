"""Biases that an exporter stored once and handed on by Identity, trained apart."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

import acgraph
from acgraph.ir import model_from_proto


def network() -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,8,8] x) => (float[N,5] y) '
        "{ c = Identity(b) d = Identity(b) h = Conv(x, u, b) r = Relu(h) k = Conv(r, v, c) "
        "s = Relu(k) t = Conv(s, w, d) q = GlobalAveragePool(t) f = Flatten(q) y = MatMul(f, m) }"
    )
    rng = np.random.default_rng(0)
    shapes = {"u": (8, 3, 3, 3), "v": (8, 8, 3, 3), "w": (8, 8, 3, 3), "b": (8,), "m": (8, 5)}
    for name, shape in shapes.items():
        value = 0.3 * rng.standard_normal(shape).astype(np.float32)
        parsed.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return parsed


def test_the_masked_model_holds_the_trained_bias_of_each_layer(tmp_path: Path) -> None:
    """It kept the bias of the file where an Identity handed it on, and the check failed."""
    rng = np.random.default_rng(1)
    data = rng.standard_normal((256, 3, 8, 8)).astype(np.float32), rng.integers(0, 5, 256)
    result = acgraph.compress(
        network(), data=data, target_rate=1.5, epochs=2, learning_rate=0.01, batch_size=32,
        output=tmp_path, no_timing=True, seed=0,
    )  # fmt: skip
    assert result.report.verify.passed
    masked = model_from_proto(onnx.load(tmp_path / "masked.onnx"))
    constants = masked.constants()
    biases = [constants[node.inputs[2].name] for node in masked.graph.nodes if node.op == "Conv"]
    assert len(biases) == 3
    assert not any(np.array_equal(a, b) for a, b in pairwise(biases))
    assert acgraph.apply(network(), tmp_path / "plan.json").model.constants()["u"].shape[0] < 8
