"""Save a run after every stage, and take it up again."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.folder import CHECKPOINTS
from acgraph.driver.stages import Pace
from acgraph.driver.trace import Positions
from acgraph.errors import UsageError
from acgraph.ir import Model, read_model, write_bytes, write_model
from acgraph.report import FrontierPoint, Round, SearchPoint

#: Changes when an older state can no longer be read.
FORMAT = 5
FINE_TUNE = "fine-tune.pt"
#: A model that was read from standard input.
ORIGINAL = "original.onnx"
_STATE = "state.json"
#: All that a run writes here; writing is to a temporary neighbour with a dot before its name.
_FILES = (_STATE, "stage*.onnx*", FINE_TUNE, f"{ORIGINAL}*")
#: Options that may differ when a run goes on: where things are, what computes, the verdict, and
#: what is made of the result.
#: The model is compared by its content.
_FREE = frozenset(
    [
        "output",
        "resume",
        "model",
        "threads",
        "train.threads",
        "train.device",
        "search.workers",
        "search.cluster",
        "max_drop",
        "quantize",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A run after ``done`` stages: its rounds or attempts, and purification as one more.

    Attributes:
        done: Stages done.
        is_purified: Whether purification was the last of them.
        model: The shrunk graph with its weights.
        positions: Where its constants lay in the original.
        rounds: What each round reached.
        history: What the searches evaluated.
        frontier: Every rate that was tried.
        warnings: What the report must tell.
        elapsed_s: Seconds that the run has taken so far.
        pace: How fast the dense network was on the host, where it was timed.
    """

    done: int
    model: Model
    positions: Positions
    is_purified: bool = False
    rounds: list[Round] = field(default_factory=list)
    history: list[SearchPoint] = field(default_factory=list)
    frontier: list[FrontierPoint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0
    pace: Pace | None = None


def start(
    config: CompressConfig, inputs: Mapping[str, str], original: Model, pace: Pace | None = None
) -> None:
    """Forget an earlier run into the same folder, and remember what the new one was given.

    A model from standard input is kept: it cannot be read again. So is the pace of the host, where
    a run that had not come to its first stage is begun again.
    """
    folder = config.output / CHECKPOINTS
    _clear(folder)
    if config.model == "-":
        write_model(original, folder / ORIGINAL)
    _write_state(folder, config, inputs, {"done": 0, "elapsed_s": 0.0, "pace": _pace_state(pace)})


def stored_seconds(config: CompressConfig) -> float:
    """Return how long the run in ``config.output`` has taken so far."""
    return float(_read_state(config.output)["elapsed_s"])


def record_seconds(config: CompressConfig, elapsed_s: float) -> None:
    """Remember how long a run has taken so far, between its stages too."""
    _record(config, elapsed_s=elapsed_s)


def record_pace(config: CompressConfig, pace: Pace) -> None:
    """Remember how fast the host is, so that it is timed once."""
    _record(config, pace=_pace_state(pace))


def stored_pace(config: CompressConfig) -> Pace | None:
    """Return how fast the dense network was for the run in ``config.output``; None: not timed."""
    return _pace_of(_read_state(config.output))


def _record(config: CompressConfig, **values: object) -> None:
    file = config.output / CHECKPOINTS / _STATE
    write_bytes(json.dumps({**_read_state(config.output), **values}).encode(), file)


def _pace_state(pace: Pace | None) -> dict[str, float] | None:
    return None if pace is None else dataclasses.asdict(pace)


def _pace_of(state: Mapping[str, Any]) -> Pace | None:
    return None if state["pace"] is None else Pace(**state["pace"])


def _clear(folder: Path) -> None:
    for pattern in _FILES:
        for name in (pattern, f".{pattern}.*"):
            for old in folder.glob(name):
                old.unlink()


def save(config: CompressConfig, inputs: Mapping[str, str], run: Saved) -> None:
    """Write what the next stage needs; the state file last, so that it is never ahead.

    Args:
        config: The options of the run.
        inputs: Hashes of what the run reads, by what it is.
        run: What to save.
    """
    folder = config.output / CHECKPOINTS
    (folder / FINE_TUNE).unlink(missing_ok=True)
    write_model(run.model, folder / f"stage{run.done}.onnx")
    state = {
        "done": run.done,
        "is_purified": run.is_purified,
        "positions": {
            name: {str(axis): kept.tolist() for axis, kept in axes.items()}
            for name, axes in run.positions.items()
        },
        "rounds": [entry.model_dump() for entry in run.rounds],
        "history": [entry.model_dump() for entry in run.history],
        "frontier": [entry.model_dump() for entry in run.frontier],
        "warnings": run.warnings,
        "elapsed_s": run.elapsed_s,
        "pace": _pace_state(run.pace),
    }
    _write_state(folder, config, inputs, state)
    for old in range(run.done):
        for file in folder.glob(f"stage{old}.onnx*"):
            file.unlink()


def _write_state(
    folder: Path, config: CompressConfig, inputs: Mapping[str, str], state: Mapping[str, Any]
) -> None:
    whole = {
        "format": FORMAT,
        "config": json.loads(config.model_dump_json()),
        "inputs": dict(inputs),
        **state,
    }
    write_bytes(json.dumps(whole).encode(), folder / _STATE)


def stored_options(output: Path) -> dict[str, Any]:
    """Read the options that a run was started with, as ``make_config`` takes them.

    Args:
        output: The folder of its results.

    Raises:
        UsageError: the folder holds no run that can be read.
    """
    options: dict[str, Any] = _read_state(output)["config"]
    for name in ("output", "resume"):
        options.pop(name)
    for name in ("seed", "threads"):
        options["train"].pop(name)
    return options


def can_resume(config: CompressConfig) -> bool:
    """Whether the folder of the results has the checkpoints of a run with these very options."""
    if not (config.output / CHECKPOINTS / _STATE).is_file():
        return False
    ours = config.model_copy(update={"resume": None}).model_dump_json()
    stored = {**_read_state(config.output)["config"], "resume": None}
    return bool(stored == json.loads(ours))


def load(config: CompressConfig, inputs: Mapping[str, str]) -> Saved | None:
    """Read the last stage of the run in ``config.output``; None where none was finished.

    Args:
        config: The options now.
        inputs: Hashes of what is read now.

    Raises:
        UsageError: the folder holds no run, or one with other options or of other inputs.
    """
    folder = config.output / CHECKPOINTS
    where = Location(model=str(config.output))
    state = _read_state(config.output)
    _check_options(state["config"], config, where)
    _check_inputs(state["inputs"], inputs, where)
    if state["done"] == 0:
        return None
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
        is_purified=state["is_purified"],
        frontier=[FrontierPoint.model_validate(entry) for entry in state["frontier"]],
        warnings=list(state["warnings"]),
        elapsed_s=float(state["elapsed_s"]),
        pace=_pace_of(state),
    )


def _read_state(output: Path) -> dict[str, Any]:
    file = output / CHECKPOINTS / _STATE
    if not file.is_file():
        raise UsageError(
            "no run to go on with",
            location=Location(model=str(output)),
            hint="give the -o of that run",
        )
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
    # Without a target rate the floor is what the attempts went by.
    free = _FREE if before["target_rate"] is not None else _FREE - {"max_drop"}
    for name, value in _leaves(before):
        if name not in free and ours.get(name) != value:
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
