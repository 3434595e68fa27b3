"""A run that was interrupted goes on, as itself and as nothing else."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import FitResult
from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver.checkpoint.checkpoints import (
    can_resume,
    load,
    record_seconds,
    save,
    start,
    stored_options,
    stored_seconds,
)
from acgraph.driver.checkpoint.fingerprints import input_fingerprints
from acgraph.driver.compress import compress
from acgraph.driver.inputs.data import open_data
from acgraph.driver.network import Network
from acgraph.driver.pipeline import TRAINING
from acgraph.driver.schedule.plan import RunSchedule
from acgraph.driver.stages import fine_tune as finish
from acgraph.driver.state.state import State
from acgraph.errors import CheckpointError, UsageError
from acgraph.ir import Model, read_model
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]


@pytest.fixture
def configure(configure: Configure) -> Configure:
    """Runs of a few seconds."""

    def make(*settings: str, **options: Any) -> CompressConfig:
        quick: dict[str, Any] = {"criterion": "magnitude", "columns": {"enabled": False}}
        return configure("search.evaluations=1", *settings, **{**quick, **options})

    return make


def interrupt(config: CompressConfig, patch: pytest.MonkeyPatch, stage: str) -> None:
    """Run until a stage begins."""

    def stop(*_: object) -> State:
        raise KeyboardInterrupt

    assert stage in {each.name for each in TRAINING}
    stages = tuple(replace(s, run=stop) if s.name == stage else s for s in TRAINING)
    with patch.context() as changed:
        changed.setattr("acgraph.driver.compress.TRAINING", stages)
        with pytest.raises(KeyboardInterrupt):
            compress(config)


def again(config: CompressConfig, **options: object) -> CompressConfig:
    return config.model_copy(update={"resume": config.output, **options})


def saved(config: CompressConfig, checkpoint: str = "round-1") -> None:
    """Leave what a run does after a stage."""
    (config.output / "checkpoints").mkdir(parents=True, exist_ok=True)
    model = read_model(model_path())
    start(config, {}, model)
    save(config, state_of(model, checkpoint), 0.0)


def state_of(model: Model, checkpoint: str) -> State:
    return State(network=Network(model), prepared=Network(model), checkpoint=checkpoint)


def test_resume_goes_on_after_the_last_stage(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure()
    interrupt(config, monkeypatch, "fine-tune")
    lines: list[str] = []
    report = compress(again(config), status=lines.append)
    assert any("continuing after stage 'purify'" in line for line in lines)
    assert not any(line.startswith("round 1") for line in lines)
    assert report.verify.passed
    assert len(report.rounds) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_rate": "2x"}, "target_rate 3x, not 2x"),
        ({"seed": 5}, "seed 0, not 5"),
        ({"rounds": None}, "rounds 1, not unset"),
        ({"admm": {"rho": 0.25}}, r"admm.rho [\d.]+, not 0.25"),
        ({"train": {"learning_rate": 0.25}}, "train.learning_rate 0.05, not 0.25"),
    ],
)
def test_resume_refuses_other_options(
    configure: Configure, change: dict[str, Any], message: str
) -> None:
    config = configure()
    saved(config)
    assert load(config, {}) is not None
    with pytest.raises(UsageError, match=f"started with {message};") as caught:
        load(configure(**change), {})
    assert "\n" not in str(caught.value)


def test_resume_allows_another_host(configure: Configure) -> None:
    saved(configure())
    for change in ({"train": {"device": "cpu"}}, {"threads": 2, "max_drop": 3.0}):
        assert load(configure(**change), {}) is not None


def test_a_new_run_forgets_the_one_before(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(epochs=0.5)
    compress(config)
    checkpoints = config.output / "checkpoints"
    assert (checkpoints / "stage-fine-tune.onnx").is_file()
    (checkpoints / "fine-tune-a.pt").write_bytes(b"")
    (checkpoints / "stage-round-7.onnx.data").write_bytes(b"")
    (checkpoints / "mine.txt").write_text("kept")
    interrupt(config, monkeypatch, "round")
    left = [p.name for p in checkpoints.iterdir()]
    assert [n for n in left if n.startswith(("stage", "fine-tune"))] == ["stage-plan.npz"]
    assert "mine.txt" in left


def test_a_refused_run_leaves_the_one_before(configure: Configure) -> None:
    config = configure(epochs=0)
    compress(config)
    before = {p.name for p in (config.output / "checkpoints").iterdir()}
    assert before
    with pytest.raises(UsageError, match="too little data"):
        compress(configure(data="synthetic:2", eval_data=None))
    assert {p.name for p in (config.output / "checkpoints").iterdir()} == before


def test_resume_refuses_another_model(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "net.onnx"
    shutil.copy(model_path(), model)
    config = configure(model=str(model), epochs=0)
    interrupt(config, monkeypatch, "fine-tune")
    proto = onnx.load(str(model))
    weight = proto.graph.initializer[0]
    changed = numpy_helper.to_array(weight).copy()
    changed.flat[0] += 1
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(proto, str(model))
    with pytest.raises(CheckpointError, match="the model has changed since the run was started"):
        compress(again(config))
    shutil.copy(model_path(), tmp_path / "moved.onnx")
    assert compress(again(config, model=str(tmp_path / "moved.onnx"))).verify.passed


@pytest.mark.parametrize(
    ("array", "place", "what"),
    [
        ("x_train", 17, "training"),
        ("x_train", 255, "training"),
        ("y_train", 3, "training"),
        ("x_test", 0, "evaluation"),
        ("x_test", 119, "evaluation"),
        ("y_test", 4, "evaluation"),
        ("more", 0, "training"),
    ],
)
def test_resume_refuses_other_data(
    configure: Configure, images: Path, tmp_path: Path, array: str, place: int, what: str
) -> None:
    data = tmp_path / "some.npz"
    shutil.copy(images, data)
    config = configure(data=f"{data}#x_train,y_train", eval_data=f"{data}#x_test,y_test")
    original = read_model(model_path())
    (config.output / "checkpoints").mkdir(parents=True)
    start(config, input_fingerprints(original, open_data(config, original)), original)
    with np.load(images) as archive:
        arrays = dict(archive)
    if array == "more":
        for name in ("x_train", "y_train"):
            arrays[name] = np.concatenate([arrays[name], arrays[name][:1]])
    elif array.startswith("x"):
        arrays[array][place, 0, 11, 13] += 0.01
    else:
        arrays[array][place] = 9 - arrays[array][place]
    np.savez(data, **arrays)
    with pytest.raises(
        CheckpointError, match=f"{what} data has changed since the run was started; use"
    ) as caught:
        compress(again(config))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("text", "what"), [('{"format": 7,', "damaged"), ("{}", "version")])
def test_resume_refuses_a_state_that_it_cannot_read(
    configure: Configure, text: str, what: str
) -> None:
    config = configure()
    state = config.output / "checkpoints" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(text)
    with pytest.raises(CheckpointError, match=what):
        compress(again(config))


def test_fine_tuning_of_an_earlier_stage_is_forgotten(configure: Configure) -> None:
    config = configure()
    folder = config.output / "checkpoints"
    saved(config)
    (folder / "fine-tune-a.pt").write_bytes(b"of another graph")
    (folder / ".fine-tune-b.pt.xyz").write_bytes(b"half of it")
    (folder / "stage-round-1.onnx.data").write_bytes(b"")
    save(config, state_of(read_model(model_path()), "purify"), 0.0)
    found = {p.name for p in folder.iterdir()}
    assert found == {
        "prepared.onnx", "stage-round-1.onnx", "stage-round-1.npz", "stage-purify.onnx",
        "stage-purify.npz", "state.json",
    }  # fmt: skip


def test_a_run_stopped_in_its_first_round_goes_on_from_the_plan(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(epochs=0)
    interrupt(config, monkeypatch, "round")
    lines: list[str] = []
    assert compress(again(config), status=lines.append).verify.passed
    assert any(line.startswith("round 1") for line in lines)
    assert "continuing after stage 'plan'" in lines
    assert not any(line.startswith("rehearsal") for line in lines)


def test_a_folder_without_a_run_is_refused(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run to continue; use the -o"):
        compress(again(configure(), output=tmp_path, resume=tmp_path))


def test_a_model_from_standard_input_is_kept(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(model="-", epochs=0)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(model_path().read_bytes())))
        interrupt(config, monkeypatch, "fine-tune")
    lines: list[str] = []
    report = compress(again(config), status=lines.append)
    assert any("continuing after stage 'purify'" in line for line in lines)
    assert report.model.path == "-"


def test_stored_options_make_the_same_configuration(configure: Configure) -> None:
    first = configure(
        "train.grad_clip=.inf", "search.method=dp", target_rate="7.1234567x", mean="0.5,0.4",
        max_drop=1.5, seed=3, epochs=None, time_budget="1h30m",
    )  # fmt: skip
    saved(first)
    second = make_config({"resume": first.output}, stored=stored_options)
    assert second == first.model_copy(update={"resume": first.output})
    assert can_resume(first)
    assert can_resume(second)
    assert not can_resume(configure(seed=4))


def test_options_go_over_those_stored(configure: Configure) -> None:
    saved(configure())
    options = {"resume": configure().output, "threads": 7, "time_budget": "5m"}
    config = make_config(options, stored=stored_options)
    assert (config.threads, config.train.threads) == (7, 7)
    assert (config.epochs, config.time_budget) == (None, 300.0)
    with pytest.raises(UsageError, match=r"started with epochs 1\.0, not unset"):
        load(config, {})


def _add_seconds(config: CompressConfig, seconds: float) -> None:
    before = stored_seconds(config)
    assert before > 0
    record_seconds(config, before + seconds)


@pytest.mark.parametrize("stage", ["round", "fine-tune"])
def test_the_report_counts_the_time_before_an_interruption(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    config = configure(epochs=0)
    interrupt(config, monkeypatch, stage)
    _add_seconds(config, 1000)
    assert 1000 < compress(again(config)).seconds < 1100


def test_a_time_budget_counts_the_time_before_an_interruption(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(epochs=None, time_budget="100s", target_rate="1x")
    interrupt(config, monkeypatch, "fine-tune")
    _add_seconds(config, 85)
    fits = []

    def fit(self: TorchTrainer, **options: Any) -> FitResult:
        fits.append(options["time_budget_s"])
        return FitResult(epochs=0, seconds=0, loss=0, steps=0, images_per_second=0)

    def timed_again(*_: object) -> float:
        raise AssertionError("the speed of training is known")

    monkeypatch.setattr(TorchTrainer, "fit", fit)
    monkeypatch.setattr("acgraph.driver.stages.plan.measure_pace", timed_again)
    compress(again(config))
    (left,) = fits
    assert finish.MIN_SECONDS <= left < 9


def test_training_before_an_interruption_counts_in_the_time_of_fine_tuning() -> None:
    state = replace(
        state_of(read_model(model_path()), "purify"),
        schedule=RunSchedule(rates=(), admm=0.0, retrain=0.0, finish=1.0, finish_by_s=94.0),
    )
    assert finish.time_budget_s(state, 60.0, 0.0) == 34.0
    assert finish.time_budget_s(state, 60.0, 20.0) == 54.0
    assert finish.time_budget_s(state, 200.0, 20.0) == finish.MIN_SECONDS
