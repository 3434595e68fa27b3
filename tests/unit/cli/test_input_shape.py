"""``--input-shape`` and what stands for it, in every command that reads a model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

Call = Callable[..., tuple[str, str]]


@pytest.fixture
def wave(make_net: type, tmp_path: Path) -> str:
    """A window of 512 samples over a waveform of any length, as in networks of speech."""
    net = make_net()
    x = net.op("Unsqueeze", net.input("batch", "samples"), net.ints(1))
    x = net.op("Conv", x, net.w(8, 1, 512), strides=[128], name="window")
    x = net.op("Relu", net.op("Conv", x, net.w(8, 8, 1), name="first"))
    x = net.op("Conv", x, net.w(4, 8, 1), name="second")
    y = net.op("ReduceMean", x, axes=[2], keepdims=0)
    return _saved(net, y, ["batch", 4], tmp_path / "wave.onnx")


@pytest.fixture
def line(make_net: type, tmp_path: Path) -> str:
    """Lines of text of height 48 and of any width, both left open by the file."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input("n", 3, "h", "w"), 3, 8))
    x = net.op("Relu", net.op("Conv", x, net.w(8, 8, 48, 3), pads=[0, 1, 0, 1]))
    y = net.op("Squeeze", net.conv(x, 8, 4, 1), net.ints(2))
    return _saved(net, y, ["n", 4, "w"], tmp_path / "line.onnx")


def _saved(net: Any, output: str, shape: list[int | str], path: Path) -> str:
    results = [helper.make_tensor_value_info(output, 1, shape)]
    graph = helper.make_graph(net.nodes, "g", net.inputs, results, net.weights)
    opset = [helper.make_opsetid("", net.opset)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return str(path)


COMMANDS: dict[str, list[str]] = {
    "inspect": [],
    "prune": ["--sparsity", "0"],
    "compress": ["--target-rate", "2x", "--data", "noise:8"],
    "measure": ["--runs", "1"],
    "verify": ["--against", "MODEL"],
    "diff": ["MODEL"],
    "opt": ["-p", "infer-shapes"],
}


def _words(command: str, model: str) -> list[str]:
    return [command, model, *(model if w == "MODEL" else w for w in COMMANDS[command])]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shape_that_does_not_fit_is_refused_everywhere(
    acgraph: Call, wave: str, tmp_path: Path, command: str
) -> None:
    place = ["-o", tmp_path / "out"] if command == "compress" else []
    _, err = acgraph(*_words(command, wave), *place, "--input-shape", "x:1,2,3", code=2)
    assert "the shape x:1,2,3 does not fit; the inputs are x [batch, samples]" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "compress"])
def test_what_is_assumed_is_said_once_and_what_is_stated_is_not(
    acgraph: Call, wave: str, command: str
) -> None:
    said = "warning: input 'x' has unknown sizes; assuming 1x512, see --input-shape"
    _, err = acgraph(*_words(command, wave))
    assert set(err.splitlines()) == {said}
    _, err = acgraph(*_words(command, wave), "--input-shape", "x:1,2048")
    assert err == ""


def test_costs_are_those_of_the_stated_shape(acgraph: Call, wave: str) -> None:
    found = json.loads(acgraph("inspect", wave, "--input-shape", "1,1024", "--format", "json")[0])
    assert found["model"]["inputs"] == {"x": [1, 1024]}
    assert found["cost"]["macs"] == 5 * (8 * 512 + 8 * 8 + 8 * 4)
    pruned = json.loads(acgraph("prune", wave, "--input-shape", "x:1,1024", "--format", "json")[0])
    assert pruned["inputs"] == {"x": [1, 1024]}
    assert pruned["before"]["macs"] == found["cost"]["macs"]
    measured = json.loads(
        acgraph("measure", wave, "--input-shape", "x:1,1024", "--runs", 1, "--format", "json")[0]
    )
    assert measured["inputs"] == {"x": [1, 1024]}
    assert measured["macs"] == found["cost"]["macs"]


