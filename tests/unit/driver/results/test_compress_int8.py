"""``compress --quantize int8``: one more file, measured beside the others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from acgraph.backends.ort.quantise import quantise_static
from acgraph.cli.main import run
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.errors import BackendError, UsageError
from acgraph.models.demo import model_path
from acgraph.report import Report

Configure = Callable[..., CompressConfig]
#: Fast, and no layer is timed alone; latency of the whole files is.
_FAST: dict[str, Any] = {"target_rate": "1.5x", "epochs": 0, "columns": {"enabled": False}}


def _run(path: Path, x: np.ndarray, *, fused: bool = True) -> np.ndarray:
    """Run a file; not fused, it computes the same on processors that saturate fused products."""
    options = ort.SessionOptions()
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def _accuracy(path: Path, images: Path) -> float:
    """Accuracy on the report split, every other evaluation image."""
    data = np.load(images)
    x, y = data["x_test"][1::2].astype(np.float32), data["y_test"][1::2]
    return float((_run(path, x).argmax(1) == y).mean())


def test_the_quantised_file_is_written_measured_and_reported(
    configure: Configure, images: Path
) -> None:
    config = configure("purify=false", quantize="int8", timing=True, **_FAST)
    report = compress(config)
    small, quantised = config.output / "model.onnx", config.output / "model.int8.onnx"
    operators = {node.op_type for node in onnx.load(quantised).graph.node}
    assert operators >= {"QuantizeLinear", "DequantizeLinear"}
    x = np.load(images)["x_test"].astype(np.float32)
    found, wanted = _run(quantised, x, fused=False), _run(small, x)
    assert 0 < np.abs(found - wanted).max() < 0.15 * np.abs(wanted).max()
    int8 = report.int8
    assert int8 is not None
    assert int8.bytes == quantised.stat().st_size
    assert int8.bytes_rate == pytest.approx(small.stat().st_size / int8.bytes)
    assert int8.accuracy == pytest.approx(_accuracy(quantised, images))
    assert int8.latency_ms is not None
    assert report.after.latency_ms is not None
    # By neighbouring runs, so only near the ratio of medians.
    medians = report.after.latency_ms.p50 / int8.latency_ms.p50
    assert int8.latency_rate == pytest.approx(medians, rel=0.5)
    assert int8.examples == 256
    text = (config.output / "report.json").read_text(encoding="utf-8")
    assert Report.model_validate_json(text) == report
    assert [shape[1:] for shape in report.model.inputs.values()] == [x.shape[1:]]
    assert "int8: " not in text
    assert "model.int8.onnx" in (config.output / "report.html").read_text(encoding="utf-8")
    # A run that goes on may be asked for what is made of its result, and for less.
    again = config.model_copy(update={"resume": config.output, "quantize": None, "timing": True})
    assert compress(again).int8 is None
    assert not quantised.exists()


def test_a_fixed_batch_is_calibrated_in_batches_of_its_size(
    configure: Configure, tmp_path: Path
) -> None:
    proto = onnx.load(str(model_path()))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 48  # 256 is no multiple of it
    del proto.graph.value_info[:]
    onnx.save(proto, tmp_path / "fixed.onnx")
    model = str(tmp_path / "fixed.onnx")
    config = configure("purify=false", model=model, quantize="int8", **_FAST)
    report = compress(config)
    assert report.int8 is not None
    assert report.int8.latency_rate is None
    assert report.after.accuracy is not None
    assert report.int8.accuracy == pytest.approx(report.after.accuracy, abs=0.1)


def _refuse_from(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Let quantisation fail from a call on, the rehearsal's being the first."""
    calls = 0

    def refuse(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise BackendError("ONNX Runtime cannot quantise the model: no")
        quantise_static(*arguments)

    monkeypatch.setattr("acgraph.driver.results.quantise.quantise_static", refuse)


def test_what_cannot_be_quantised_is_refused_before_training(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_from(monkeypatch, 1)
    monkeypatch.setattr("acgraph.driver.stages.rounds.cut", None)
    said = "model.int8.onnx was not written: ONNX Runtime cannot quantise the model: no; "
    message = f"{model_path()}: {said}omit --quantize; nothing has been trained yet"
    with pytest.raises(BackendError, match=message):
        compress(configure("purify=false", quantize="int8", **_FAST))


def test_what_cannot_be_quantised_after_training_is_a_warning(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse_from(monkeypatch, 2)
    config = configure("purify=false", quantize="int8", **_FAST)
    report = compress(config)
    assert report.int8 is None
    assert (
        "model.int8.onnx was not written: ONNX Runtime cannot quantise the model: no"
        in report.warnings
    )
    assert (config.output / "model.onnx").exists()


def test_only_int8_is_known(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="quantize"):
        configure(quantize="int4")
    words = ["compress", "a.onnx", "--target-rate", "2x", "--quantize", "int4"]
    assert run(words) == 2
    assert "quantize" in capsys.readouterr().err
