import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import FitResult
from acgraph.config import CompressConfig
from acgraph.data import Dataset
from acgraph.driver.compress import compress
from acgraph.driver.results.layer_changes import layer_changes
from acgraph.driver.schedule.plan import Pace
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


def _warnings(report: Report) -> list[str]:
    """Return all warnings but that of the few images, which every test here has."""
    few = [
        text
        for text in report.warnings
        if "only 60 examples, so that each of them counts for 1.7 points" in text
    ]
    assert len(few) == 1
    return [text for text in report.warnings if text not in few]


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, images: Path
) -> tuple[Report, Path, list[str]]:
    from acgraph.config_merge import make_config

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
    return compress(config, status=lines.append), folder, lines


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
    changes = layer_changes(original, small, [], small)
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
    config = configure(target_rate="40x", max_drop=0.0, epochs=0.1)
    report = compress(config)
    assert not report.target.drop_met
    assert report.exit_code == 3
    assert (config.output / "model.onnx").is_file()


def test_a_rate_out_of_reach_is_missed_with_everything_written(configure: Configure) -> None:
    config = configure(target_rate="1000x", epochs=0.2)
    report = compress(config)
    assert report.exit_code == 3
    assert report.target.drop_met
    assert len(report.rounds) == 1
    warning, *_ = _warnings(report)
    reached = re.fullmatch(
        "a rate of 1000x is out of reach: cutting everything that may be cut in 1 round "
        "gives ([\\d.]+)x",
        warning,
    )
    assert reached is not None
    assert 20 < float(reached[1]) <= report.rate.params < 1000
    for name in ("model.onnx", "model.ort", "masked.onnx", "report.json", "report.html"):
        assert (config.output / name).is_file()


def test_the_last_rounds_go_as_far_as_they_can(configure: Configure) -> None:
    report = compress(configure(target_rate="100000x", rounds=4, epochs=0))
    assert report.exit_code == 3
    assert len(report.rounds) >= 3
    assert report.rate.params > 200
    assert "out of reach" in _warnings(report)[0]


def test_a_round_within_its_budget_is_skipped(configure: Configure) -> None:
    lines: list[str] = []
    report = compress(configure(target_rate="1x", epochs=0), status=lines.append)
    assert "round 1: skipped, because the network is already at 1x" in lines
    assert (report.rounds, _warnings(report), report.exit_code) == ((), [], 0)


def test_a_network_of_fences_is_written_and_says_so(configure: Configure, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(0, 0.1, (784, 10)).astype(np.float32), "w")
    nodes = [
        onnx.helper.make_node("Flatten", ["x"], ["flat"], name="flatten"),
        onnx.helper.make_node("MatMul", ["flat", "w"], ["y"], name="classify"),
    ]
    graph = onnx.helper.make_graph(
        nodes, "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 1, 28, 28])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 10])],
        [weight],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, str(tmp_path / "linear.onnx"))
    lines: list[str] = []
    config = configure(model=str(tmp_path / "linear.onnx"), target_rate="2x", rounds=None)
    report = compress(config, status=lines.append)
    assert report.exit_code == 3
    assert _warnings(report) == ["nothing can be cut: see the fences"]
    assert {fence.node for fence in report.fences} & {"flatten", "classify", "x", "y"}
    assert all(fence.reason for fence in report.fences)
    shown = [line for line in lines if line.startswith("fence: ")]
    assert len(shown) == len(report.fences)
    assert report.fences[0].reason in shown[0]
    x = rng.standard_normal((2, 1, 28, 28)).astype(np.float32)
    np.testing.assert_allclose(
        _run(config.output / "model.onnx", x), _run(tmp_path / "linear.onnx", x), rtol=1e-5
    )


def test_purification_has_a_share_of_the_time_and_few_images(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    import acgraph.driver.stages.purify as module

    found: dict[str, float] = {}
    search, evaluate = module.purify_search, TorchTrainer.evaluate

    def timed(*arguments: Any, **options: Any) -> Any:
        found["seconds"] = options["time_budget_s"]
        result = search(*arguments, **options)
        found["images"] = limits[-1]
        return result

    limits: list[int] = []

    def counted(self: TorchTrainer, data: Dataset, limit: int = 0, **options: Any) -> float:
        limits.append(limit)
        return evaluate(self, data, limit or None, **options)

    monkeypatch.setattr(module, "purify_search", timed)
    monkeypatch.setattr(TorchTrainer, "evaluate", counted)
    slow = Pace(pass_s=1000.0, evaluation_s=1.0)
    monkeypatch.setattr("acgraph.driver.stages.plan.measure_pace", lambda *_: slow)
    monkeypatch.setattr("acgraph.driver.stages.fine_tune.MIN_SECONDS", 0.1)
    compress(configure(epochs=None, time_budget="2s", target_rate="1x"))
    assert 0 <= found["seconds"] <= 0.12
    assert found["images"] == 1000


def test_weights_that_fine_tuning_made_worse_are_not_kept(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(self: TorchTrainer, **_: Any) -> FitResult:
        weights = self.weights()
        rng = np.random.default_rng(0)
        noise = {k: rng.standard_normal(w.shape).astype(w.dtype) for k, w in weights.items()
                 if w.ndim == 4}  # fmt: skip
        self.load_weights({**weights, **noise})
        return FitResult(epochs=1, seconds=1, loss=1e3, steps=1, images_per_second=1)

    monkeypatch.setattr(TorchTrainer, "fit", diverge)
    report = compress(configure(target_rate="1x"))
    warning, *_ = _warnings(report)
    found = re.search(r"accuracy ([\d.]+) % before, ([\d.]+) % after", warning)
    assert found is not None
    assert float(found[1]) > 60 > float(found[2])
    assert report.after.accuracy is not None
    assert report.after.accuracy > 0.6


def test_training_that_diverges_at_every_rate_leaves_the_weights_before_it(
    configure: Configure,
) -> None:
    config = configure("train.learning_rate=1e30", target_rate="1x")
    report = compress(config)
    assert any("the previous weights are kept" in line for line in report.warnings)
    assert report.verify.passed
    assert report.after.accuracy == pytest.approx(report.before.accuracy, abs=0.02)
    written = read_model(config.output / "model.onnx")
    assert all(np.isfinite(value).all() for value in written.constants().values())


def test_every_round_of_a_size_target_does_its_part(configure: Configure) -> None:
    report = compress(configure(metric="size", target_rate="4x", rounds=2, epochs=0))
    first, second = (entry.rate for entry in report.rounds)
    assert 1.7 < first < 2.5
    assert 4 <= second < 4.6


def test_purification_is_left_out_on_request(configure: Configure) -> None:
    lines: list[str] = []
    compress(configure("purify=false", epochs=0, target_rate="2x"), status=lines.append)
    assert not [line for line in lines if line.startswith("purification")]


@pytest.mark.parametrize(("share", "searches"), [(0.0, False), (0.5, True)])
def test_purification_asks_only_a_network_that_was_trained_since_its_cut(
    share: float, searches: bool, configure: Configure
) -> None:
    lines: list[str] = []
    config = configure(
        "search.evaluations=2", epochs=1, target_rate="2x", retrain_share=share, admm_share=0
    )
    compress(config, status=lines.append)
    (line,) = (line for line in lines if line.startswith("purification"))
    assert (not line.endswith(" 0 evaluations")) == searches
