"""Save a run after every stage, and resume it."""

import json
import logging
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.checkpoint.format import from_json, read_positions, to_json, write_positions
from acgraph.driver.checkpoint.resuming import check_named
from acgraph.driver.checkpoint.same_run import check_inputs, check_options
from acgraph.driver.checkpoint.state_file import (
    START_ANEW,
    STATE,
    describe_files,
    find_damage,
    read_state,
    write_state,
)
from acgraph.driver.network import Network
from acgraph.driver.results.folder import CHECKPOINTS
from acgraph.driver.state.functions import NO_FUNCTIONS, UserFunctions, check_functions
from acgraph.driver.state.state import State
from acgraph.errors import CheckpointError
from acgraph.ir import Model, read_model, write_model

log = logging.getLogger(__name__)

#: Partial fine-tuning. The names alternate: the state names the last file that is complete.
FINE_TUNE = ("fine-tune-a.pt", "fine-tune-b.pt")
#: A model that was read from standard input.
ORIGINAL = "original.onnx"
#: The network before any cut, from which attempts at other rates start.
PREPARED = "prepared.onnx"
#: Number of stages that are kept: if the last is damaged, the run resumes from the one before.
_KEPT_STAGES = 2
#: All files that a run writes here, apart from temporary files, whose names begin with a dot.
_FILES = (STATE, "stage-*.onnx*", "stage-*.npz", "fine-tune*.pt", f"{ORIGINAL}*", f"{PREPARED}*")


def start(
    config: CompressConfig,
    inputs: Mapping[str, str],
    original: Model,
    functions: UserFunctions | None = None,
) -> None:
    """Delete the checkpoints of an earlier run, and record the options and inputs of this one.

    A model from standard input is stored, because it cannot be read again.

    Args:
        config: The options of the run.
        inputs: Hashes of the model and the data, see ``input_fingerprints``.
        original: The model.
        functions: Functions of the user, whose names are recorded.
    """
    folder = _folder(config)
    if (folder / STATE).is_file():
        log.warning("%s: the checkpoints of an earlier run are replaced", config.output)
    _delete_unneeded(folder, keep=())
    if config.model == "-":
        write_model(original, folder / ORIGINAL)
    state = {
        "config": json.loads(config.model_dump_json()),
        "inputs": dict(inputs),
        "functions": (functions or NO_FUNCTIONS).names,
        "original": describe_files(folder.glob(f"{ORIGINAL}*")),
        "prepared": {},
        "elapsed_s": 0.0,
        "stages": [],
    }
    write_state(folder, state)


def read_original(config: CompressConfig) -> Model:
    """Read the model of a run; one from standard input was stored with the checkpoints.

    Raises:
        CheckpointError: The stored copy is damaged.
        ImportModelError: There is no such file, or it is not an ONNX model.
    """
    if config.model != "-" or config.resume is None:
        return read_model(config.model)
    folder = _folder(config)
    damaged = find_damage(folder, read_state(folder)["original"])
    if damaged:
        raise _damaged(folder, damaged)
    return read_model(folder / ORIGINAL)


def stored_seconds(config: CompressConfig) -> float:
    """Return how many seconds the run in ``config.output`` has taken so far."""
    return float(read_state(_folder(config))["elapsed_s"])


def record_seconds(config: CompressConfig, elapsed_s: float) -> None:
    """Record how long a run has taken so far; also called within a stage."""
    _record(config, elapsed_s=elapsed_s)


def next_fine_tune(config: CompressConfig, checkpoint: str) -> Path:
    """Return the file for the next partial state of fine-tuning that began at a checkpoint.

    It is not the file that the state names, so that a run which is killed while writing can be
    resumed from the latter.
    """
    folder = _folder(config)
    named = _stage(read_state(folder), checkpoint)["fine_tune"]
    return folder / next(name for name in FINE_TUNE if name not in named)


def record_fine_tune(config: CompressConfig, checkpoint: str, file: Path, elapsed_s: float) -> None:
    """Record a partial state of fine-tuning that was written, in place of the one before."""
    folder = _folder(config)
    state = read_state(folder)
    _stage(state, checkpoint)["fine_tune"] = describe_files([file])
    write_state(folder, {**state, "elapsed_s": elapsed_s})
    _delete_unneeded(folder, keep=_needed_files(state))


def save(config: CompressConfig, state: State, elapsed_s: float) -> None:
    """Write a checkpoint; the state file is written last, so that it names only complete files.

    Args:
        config: The options of the run.
        state: The state that a stage returned, with the name of its checkpoint.
        elapsed_s: Seconds that the run has taken so far.
    """
    folder = _folder(config)
    before = read_state(folder)
    if not before["prepared"]:
        write_model(state.prepared.model, folder / PREPARED)
        before["prepared"] = describe_files(folder.glob(f"{PREPARED}*"))
    name = f"stage-{state.checkpoint}"
    model = PREPARED if state.network is state.prepared else f"{name}.onnx"
    if model != PREPARED:
        write_model(state.network.model, folder / model)
    write_positions(state.positions, folder / f"{name}.npz")
    written = [folder / f"{name}.npz", folder / model, *folder.glob(f"{model}.data")]
    stage = {
        "checkpoint": state.checkpoint,
        "model": model,
        "files": describe_files(written),
        "fine_tune": {},
        "state": to_json(state),
    }
    earlier = [entry for entry in before["stages"] if entry["checkpoint"] != state.checkpoint]
    after = {
        **before,
        "elapsed_s": elapsed_s,
        "stages": [*earlier, stage][-_KEPT_STAGES:],
    }
    write_state(folder, after)
    _delete_unneeded(folder, keep=_needed_files(after))


