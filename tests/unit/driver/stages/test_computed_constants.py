"""Constants that the file computes: shared biases behind an Identity, standardised weights."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

import acgraph
from acgraph.ir import model_from_proto


def shared_biases() -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,8,8] x) => (float[N,5] y) '
        "{ c = Identity(b) d = Identity(b) h = Conv(x, u, b) r = Relu(h) k = Conv(r, v, c) "
        "s = Relu(k) t = Conv(s, w, d) q = GlobalAveragePool(t) f = Flatten(q) y = MatMul(f, m) }"
    )
    return _filled(parsed, {"u": (8, 3, 3, 3), "v": (8, 8, 3, 3), "w": (8, 8, 3, 3), "b": (8,)})


def standardised_weights() -> onnx.ModelProto:
    """Two convolutions; the mean of a filter of the second is that over all its inputs."""
    return _filled(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3,8,8] x) => (float[N,5] y) '
            "{ h = Conv(x, u, b) r = Relu(h) a = ReduceMean<axes = [1, 2, 3]>(v) c = Sub(v, a) "
            "k = Conv(r, c, d) s = Relu(k) q = GlobalAveragePool(s) f = Flatten(q) "
            "y = MatMul(f, m) }"
        ),
        {"u": (8, 3, 3, 3), "v": (8, 8, 3, 3), "b": (8,), "d": (8,)},
    )


def _filled(proto: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    for name, shape in (shapes | {"m": (8, 5)}).items():
        value = 0.3 * rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return proto


def compress(proto: onnx.ModelProto, folder: Path) -> None:
    rng = np.random.default_rng(1)
    data = rng.standard_normal((256, 3, 8, 8)).astype(np.float32), rng.integers(0, 5, 256)
    result = acgraph.compress(
        proto, data=data, target_rate=1.5, epochs=2, learning_rate=0.01, batch_size=32,
        output=folder, no_timing=True, seed=0,
    )  # fmt: skip
    assert result.report.verify.passed
    assert result.report.rate.params >= 1.5


def test_the_masked_model_holds_the_trained_bias_of_each_layer(tmp_path: Path) -> None:
    """It kept the bias of the file where an Identity handed it on, and the check failed."""
    compress(shared_biases(), tmp_path)
    masked = model_from_proto(onnx.load(tmp_path / "masked.onnx"))
    constants = masked.constants()
    biases = [constants[node.inputs[2].name] for node in masked.graph.nodes if node.op == "Conv"]
    assert len(biases) == 3
    assert not any(np.array_equal(a, b) for a, b in pairwise(biases))
    assert (
        acgraph.apply(shared_biases(), tmp_path / "plan.json").model.constants()["u"].shape[0] < 8
    )


def test_standardised_weights_are_cut_and_trained_as_they_are(tmp_path: Path) -> None:
    """The masked model computed them anew from zeros, and the rehearsal failed."""
    compress(standardised_weights(), tmp_path)
    cut = acgraph.apply(standardised_weights(), tmp_path / "plan.json")
    compact = model_from_proto(onnx.load(tmp_path / "model.onnx"))
    assert cut.model.constants()["u"].shape == compact.constants()["u"].shape
