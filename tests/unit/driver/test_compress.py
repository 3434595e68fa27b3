import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.outcome import layer_changes
from acgraph.errors import SearchError, UsageError
from acgraph.ir import read_model
from acgraph.models.demo import model_path
from acgraph.report import Report

Configure = Callable[..., CompressConfig]


def _elements(path: Path) -> int:
    """Count what a reader of the file would: initializers and the tensors of Constant nodes."""
    graph = onnx.load(str(path)).graph
    tensors = list(graph.initializer)
    tensors += [a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute]
    return sum(int(np.prod(t.dims)) for t in tensors)


def _run(path: Path, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, images: Path
) -> tuple[Report, Path, list[str]]:
    from acgraph.config import make_config

    folder = tmp_path_factory.mktemp("run") / "out"
    config = make_config(
        {
            "model": str(model_path()), "target_rate": "4x", "max_drop": 100.0,
            "data": f"{images}#x_train,y_train", "eval_data": f"{images}#x_test,y_test",
            "epochs": 6, "rounds": 2, "threads": 1, "output": folder, "timing": False,
        },
        settings=("search.evaluations=2", "admm.updates=2", "train.batch_size=64"),
    )  # fmt: skip
    lines: list[str] = []
    return compress(config, say=lines.append), folder, lines


def test_all_results_are_written(finished: tuple[Report, Path, list[str]]) -> None:
    _, folder, _ = finished
    names = {path.name for path in folder.iterdir()}
    wanted = {"model.onnx", "model.ort", "masked.onnx", "report.json", "report.html", "plan.json"}
    assert wanted <= names
    assert (folder / "checkpoints").is_dir()


def test_params_reported_are_those_of_the_file(finished: tuple[Report, Path, list[str]]) -> None:
    report, folder, _ = finished
    assert report.after.params == _elements(folder / "model.onnx")
    assert report.before.params == _elements(model_path())
    assert report.rate.params == pytest.approx(report.before.params / report.after.params)
    assert report.after.bytes == (folder / "model.onnx").stat().st_size


def test_target_is_met_and_said_so(finished: tuple[Report, Path, list[str]]) -> None:
    report, _, _ = finished
    assert report.rate.params >= 4.0
    assert report.target.met
    assert report.exit_code == 0


def test_compact_computes_what_masked_does(finished: tuple[Report, Path, list[str]]) -> None:
    report, folder, _ = finished
    x = np.random.default_rng(5).standard_normal((3, 1, 28, 28)).astype(np.float32)
    small, masked = _run(folder / "model.onnx", x), _run(folder / "masked.onnx", x)
    assert np.abs(masked).max() > 0.1
    assert np.abs(small - masked).max() <= 1e-4 * np.abs(masked).max()
    assert report.verify.passed
    assert np.abs(small - _run(model_path(), x)).max() > 1e-2


def test_masked_has_the_original_nodes_and_shapes(
    finished: tuple[Report, Path, list[str]],
) -> None:
    _, folder, _ = finished
    masked, original = onnx.load(str(folder / "masked.onnx")), onnx.load(str(model_path()))
    assert [n.op_type for n in masked.graph.node] == [n.op_type for n in original.graph.node]
    shapes = {t.name: tuple(t.dims) for t in original.graph.initializer}
    found = {t.name: tuple(t.dims) for t in masked.graph.initializer}
    assert {name: found[name] for name in shapes} == shapes
    zeros = sum(int((numpy_helper.to_array(t) == 0).sum()) for t in masked.graph.initializer)
    assert zeros > 0.6 * _elements(folder / "masked.onnx")


def test_report_file_has_the_names_of_the_contract(
    finished: tuple[Report, Path, list[str]],
) -> None:
    _, folder, _ = finished
    report = json.loads((folder / "report.json").read_text())
    assert report["schema"] == 1
    assert report["measure"] == "accuracy"
    assert {"params", "macs", "bytes", "latency_ms", "accuracy"} <= set(report["after"])
    assert {"rate", "accuracy", "epochs", "seconds", "evaluations"} <= set(report["rounds"][0])
    assert len(report["rounds"]) == 2
    spent = sum(entry["epochs"] for entry in report["rounds"])
    assert 0 < spent < 3
    layer = report["layers"][0]
    assert {"name", "op_type", "filters", "columns", "lowering", "latency_ms"} <= set(layer)


def test_layers_are_timed_by_name(finished: tuple[Report, Path, list[str]]) -> None:
    _, folder, _ = finished
    original, small = read_model(model_path()), read_model(folder / "model.onnx")
    files = (model_path(), folder / "model.onnx")
    changes = layer_changes(original, small, [], files)
    assert len(changes) == 11
    largest = max(changes, key=lambda change: change.filters[0] * change.columns[0])
    assert largest.latency_ms is not None
    assert all(milliseconds > 0 for milliseconds in largest.latency_ms)
    assert layer_changes(original, small, [])[0].latency_ms is None


def test_every_stage_is_announced(finished: tuple[Report, Path, list[str]]) -> None:
    _, _, lines = finished
    text = "\n".join(lines)
    for word in ("baseline: accuracy ", "plan: 2 rounds", "round 1:", "round 2:", "purification"):
        assert word in text


def test_missed_floor_exits_3_and_still_writes(configure: Configure) -> None:
    config = configure(target_rate="6x", max_drop=0.0, epochs=0.1)
    report = compress(config)
    assert not report.target.drop_met
    assert report.exit_code == 3
    assert (config.output / "model.onnx").is_file()


def test_impossible_rate_is_one_line_and_writes_no_model(configure: Configure) -> None:
    config = configure(target_rate="100000x")
    with pytest.raises(SearchError) as caught:
        compress(config)
    assert "\n" not in str(caught.value)
    assert not (config.output / "model.onnx").exists()


def test_without_data_is_a_usage_error(configure: Configure) -> None:
    with pytest.raises(UsageError, match="no data"):
        compress(configure(data=None))
