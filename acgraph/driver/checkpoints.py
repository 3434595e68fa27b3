"""Save a run after every stage, and take it up again."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.trace import Positions
from acgraph.errors import UsageError
from acgraph.ir import Model, read_model, write_bytes, write_model
from acgraph.report import Round, SearchPoint

#: Changes when an older state can no longer be read.
FORMAT = 3
FINE_TUNE = "fine-tune.pt"
_STATE = "state.json"
#: All that a run writes here; writing is to a temporary neighbour with a dot before its name.
_FILES = (_STATE, "stage*.onnx*", FINE_TUNE)
#: Options that may differ when a run goes on: where things are, what computes, and the verdict.
#: The model is compared by its content.
_FREE = frozenset(
    ["output", "resume", "model", "threads", "train.threads", "train.device", "max_drop"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A run after ``done`` stages: its rounds, and purification as one more.

    Attributes:
        done: Stages done.
        model: The shrunk graph with its weights.
        positions: Where its constants lay in the original.
        rounds: What each round reached.
        history: What the searches evaluated.
        warnings: What the report must tell.
    """

    done: int
    model: Model
    positions: Positions
    rounds: list[Round] = field(default_factory=list)
    history: list[SearchPoint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def clear(folder: Path) -> None:
    """Remove the checkpoints of an earlier run into the same folder."""
    for pattern in _FILES:
        for name in (pattern, f".{pattern}.*"):
            for old in folder.glob(name):
                old.unlink()


def save(folder: Path, config: CompressConfig, inputs: Mapping[str, str], run: Saved) -> None:
    """Write what the next stage needs; the state file last, so that it is never ahead.

    Args:
        folder: Of the checkpoints.
        config: The options of the run.
        inputs: Hashes of what the run reads, by what it is.
        run: What to save.
    """
    (folder / FINE_TUNE).unlink(missing_ok=True)
    write_model(run.model, folder / f"stage{run.done}.onnx")
    state = {
        "format": FORMAT,
        "config": json.loads(config.model_dump_json()),
        "inputs": dict(inputs),
        "done": run.done,
        "positions": {
            name: {str(axis): kept.tolist() for axis, kept in axes.items()}
            for name, axes in run.positions.items()
        },
        "rounds": [entry.model_dump() for entry in run.rounds],
        "history": [entry.model_dump() for entry in run.history],
        "warnings": run.warnings,
    }
    write_bytes(json.dumps(state).encode(), folder / _STATE)
    for old in range(run.done):
        for file in folder.glob(f"stage{old}.onnx*"):
            file.unlink()


def load(folder: Path, config: CompressConfig, inputs: Mapping[str, str]) -> Saved | None:
    """Read the last stage; None where none was finished.

    Raises:
        UsageError: the folder holds no run, or one with other options or of other inputs.
    """
    where = Location(model=str(folder))
    if not folder.is_dir():
        raise UsageError("no run to go on with", location=where, hint="give the -o of that run")
    if not (folder / _STATE).is_file():
        return None
    state = _read_state(folder / _STATE)
    _check_options(state["config"], config, where)
    _check_inputs(state["inputs"], inputs, where)
    positions = {
        name: {int(axis): np.array(kept, np.int64) for axis, kept in axes.items()}
        for name, axes in state["positions"].items()
    }
    return Saved(
        done=state["done"],
        model=read_model(folder / f"stage{state['done']}.onnx"),
        positions=positions,
        rounds=[Round.model_validate(entry) for entry in state["rounds"]],
        history=[SearchPoint.model_validate(entry) for entry in state["history"]],
        warnings=list(state["warnings"]),
    )


def _read_state(file: Path) -> dict[str, Any]:
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(
            "is damaged", location=Location(model=str(file)), hint="start anew, without --resume"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UsageError(
            "is of another version of acgraph",
            location=Location(model=str(file)),
            hint="start anew, without --resume",
        )
    return state


def _check_options(before: Mapping[str, Any], config: CompressConfig, where: Location) -> None:
    ours = dict(_leaves(json.loads(config.model_dump_json())))
    for name, value in _leaves(before):
        if name not in _FREE and ours.get(name) != value:
            raise UsageError(
                f"the run was started with {name} {_shown(value)}, not {_shown(ours.get(name))}",
                location=where,
                hint="give the same options, or start anew",
            )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """List the options of all sections as ``train.learning_rate``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: object) -> str:
    return "unset" if value is None else str(value)


def _check_inputs(before: Mapping[str, str], inputs: Mapping[str, str], where: Location) -> None:
    for what, digest in inputs.items():
        if before.get(what) != digest:
            raise UsageError(
                f"the run was started with {what} of other content",
                location=where,
                hint="give the same, or start anew",
            )
