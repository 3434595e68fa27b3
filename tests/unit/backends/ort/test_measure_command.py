"""``acgraph measure`` and ``acgraph verify`` as commands: what is printed, and the exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import typer
from onnx import numpy_helper
from typer.testing import CliRunner, Result

from acgraph.api.session_data import read_numbers
from acgraph.backends.ort import latency, measurement
from acgraph.cli.measure import measure
from acgraph.cli.verify import verify
from acgraph.errors import AcgraphError, BackendError, DataError, UsageError

ConvNet = Callable[..., onnx.ModelProto]

APP = typer.Typer()
APP.command()(measure)
APP.command()(verify)


def _run(*words: object, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(APP, [str(word) for word in words], input=stdin)
    if isinstance(result.exception, AcgraphError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def _measured(*words: object, stdin: bytes | None = None) -> dict[str, Any]:
    result = _run("measure", *words, "--runs", 5, "--format", "json", stdin=stdin)
    assert result.exit_code == 0
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def wide_path(conv_net: ConvNet, tmp_path: Path) -> Path:
    path = tmp_path / "wide.onnx"
    onnx.save(conv_net(channels=48, batch=1, size=32), path)
    return path


@pytest.fixture
def data_path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    np.savez(path, x=rng.standard_normal((10, 3, 8, 8)).astype(np.float32), y=np.arange(10) % 5)
    return path


def test_one_model(net_path: Path) -> None:
    found = _measured(net_path)
    # Conv 6*27 at 64 places, Gemm 6*5
    assert found["macs"] == 6 * 27 * 64 + 30
    assert found["params"] == 6 * 27 + 6 * 5 + 30 + 5
    assert found["bytes"] == net_path.stat().st_size
    assert found["macs_unknown"] == []
    assert found["runs"] == 5
    assert found["inputs"] == {"x": [1, 3, 8, 8]}
    times = found["latency_ms"]
    assert 0 < times["min"] <= times["p50"] <= times["p90"]
    assert found["memory"]["peak_bytes"] > 0
    assert found["accuracy"] is None
    assert "onnxruntime" in found["versions"]
    assert not {"against", "rate", "operators"} & found.keys()


def test_options_reach_the_measurement(net_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[measurement.MeasureOptions] = []
    real = measurement.measure_files

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append(args[1])
        return real(*args, **kwargs)

    monkeypatch.setattr("acgraph.api.measure.measure_files", spy)
    found = _measured(net_path, "--threads", 2, "--nchwc", "--batch", 3, "--profile")
    assert (seen[0].session.threads, seen[0].session.nchwc, seen[0].runs) == (2, True, 5)
    assert (found["threads"], found["nchwc"]) == (2, True)
    assert found["inputs"] == {"x": [3, 3, 8, 8]}
    assert found["operators"][0]["share"] > 0


def test_a_shape_for_dynamic_sizes(conv_net: ConvNet, tmp_path: Path) -> None:
    path = tmp_path / "free.onnx"
    onnx.save(conv_net(size="S"), path)
    found = _measured(path, "--input-shape", "x:1,3,10,10")
    assert found["inputs"] == {"x": [1, 3, 10, 10]}
    assert found["macs"] == 6 * 27 * 100 + 30


def test_rates_are_of_against_over_model(net_path: Path, wide_path: Path) -> None:
    found = _measured(net_path, "--against", wide_path)
    assert found["against"]["model"] == str(wide_path)
    assert found["rate"]["params"] == pytest.approx(found["against"]["params"] / found["params"])
    assert found["rate"]["macs"] == pytest.approx((48 * 27 * 1024 + 240) / (6 * 27 * 64 + 30))
    assert found["rate"]["bytes"] > 1
    assert found["rate"]["latency_low"] <= found["rate"]["latency"]
    assert found["rate"]["latency"] <= found["rate"]["latency_high"]


@pytest.mark.parametrize(
    ("factor", "first"),
    [
        (2.0, "faster: 2x (2x to 2x)"),
        (1.0, "not faster: 1x (1x to 1x)"),
        (0.996, "not faster: 0.99x (0.99x to 0.99x)"),
        (0.5, "not faster: 0.5x"),
    ],
)
def test_the_first_line_says_whether_it_is_faster(
    net_path: Path, wide_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, first: str
) -> None:
    def fake(sessions: list[object], **_: object) -> list[latency.Latency]:
        return [latency.latency_from_samples([ms] * 5) for ms in (1.0, factor)]

    monkeypatch.setattr(measurement, "measure_latency", fake)
    lines = _run("measure", net_path, "--against", wide_path).stdout.splitlines()
    assert lines[0].startswith(first)
    shown = first.split(": ")[1].split()[0]
    assert next(line for line in lines if line.startswith("latency, median")).split()[-1] == shown
    assert str(wide_path) in lines[0]


def test_text_shows_params_macs_and_rates(net_path: Path, wide_path: Path) -> None:
    text = _run("measure", net_path, "--against", wide_path, "--runs", 3, "--profile").stdout
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "10,398" in rows["MACs"]
    assert rows["params"].rstrip().endswith("x")
    assert "FusedConv" in text


def test_unknown_macs_are_said(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
        "g (float[2,2] x) => (float[2,2] y) { y = com.microsoft.Inverse(x) }"
    )
    path = tmp_path / "custom.onnx"
    onnx.save(proto, path)
    found = _measured(path, "--against", path)
    assert len(found["macs_unknown"]) == 1
    assert found["rate"]["macs"] is None
    text = _run("measure", path, "--runs", 3).stdout
    assert "at least 0" in text
    assert "the MACs of 1 node are unknown" in text


def test_accuracy_on_data(net_path: Path, data_path: Path) -> None:
    from acgraph.backends.ort.session import Session

    arrays = np.load(data_path)
    logits = Session(net_path).run({"x": arrays["x"]})["logits"]
    expected = float((logits.argmax(1) == arrays["y"]).mean())
    assert _measured(net_path, "--data", data_path)["accuracy"] == pytest.approx(expected)
    part = float((logits.argmax(1) == arrays["y"])[[0, 5]].mean())
    assert _measured(net_path, "--data", data_path, "--limit", 2)["accuracy"] == part


def test_images_with_stated_preprocessing(net_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, x=np.zeros((4, 8, 8, 3), np.uint8), y=np.zeros(4, np.int64))
    words = ("--data", path, "--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2")
    assert _measured(net_path, *words)["accuracy"] in (0.0, 1.0)
    with pytest.raises(DataError):
        _measured(net_path, "--data", path)


def test_the_mobile_runtime_runs_the_ort_file(net_path: Path) -> None:
    found = _measured(net_path, "--runtime", "ort-mobile")
    assert found["runtime"] == "ort-mobile"
    assert found["run_bytes"] != found["bytes"] == net_path.stat().st_size
    assert found["usability"]["fixed_shapes"]["NNAPI"] == "YES"
    text = _run("measure", net_path, "--runtime", "ort-mobile", "--runs", 3).stdout
    assert "NNAPI NO (YES with fixed shapes)" in text


def test_an_ort_file_has_unknown_params(net_path: Path, tmp_path: Path) -> None:
    from acgraph.backends.ort.mobile import write_ort

    write_ort(net_path, tmp_path / "net.ort")
    found = _measured(tmp_path / "net.ort", "--against", net_path)
    assert found["params"] is None
    assert found["rate"]["params"] is None
    assert found["rate"]["bytes"] > 0


def test_standard_input(net_path: Path) -> None:
    found = _measured("-", stdin=net_path.read_bytes())
    assert found["model"] == "-"
    assert found["params"] == 227
    with pytest.raises(UsageError, match="only one model can be read from standard input"):
        _run("measure", "-", "--against", "-")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runtime", "tpu"], "no runtime 'tpu'"),
        (["--runtime", "web", "--profile"], "onnxruntime-web has no operator profiler"),
        (["--runtime", "ort-mobile", "--nchwc"], "ort-mobile has no NCHWc layout"),
        (["--shape", "x=1xbig"], "'x=1xbig' is not a shape"),
        (["--input-shape", "z:1,3,8,8"], "no input is named 'z'; the inputs are x"),
        (["--mean", "0.5"], "--mean is given without --data"),
        (["--limit", "5"], "--limit is given without --data"),
    ],
)
def test_usage_errors(net_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _run("measure", net_path, *words)


def test_parsing() -> None:
    assert read_numbers("mean", "0.5, 1") == [0.5, 1.0]
    assert read_numbers("mean", None) is None
    with pytest.raises(UsageError, match="for example --std"):
        read_numbers("std", "a")


@pytest.fixture
def wrong_path(net_path: Path, tmp_path: Path) -> Path:
    proto = onnx.load(net_path)
    for tensor in proto.graph.initializer:
        if tensor.name == "d":
            values = numpy_helper.to_array(tensor) + np.float32(0.01)
            tensor.CopyFrom(numpy_helper.from_array(values, "d"))
    path = tmp_path / "wrong.onnx"
    onnx.save(proto, path)
    return path


def test_verify_passes_and_fails(net_path: Path, wrong_path: Path) -> None:
    good = _run("verify", net_path, "--against", net_path)
    assert good.exit_code == 0
    assert good.stdout.startswith("the models are equivalent: ")
    bad = _run("verify", wrong_path, "--against", net_path, "--format", "json")
    assert bad.exit_code == 1
    found = json.loads(bad.stdout)
    assert found["passed"] is False
    assert found["max_abs_error"] == pytest.approx(0.01, rel=1e-3)
    assert found["inputs"] == 4
    assert found["outputs"][0]["reason"]
    text = _run("verify", wrong_path, "--against", net_path)
    assert text.exit_code == 1
    assert text.stdout.startswith("the models are NOT equivalent: ")
    loose = _run("verify", wrong_path, "--against", net_path, "--tolerance", 0.5)
    assert loose.exit_code == 0


def test_verify_on_given_data(net_path: Path, data_path: Path) -> None:
    words = ("verify", net_path, "--against", net_path, "--format", "json", "--data", data_path)
    assert json.loads(_run(*words).stdout)["inputs"] == 1 + 4
    assert json.loads(_run(*words, "--seeds", 0).stdout)["inputs"] == 1
    with pytest.raises(UsageError, match="no inputs to compare on"):
        _run("verify", net_path, "--against", net_path, "--seeds", 0)
    with pytest.raises(UsageError, match="--std is given without --data"):
        _run("verify", net_path, "--against", net_path, "--std", "1")


def test_verify_with_a_fixed_batch_and_a_limit(
    conv_net: ConvNet, tmp_path: Path, data_path: Path
) -> None:
    path = tmp_path / "four.onnx"
    onnx.save(conv_net(batch=4), path)
    words = ("verify", path, "--against", path, "--format", "json", "--data", data_path)
    assert json.loads(_run(*words).stdout)["inputs"] == 3 + 3
    assert json.loads(_run(*words, "--limit", 3).stdout)["inputs"] == 1 + 3


def test_verify_says_when_it_shows_nothing(net_path: Path, tmp_path: Path) -> None:
    proto = onnx.load(net_path)
    for tensor in proto.graph.initializer:
        if tensor.name in ("v", "d"):
            tensor.CopyFrom(
                numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name)
            )
    path = tmp_path / "dead.onnx"
    onnx.save(proto, path)
    result = _run("verify", path, "--against", path)
    assert result.exit_code == 3
    assert result.stdout.splitlines()[0].startswith("the check is inconclusive: the models agree")
    assert _run("verify", path, "--against", net_path).exit_code == 1
    assert json.loads(_run("verify", path, "--against", path, "--format", "json").stdout)["vacuous"]


def test_json_holds_no_infinity(net_path: Path, conv_net: ConvNet, tmp_path: Path) -> None:
    path = tmp_path / "nan.onnx"
    proto = conv_net(scale=float("nan"))
    onnx.save(proto, path)
    result = _run("verify", path, "--against", net_path, "--format", "json")
    assert result.exit_code == 1
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert found["max_rel_error"] is None
    assert "NaN" in found["outputs"][0]["reason"]


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (("--batch", 10**13), BackendError, "not enough memory for values of shape"),
        (
            ("--shape", "x=1x3x8x8", "--shape", "x=2x3x8x8"),
            UsageError,
            "two shapes are given for 'x'",
        ),
    ],
)
def test_shapes_that_cannot_be_are_one_line(
    net_path: Path, words: tuple[object, ...], kind: type[AcgraphError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        _run("measure", net_path, *words)
    assert len(str(caught.value).splitlines()) == 1


def test_names_cannot_command_the_terminal(net_path: Path, tmp_path: Path) -> None:
    model = onnx.load(net_path)
    model.graph.node[-1].name = "fc\x1b[2J"
    onnx.save(model, tmp_path / "named.onnx")
    text = _run("measure", tmp_path / "named.onnx", "--runs", 2, "--profile").stdout
    assert "fc\\x1b[2J" in text
    assert "\x1b" not in text


def test_a_network_is_measured_at_a_number_that_it_knows(tmp_path: Path) -> None:
    """At any other rate it asks for rows of three numbers, which the input does not have."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> '
        "g (int64 rate, float[B,8] x) => (float[N,M] y) <int64 known = {16000}> "
        "{ c = Equal(rate, known) y = If (c) "
        "<then_branch = a () => (float[N,M] s) { s = Relu(x) }, "
        "else_branch = b () => (float[N,M] t) <int64[2] rows = {-1,3}> { t = Reshape(x, rows) }> }"
    )
    path = tmp_path / "rates.onnx"
    onnx.save(proto, path)
    found = _measured(path)
    assert found["latency_ms"]["p50"] > 0
