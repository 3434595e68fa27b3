"""Save a run after every stage, and take it up again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.trace import Positions
from acgraph.errors import UsageError
from acgraph.ir import Model, read_model, write_bytes, write_model
from acgraph.report import Round, SearchPoint

_STATE = "state.json"
#: Options that may differ when a run goes on.
_FREE = frozenset(["output", "resume", "model", "threads"])


@dataclass(frozen=True, slots=True)
class Saved:
    """A run after ``done`` stages: its rounds, and purification as one more.

    Attributes:
        done: Stages done.
        model: The shrunk graph with its weights.
        positions: Where its constants lay in the original.
        rounds: What each round reached.
        history: What the searches evaluated.
    """

    done: int
    model: Model
    positions: Positions
    rounds: list[Round]
    history: list[SearchPoint]


def save(
    folder: Path,
    config: CompressConfig,
    done: int,
    model: Model,
    positions: Positions,
    rounds: Sequence[Round],
    history: Sequence[SearchPoint],
) -> None:
    """Write what the next stage needs; the state file last, so that it is never ahead."""
    write_model(model, folder / f"stage{done}.onnx")
    state = {
        "config": _comparable(config),
        "done": done,
        "positions": {
            name: {str(axis): kept.tolist() for axis, kept in axes.items()}
            for name, axes in positions.items()
        },
        "rounds": [entry.model_dump() for entry in rounds],
        "history": [entry.model_dump() for entry in history],
    }
    write_bytes(json.dumps(state).encode(), folder / _STATE)
    for old in range(done):
        (folder / f"stage{old}.onnx").unlink(missing_ok=True)


def load(folder: Path, config: CompressConfig) -> Saved | None:
    """Read the last stage; None where none was finished.

    Raises:
        UsageError: the folder holds no run, or one with other options.
    """
    where = Location(model=str(folder))
    if not folder.is_dir():
        raise UsageError("no run to go on with", location=where, hint="give the -o of that run")
    if not (folder / _STATE).is_file():
        return None
    state: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    ours = _comparable(config)
    for name, value in state["config"].items():
        if ours.get(name) != value:
            raise UsageError(
                f"the run was started with {name} {value}, not {ours.get(name)}",
                location=where,
                hint="give the same options, or start anew",
            )
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
    )


def _comparable(config: CompressConfig) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(config.model_dump_json())
    return {name: value for name, value in values.items() if name not in _FREE}
