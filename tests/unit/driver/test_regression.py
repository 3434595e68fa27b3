"""Networks whose output is no class scores: compressed against the original, without labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.inputs.data import open_data
from acgraph.errors import DataError
from acgraph.ir import read_model
from acgraph.report import verdict

Configure = Callable[..., CompressConfig]
RNG = np.random.default_rng(3)


def _regressor(path: Path, output: str) -> Path:
    """Write Conv, Relu, pool, Gemm: one number an image, ``[N, 1]`` or ``[N]``."""
    tail = "y = Identity(g)" if output.endswith("1]") else "y = Squeeze(g, one)"
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    net (float[N,1,8,8] x) => (float{output} y) <int64[1] one = {{1}}> {{
        c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        r = Relu(c)
        p = GlobalAveragePool(r)
        f = Flatten(p)
        g = Gemm(f, v, d)
        {tail}
    }}"""
    model = onnx.parser.parse_model(text)
    for name, shape in (("w", (12, 1, 3, 3)), ("b", (12,)), ("v", (12, 1)), ("d", (1,))):
        values = RNG.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def _data(path: Path, labels: np.ndarray | None = None) -> str:
    arrays = {"x": RNG.standard_normal((96, 1, 8, 8)).astype(np.float32)}
    np.savez(path, **arrays if labels is None else {**arrays, "y": labels})
    return str(path)


@pytest.mark.parametrize("output", ["[N,1]", "[N]"])
def test_agreement_reported_is_the_figure_of_the_file(
    configure: Configure, tmp_path: Path, output: str
) -> None:
    model = _regressor(tmp_path / "net.onnx", output)
    train, spec = _data(tmp_path / "train.npz"), _data(tmp_path / "test.npz")
    config = configure(
        model=str(model), data=train, eval_data=spec, target_rate="2x", max_drop=0.01, epochs=0.5
    )
    lines: list[str] = []
    report = compress(config, status=lines.append)
    assert report.measure == "agreement"
    assert any(line.startswith("baseline: the data has no labels") for line in lines)
    assert any(line.startswith("round 1") and " agreement " in line for line in lines)
    assert not any("accuracy" in line for line in lines)
    x = np.load(spec)["x"][1::2]
    before, after = (
        ort.InferenceSession(str(path)).run(None, {"x": x})[0]
        for path in (model, config.output / "model.onnx")
    )
    error = np.square(after - before).mean() / before.var()
    # One number without an activation is regression; nothing speaks for a task of a plain [N].
    lost = np.sqrt(error) if output == "[N,1]" else error
    (figure,) = report.after.outputs
    assert figure.task == ("regression" if output == "[N,1]" else "imitate")
    assert figure.text in verdict(report)
    assert any(f"output 'y' {output.replace(',', ', ')}" in line for line in lines)
    explained = 1 - lost
    assert report.before.accuracy == 1.0
    assert report.after.accuracy == pytest.approx(max(0.0, explained), abs=1e-4)
    assert explained < 0.9999
    assert not report.target.drop_met
    assert report.exit_code == 3


@pytest.mark.parametrize("output", ["[N,1]", "[N]"])
def test_labels_for_a_network_without_classes_are_refused(
    configure: Configure, tmp_path: Path, output: str
) -> None:
    model = _regressor(tmp_path / "net.onnx", output)
    spec = _data(tmp_path / "x.npz", np.arange(96) % 10)
    config = configure(model=str(model), data=spec, eval_data=None)
    with pytest.raises(DataError, match=r"labels need an output \[N, classes\]") as caught:
        open_data(config, read_model(model))
    assert "without labels" in str(caught.value)
    open_data(configure(model=str(model), data=f"{spec}#x", eval_data=None), read_model(model))


def test_maps_of_classes_are_learnt_and_judged_by_their_overlap(
    configure: Configure, tmp_path: Path
) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[N,1,8,8] x) => (float[N,3,8,8] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        r = Relu(c)
        y = Conv(r, v, d)
    }"""
    model = onnx.parser.parse_model(text)
    for name, shape in (("w", (12, 1, 3, 3)), ("b", (12,)), ("v", (3, 12, 1, 1)), ("d", (3,))):
        values = RNG.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    x = RNG.standard_normal((96, 1, 8, 8)).astype(np.float32)
    y = ort.InferenceSession(str(path)).run(None, {"x": x})[0].argmax(1)
    np.savez(tmp_path / "maps.npz", x=x, y=y)
    lines: list[str] = []
    config = configure(
        model=str(path), data=str(tmp_path / "maps.npz"), eval_data=None, target_rate="1.5x",
        epochs=1.0, rounds=1,
    )  # fmt: skip
    report = compress(config, status=lines.append)
    assert any("treated as segmentation (the labels are maps of class" in line for line in lines)
    assert any(line.startswith("baseline: score 100.00 %") for line in lines)
    assert report.measure == "score"
    assert report.before.outputs[0].text == "mean IoU 100.0 %"
    (figure,) = report.after.outputs
    assert figure.text.startswith("mean IoU ")
    assert report.after.accuracy == pytest.approx(figure.value)
    assert 0.3 < figure.value < 1
    assert "mean IoU" in verdict(report)
    with pytest.raises(DataError, match=r"do not fit output 'y' .* treated as ctc"):
        compress(config.model_copy(update={"task": {"": "ctc"}}))
