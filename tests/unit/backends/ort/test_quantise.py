"""Quantised files: smaller, loaded by ONNX Runtime, near the float model, or not there at all."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from acgraph.backends.ort.quantise import quantise_dynamic, quantise_static
from acgraph.errors import BackendError, OutputError
from acgraph.models.demo import load_data, model_path, normalise

ConvNet = Callable[..., onnx.ModelProto]


def _images(count: int) -> np.ndarray:
    return np.asarray(normalise(load_data()[0][:count]), np.float32)


def _feeds(count: int = 64) -> Iterator[dict[str, np.ndarray]]:
    name = onnx.load(model_path()).graph.input[0].name
    images = _images(count)
    return ({name: images[start : start + 32]} for start in range(0, count, 32))


def _run(path: Path, x: np.ndarray) -> np.ndarray:
    """Compute what a file says: not fused, for processors without VNNI saturate fused products."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def _operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_it_is_a_quarter_of_the_bytes_and_agrees(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    target, handlers = tmp_path / "int8.onnx", list(logging.getLogger().handlers)
    if kind == "static":
        quantise_static(model_path(), target, _feeds())
        assert _operators(target) >= {"QuantizeLinear", "DequantizeLinear", "Conv"}
    else:
        quantise_dynamic(model_path(), target)
        assert _operators(target) >= {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert target.stat().st_size < 0.3 * Path(model_path()).stat().st_size
    x = _images(200)
    found, wanted = _run(target, x), _run(Path(model_path()), x)
    assert 0 < np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.95
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]


def test_ranges_are_those_of_the_examples(tmp_path: Path) -> None:
    quantise_static(model_path(), tmp_path / "good.onnx", _feeds())
    tiny = ({name: x / 1000 for name, x in feed.items()} for feed in _feeds())
    quantise_static(model_path(), tmp_path / "bad.onnx", tiny)
    x = _images(100)
    wanted = _run(Path(model_path()), x)
    errors = [np.abs(_run(tmp_path / f"{name}.onnx", x) - wanted).max() for name in ("good", "bad")]
    assert errors[1] > 5 * errors[0]


def test_what_cannot_be_quantised_leaves_nothing(tmp_path: Path, conv_net: ConvNet) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    net = tmp_path / "net.onnx"
    onnx.save(conv_net(), net)
    with pytest.raises(BackendError, match="cannot quantise the model: ") as caught:
        quantise_dynamic(bad, tmp_path / "out.onnx")
    assert "\n" not in str(caught.value)
    with pytest.raises(BackendError, match="cannot quantise the model: "):
        quantise_static(net, tmp_path / "out.onnx", iter(()))
    with pytest.raises(OutputError):
        quantise_dynamic(net, tmp_path / "no" / "folder.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"bad.onnx", "net.onnx"}
