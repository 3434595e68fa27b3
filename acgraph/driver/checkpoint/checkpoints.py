"""Save a run after every stage, and take it up again."""

import dataclasses
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.checkpoint.same_run import check_inputs, check_options
from acgraph.driver.checkpoint.state_file import (
    START_ANEW,
    STATE,
    describe_files,
    find_damage,
    read_state,
    write_state,
)
from acgraph.driver.results.folder import CHECKPOINTS
from acgraph.driver.schedule.plan import Pace
from acgraph.driver.state.positions import Positions
from acgraph.errors import CheckpointError
from acgraph.ir import Model, read_model, write_model
from acgraph.report import FrontierPoint, Round, SearchPoint

#: Fine-tuning under way. The names are used by turns: the state names the last whole one.
FINE_TUNE = ("fine-tune-a.pt", "fine-tune-b.pt")
#: A model that was read from standard input.
ORIGINAL = "original.onnx"
#: Stages that are kept: where the last is damaged, the one before it is gone on from.
_KEPT_STAGES = 2
#: All that a run writes here; writing is to a temporary neighbour with a dot before its name.
_FILES = (STATE, "stage*.onnx*", "fine-tune*.pt", f"{ORIGINAL}*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A run after ``done`` stages: its rounds or attempts, purification, fine-tuning.

    Attributes:
        done: Stages done.
        is_purified: Whether purification was one of them.
        is_trained: Whether fine-tuning was, too: only the results are left to be written.
        model: The shrunk graph with its weights.
        positions: Where its constants lay in the original.
        rounds: What each round reached.
        history: What the searches evaluated.
        frontier: Every rate that was tried.
        warnings: What the report must tell.
        elapsed_s: Seconds that the run has taken so far.
        pace: How fast the dense network was on the host, where it was timed.
        fine_tune: State of the fine-tuning under way, where some of it is done.
        remarks: What of the checkpoints was damaged, and what is done about it.
    """

    done: int
    model: Model
    positions: Positions
    is_purified: bool = False
    is_trained: bool = False
    rounds: list[Round] = field(default_factory=list)
    history: list[SearchPoint] = field(default_factory=list)
    frontier: list[FrontierPoint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0
    pace: Pace | None = None
    fine_tune: Path | None = None
    remarks: tuple[str, ...] = ()


def start(
    config: CompressConfig, inputs: Mapping[str, str], original: Model, pace: Pace | None = None
) -> None:
    """Forget an earlier run into the same folder, and remember what the new one was given.

    A model from standard input is kept: it cannot be read again. So is the pace of the host, where
    a run that had not come to its first stage is begun again.
    """
    folder = _folder(config)
    _sweep(folder, keep=())
    if config.model == "-":
        write_model(original, folder / ORIGINAL)
    state = {
        "config": json.loads(config.model_dump_json()),
        "inputs": dict(inputs),
        "original": describe_files(folder.glob(f"{ORIGINAL}*")),
        "elapsed_s": 0.0,
        "pace": _pace_state(pace),
        "stages": [],
    }
    write_state(folder, state)


def read_original(config: CompressConfig) -> Model:
    """Read the model of a run; one that came from standard input was kept with the checkpoints.

    Raises:
        CheckpointError: the copy that was kept is damaged.
        ImportModelError: there is no such file, or it is no ONNX model.
    """
    if config.model != "-" or config.resume is None:
        return read_model(config.model)
    folder = _folder(config)
    damaged = find_damage(folder, read_state(folder)["original"])
    if damaged:
        raise _damaged(folder, damaged)
    return read_model(folder / ORIGINAL)


def stored_seconds(config: CompressConfig) -> float:
    """Return how long the run in ``config.output`` has taken so far."""
    return float(read_state(_folder(config))["elapsed_s"])


def record_seconds(config: CompressConfig, elapsed_s: float) -> None:
    """Remember how long a run has taken so far, between its stages too."""
    _record(config, elapsed_s=elapsed_s)


def record_pace(config: CompressConfig, pace: Pace) -> None:
    """Remember how fast the host is, so that it is timed once."""
    _record(config, pace=_pace_state(pace))


def stored_pace(config: CompressConfig) -> Pace | None:
    """Return how fast the dense network was for the run in ``config.output``; None: not timed."""
    return _pace_of(read_state(_folder(config)))


def next_fine_tune(config: CompressConfig, done: int) -> Path:
    """Return where the next state of a fine-tuning after ``done`` stages is to be written.

    It is not the file that the state names, so that a run which is killed while it writes goes on
    from there.
    """
    folder = _folder(config)
    named = _stage(read_state(folder), done)["fine_tune"]
    return folder / next(name for name in FINE_TUNE if name not in named)


def record_fine_tune(config: CompressConfig, done: int, file: Path, elapsed_s: float) -> None:
    """Remember a state of the fine-tuning that was written, and forget the one before."""
    folder = _folder(config)
    state = read_state(folder)
    _stage(state, done)["fine_tune"] = describe_files([file])
    write_state(folder, {**state, "elapsed_s": elapsed_s})
    _sweep(folder, keep=_named(state))


def save(config: CompressConfig, run: Saved) -> None:
    """Write what the next stage needs; the state file last, so that it is never ahead.

    Args:
        config: The options of the run.
        run: What to save.
    """
    folder = _folder(config)
    name = f"stage{run.done}.onnx"
    write_model(run.model, folder / name)
    stage = {
        "done": run.done,
        "is_purified": run.is_purified,
        "is_trained": run.is_trained,
        "files": describe_files([folder / name, *folder.glob(f"{name}.data")]),
        "fine_tune": {},
        "positions": {
            name: {str(axis): kept.tolist() for axis, kept in axes.items()}
            for name, axes in run.positions.items()
        },
        "rounds": [entry.model_dump() for entry in run.rounds],
        "history": [entry.model_dump() for entry in run.history],
        "frontier": [entry.model_dump() for entry in run.frontier],
        "warnings": run.warnings,
    }
    before = read_state(folder)
    earlier = [entry for entry in before["stages"] if entry["done"] < run.done]
    state = {
        **before,
        "elapsed_s": run.elapsed_s,
        "pace": _pace_state(run.pace),
        "stages": [*earlier, stage][-_KEPT_STAGES:],
    }
    write_state(folder, state)
    _sweep(folder, keep=_named(state))


def load(config: CompressConfig, inputs: Mapping[str, str]) -> Saved | None:
    """Read the last whole stage of the run in ``config.output``; None where none was finished.

    Args:
        config: The options now.
        inputs: Hashes of what is read now.

    Raises:
        UsageError: the folder holds no run, or one with other options.
        CheckpointError: all stages are damaged, or the run was started with other inputs.
    """
    folder = _folder(config)
    state = read_state(folder)
    where = Location(model=str(config.output))
    check_options(state["config"], config, where)
    check_inputs(state["inputs"], inputs, where)
    if not state["stages"]:
        return None
    stage, remarks = _last_whole(folder, state["stages"])
    fine_tune = None
    if stage["fine_tune"]:
        (name,) = stage["fine_tune"]
        damaged = find_damage(folder, stage["fine_tune"])
        fine_tune = None if damaged else folder / name
        if damaged:
            remarks.append(f"checkpoint {damaged} is damaged, so fine-tuning begins again")
    positions = {
        name: {int(axis): np.array(kept, np.int64) for axis, kept in axes.items()}
        for name, axes in stage["positions"].items()
    }
    return Saved(
        done=stage["done"],
        model=read_model(folder / f"stage{stage['done']}.onnx"),
        positions=positions,
        rounds=[Round.model_validate(entry) for entry in stage["rounds"]],
        history=[SearchPoint.model_validate(entry) for entry in stage["history"]],
        is_purified=stage["is_purified"],
        is_trained=stage["is_trained"],
        frontier=[FrontierPoint.model_validate(entry) for entry in stage["frontier"]],
        warnings=list(stage["warnings"]),
        elapsed_s=float(state["elapsed_s"]),
        pace=_pace_of(state),
        fine_tune=fine_tune,
        remarks=tuple(remarks),
    )


def _last_whole(folder: Path, stages: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Find the last stage whose files are whole, and say which later ones are not."""
    remarks: list[str] = []
    for stage in reversed(stages):
        damaged = find_damage(folder, stage["files"])
        if not damaged:
            return stage, remarks
        remarks.append(f"checkpoint {damaged} is damaged, so the stage before it is used")
    raise _damaged(folder, damaged)


def _damaged(folder: Path, name: str) -> CheckpointError:
    return CheckpointError(
        "is damaged or missing", location=Location(model=str(folder / name)), hint=START_ANEW
    )


def stored_options(output: Path) -> dict[str, Any]:
    """Read the options that a run was started with, as ``make_config`` takes them.

    Args:
        output: The folder of its results.

    Raises:
        UsageError: the folder holds no run.
        CheckpointError: its state is damaged.
    """
    options: dict[str, Any] = read_state(output / CHECKPOINTS)["config"]
    for name in ("output", "resume"):
        options.pop(name)
    for name in ("seed", "threads"):
        options["train"].pop(name)
    return options


def can_resume(config: CompressConfig) -> bool:
    """Whether the folder of the results has the checkpoints of a run with these very options."""
    if not (_folder(config) / STATE).is_file():
        return False
    ours = config.model_copy(update={"resume": None}).model_dump_json()
    stored = {**read_state(_folder(config))["config"], "resume": None}
    return bool(stored == json.loads(ours))


def _folder(config: CompressConfig) -> Path:
    return config.output / CHECKPOINTS


def _record(config: CompressConfig, **values: object) -> None:
    folder = _folder(config)
    write_state(folder, {**read_state(folder), **values})


def _stage(state: Mapping[str, Any], done: int) -> dict[str, Any]:
    stage: dict[str, Any] = next(entry for entry in state["stages"] if entry["done"] == done)
    return stage


def _named(state: Mapping[str, Any]) -> set[str]:
    """List the files that a state needs."""
    stages = [name for stage in state["stages"] for name in (*stage["files"], *stage["fine_tune"])]
    return {STATE, *state["original"], *stages}


def _sweep(folder: Path, keep: Container[str]) -> None:
    """Delete what a run wrote here, and what a killed one was writing, but for some files."""
    for pattern in _FILES:
        for name in (pattern, f".{pattern}.*"):
            for old in folder.glob(name):
                if old.name not in keep:
                    old.unlink()


def _pace_state(pace: Pace | None) -> dict[str, float] | None:
    return None if pace is None else dataclasses.asdict(pace)


def _pace_of(state: Mapping[str, Any]) -> Pace | None:
    return None if state["pace"] is None else Pace(**state["pace"])