def check_run(config: CompressConfig, functions: UserFunctions | None = None) -> Mapping[str, Any]:
    """Check that a run can be resumed with the current options, before its inputs are opened.

    Returns:
        The stored state of the run.

    Raises:
        UsageError: The folder holds no run, or one with other options.
        CheckpointError: Its state is damaged.
    """
    stored = read_state(_folder(config))
    where = Location(model=str(config.output))
    check_options(stored["config"], config, where)
    check_functions(stored.get("functions", {}), functions or NO_FUNCTIONS, where)
    return stored


def load(
    config: CompressConfig, inputs: Mapping[str, str], functions: UserFunctions | None = None
) -> State | None:
    """Read the last undamaged stage of the run in ``config.output``; None if none was finished.

    The warnings of the returned state name the checkpoints that are damaged, and what was done.

    Args:
        config: The current options.
        inputs: Hashes of the current model and data.
        functions: Functions of the user, which are compared by name.

    Raises:
        UsageError: The folder holds no run, or one with other options.
        CheckpointError: All stages are damaged, or the run was started with other inputs.
    """
    folder = _folder(config)
    stored = check_run(config, functions)
    check_inputs(stored["inputs"], inputs, Location(model=str(config.output)))
    if not stored["stages"]:
        return None
    stage, remarks = _last_undamaged(folder, stored["stages"])
    partial_fit = None
    if stage["fine_tune"]:
        (name,) = stage["fine_tune"]
        damaged = find_damage(folder, stage["fine_tune"])
        partial_fit = None if damaged else folder / name
        if damaged:
            remarks.append(
                f"checkpoint {damaged} is damaged; fine-tuning starts again from its beginning"
            )
    network = Network(read_model(folder / stage["model"]))
    prepared = network if stage["model"] == PREPARED else _prepared(folder, stored, stage)
    positions = read_positions(folder / f"stage-{stage['checkpoint']}.npz")
    state = from_json(stage["state"], network, prepared, positions)
    return replace(state, partial_fit=partial_fit, warnings=(*state.warnings, *remarks))


def _prepared(folder: Path, stored: Mapping[str, Any], stage: Mapping[str, Any]) -> Network:
    """Read the network before any cut, which only attempts at other rates need.

    Raises:
        CheckpointError: It is damaged and needed.
    """
    damaged = find_damage(folder, stored["prepared"])
    if not damaged:
        return Network(read_model(folder / PREPARED))
    if stage["state"]["schedule"]["attempts"]:
        raise _damaged(folder, damaged)
    return Network(read_model(folder / stage["model"]))


def _last_undamaged(folder: Path, stages: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Return the last stage whose files are undamaged, and a warning for each later one."""
    remarks: list[str] = []
    for stage in reversed(stages):
        damaged = find_damage(folder, stage["files"])
        if not damaged:
            return stage, remarks
        remarks.append(
            f"checkpoint {damaged} is damaged; the run continues from the stage before it"
        )
    raise _damaged(folder, damaged)


def _damaged(folder: Path, name: str) -> CheckpointError:
    return CheckpointError(
        "is damaged or missing", location=Location(model=str(folder / name)), hint=START_ANEW
    )


def stored_options(output: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the options that a run was started with, in the form of ``make_config``.

    Args:
        output: The folder of its results.
        given: The options that the user gives now.

    Raises:
        UsageError: The folder holds no run, or only its checkpoints name code that would be called.
        CheckpointError: Its state is damaged.
    """
    options: dict[str, Any] = read_state(output / CHECKPOINTS)["config"]
    check_named(options, given, output)
    for name in ("output", "resume"):
        options.pop(name)
    for name in ("seed", "threads"):
        options["train"].pop(name)
    return options


def can_resume(config: CompressConfig) -> bool:
    """Return whether the output folder has checkpoints of a run with exactly these options."""
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


def _stage(state: Mapping[str, Any], checkpoint: str) -> dict[str, Any]:
    stages = (entry for entry in state["stages"] if entry["checkpoint"] == checkpoint)
    stage: dict[str, Any] = next(stages)
    return stage


def _needed_files(state: Mapping[str, Any]) -> set[str]:
    """List the files that a state needs."""
    stages = [name for stage in state["stages"] for name in (*stage["files"], *stage["fine_tune"])]
    return {STATE, *state["original"], *state["prepared"], *stages}


def _delete_unneeded(folder: Path, keep: Container[str]) -> None:
    """Delete the files of earlier runs, including temporary ones, except those to keep."""
    for pattern in _FILES:
        for name in (pattern, f".{pattern}.*"):
            for old in folder.glob(name):
                if old.name not in keep:
                    old.unlink()