def test_macs_at_a_shape_that_is_too_short_are_unknown(acgraph: Call, wave: str) -> None:
    out, _ = acgraph("inspect", wave, "--input-shape", "x:1,16")
    assert "at least 0 MACs" in out


def test_a_batch_that_contradicts_the_shape(acgraph: Call, wave: str) -> None:
    _, err = acgraph("measure", wave, "--batch", 4, "--input-shape", "x:1,1024", code=2)
    assert "--batch 4 contradicts --input-shape" in err


def test_a_pruned_file_takes_the_sizes_that_the_original_took(
    acgraph: Call, line: str, tmp_path: Path
) -> None:
    small, zeroed = tmp_path / "small.onnx", tmp_path / "zeroed.onnx"
    out, err = acgraph("prune", line, "-o", small, "--masked-out", zeroed, "--no-ort")
    assert "assuming 1x3x48x320" in err
    assert "equivalence check passed" in out
    sessions = [
        ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (small, zeroed)
    ]
    for shape in ((1, 3, 48, 320), (3, 3, 48, 100), (2, 3, 48, 7)):
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        ours, theirs = (session.run(None, {"x": x})[0] for session in sessions)
        assert ours.shape == (shape[0], 4, shape[3])
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_verify_runs_on_the_sizes_of_its_data(acgraph: Call, line: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 48, 24)).astype(np.float32)
    np.savez(tmp_path / "lines.npz", x=x)
    out, err = acgraph("verify", line, "--against", line, "--data", tmp_path / "lines.npz")
    assert err == ""
    assert "6 inputs" in out  # one of data, three random ones, another batch, another width
    acgraph(
        "verify", line, "--against", line, "--data", tmp_path / "lines.npz",
        "--input-shape", "x:1,3,48,32", code=1,
    )  # fmt: skip


def test_noise_has_the_stated_shape(acgraph: Call, line: str) -> None:
    out, err = acgraph(
        "verify", line, "--against", line, "--data", "noise:2", "--input-shape", "x:1,3,48,64"
    )
    assert err == ""
    assert "the models are equivalent" in out


def test_compress_goes_by_the_shapes_of_its_data(
    acgraph: Call, make_net: type, tmp_path: Path
) -> None:
    """Only 16 x 16 fits the table of positions: training, check and measurement all have to."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input("n", 3, "h", "w"), 3, 8, strides=[2, 2]))
    x = net.op("Relu", net.conv(x, 8, 8))
    y = net.op("Add", net.conv(x, 8, 4, 1), net.w(1, 4, 8, 12))
    model = _saved(net, y, ["n", 4, 8, 12], tmp_path / "table.onnx")
    x = np.random.default_rng(0).normal(size=(24, 3, 16, 24)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    folder = tmp_path / "out"
    _, err = acgraph(
        "compress", model, "--target-rate", "1.5x", "--data", tmp_path / "data.npz",
        "--epochs", "0.5", "--search", "uniform", "--evaluations", "1", "--threads", "1",
        "--metric", "macs", "-o", folder,
    )  # fmt: skip
    assert "assuming" not in err
    report = json.loads((folder / "report.json").read_text())
    assert report["verify"]["passed"]
    assert report["before"]["macs"] == 8 * 12 * (8 * 27 + 8 * 72 + 4 * 8)


def test_a_configuration_file_states_shapes() -> None:
    from acgraph.config_merge import make_config

    options = {"model": "m.onnx", "target_rate": "2x"}
    assert make_config(options).input_shape is None
    for given in ({"x": [1, 3, 8, 8]}, ["x:1,3,8,8"], "x:1,3,8,8"):
        config = make_config({**options, "input_shape": given})
        assert config.input_shape == {"x": (1, 3, 8, 8)}
        again = type(config).model_validate_json(config.model_dump_json())
        assert again.input_shape == config.input_shape
