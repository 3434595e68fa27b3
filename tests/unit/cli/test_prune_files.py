"""What ``acgraph prune`` writes beside its output, through the same door as a user."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from acgraph.cli.main import run
from acgraph.ir import write_model
from acgraph.models.resnet import resnet_cifar

LIST = ".required_operators_and_types.config"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    write_model(resnet_cifar(8, widths=(8, 8, 16), image=8), path)
    return str(path)


def _output(path: Path) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    info = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 3 for size in info.shape]
    x = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
    return np.asarray(session.run(None, {info.name: x})[0])


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "stem"), [("small.onnx", "small"), ("net.v2.onnx", "net.v2"), ("net.v2", "net.v2")]
)
@pytest.mark.parametrize("options", [(), ("--columns", "0.6")])
def test_the_file_for_phones_computes_the_same(
    model: str, tmp_path: Path, name: str, stem: str, options: tuple[str, ...]
) -> None:
    assert run(["prune", model, *options, "-o", str(tmp_path / name)]) == 0
    assert _names(tmp_path) == {name, f"{stem}.ort", stem + LIST}
    found, wanted = _output(tmp_path / f"{stem}.ort"), _output(tmp_path / name)
    assert np.abs(wanted).max() > 1e-2
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    operators = (tmp_path / (stem + LIST)).read_text()
    assert operators.startswith(f"# Generated from {stem}.ort\n")
    assert "ai.onnx;" in operators


def test_it_is_left_out_on_request(model: str, tmp_path: Path) -> None:
    assert run(["prune", model, "-o", str(tmp_path / "small.onnx"), "--no-ort"]) == 0
    assert _names(tmp_path) == {"small.onnx"}


def test_nothing_comes_beside_standard_output(
    model: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(["prune", model, "-o", "-"]) == 0
    assert onnx.load_from_string(capfdbinary.readouterr().out).graph.node
    assert _names(tmp_path) == set()


@pytest.mark.parametrize(
    "words",
    [
        ("-o", "small.ort"),
        ("-o", "small.onnx", "--masked-out", "small.ort"),
        ("-o", "small.onnx", "--masked-out", "small.onnx"),
        ("-o", "small", "--masked-out", "small" + LIST),
        ("-o", "small", "--masked-out", "small.int8.onnx", "--quantize", "int8"),
    ],
)
def test_no_file_is_written_over_another(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(["prune", model, *words]) == 2
    assert "small" in capsys.readouterr().err
    assert _names(tmp_path) == set()


def test_what_cannot_be_converted_leaves_nothing(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from acgraph.errors import BackendError

    def refuse(*_: object) -> None:
        raise BackendError("ONNX Runtime cannot convert the model to .ort: no")

    monkeypatch.setattr("acgraph.driver.prune.files.write_ort", refuse)
    small = str(tmp_path / "small.onnx")
    assert run(["prune", model, "-o", small]) == 1
    assert "--no-ort" in capsys.readouterr().err
    assert _names(tmp_path) == set()
    assert run(["prune", model, "-o", small, "--no-ort"]) == 0


def test_a_quantised_model_comes_beside_it_on_request(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, int8 = tmp_path / "small.onnx", tmp_path / "small.int8.onnx"
    words = ["prune", model, "-o", str(small), "--no-ort", "--quantize", "int8"]
    assert run([*words, "--format", "json"]) == 0
    assert _names(tmp_path) == {"small.onnx", "small.int8.onnx"}
    operators = {node.op_type for node in onnx.load(int8).graph.node}
    assert operators >= {"DynamicQuantizeLinear", "ConvInteger"}
    found, wanted = _output(int8), _output(small)
    assert 0 < np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
    said = json.loads(capsys.readouterr().out)["int8"]
    assert said["bytes"] == int8.stat().st_size
    assert said["bytes_rate"] == pytest.approx(small.stat().st_size / said["bytes"])
    assert said["latency_ms"]["p50"] > 0
    assert run(words) == 0
    assert "than the compact model" in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("-o", "-")])
def test_a_quantised_model_needs_a_place(
    model: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run(["prune", model, *words, "--quantize", "int8"]) == 2
    assert "use for example -o small.onnx" in capsys.readouterr().err


def test_without_the_option_nothing_is_quantised(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prune", model, "-o", str(tmp_path / "small.onnx"), "--format", "json"]
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["int8"] is None
    assert "small.int8.onnx" not in _names(tmp_path)


@pytest.mark.parametrize("option", ["-o", "--masked-out"])
def test_the_input_is_not_written_over(
    model: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "m.onnx"
    copy.write_bytes(Path(model).read_bytes())
    assert run(["prune", str(copy), option, f"{tmp_path}/../{tmp_path.name}/m.onnx"]) == 2
    assert "the output would overwrite the input" in capsys.readouterr().err
    assert copy.read_bytes() == Path(model).read_bytes()
    assert _names(tmp_path) == {"m.onnx"}


def test_all_files_are_written_or_none(model, tmp_path, capsys):
    masked = tmp_path / "folder"
    masked.mkdir()
    (tmp_path / "o.onnx").write_text("old")
    words = ["prune", str(model), "-o", str(tmp_path / "o.onnx"), "--masked-out", str(masked)]
    assert run(words) == 1
    assert capsys.readouterr().err.count("is a folder") == 1
    assert _names(tmp_path) == {"folder", "o.onnx"}
    assert (tmp_path / "o.onnx").read_text() == "old"


def test_weights_that_are_nan_are_named(model, tmp_path, capsys):
    proto = onnx.load(model)
    values = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    values.ravel()[0] = float("nan")
    name = proto.graph.initializer[0].name
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, name))
    onnx.save(proto, tmp_path / "nan.onnx")
    assert run(["prune", str(tmp_path / "nan.onnx"), "-o", str(tmp_path / "o.onnx")]) == 1
    err = capsys.readouterr().err
    assert f"'{name}' contains NaN" in err
    assert "report" not in err
