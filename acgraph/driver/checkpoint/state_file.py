"""The state of a run on disk, with a checksum of its own and of every file that it names."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from acgraph.data.fingerprint import file_digest
from acgraph.diagnostics import Location
from acgraph.errors import CheckpointError, UsageError
from acgraph.ir import write_bytes

#: Version of the format; increased when older states can no longer be read.
FORMAT = 8
STATE = "state.json"
#: Hint for checkpoints that cannot be used.
START_ANEW = "start a new run, without --resume"

Files = dict[str, dict[str, Any]]


def write_state(folder: Path, run: Mapping[str, Any]) -> None:
    """Write the state of a run atomically.

    Args:
        folder: The folder of the checkpoints.
        run: The state as JSON values.

    Raises:
        OutputError: It cannot be written.
    """
    content = {"format": FORMAT, "checksum": _checksum(run), "run": run}
    write_bytes(json.dumps(content).encode(), folder / STATE)


def read_state(folder: Path) -> dict[str, Any]:
    """Read the state of a run.

    Args:
        folder: The folder of the checkpoints.

    Raises:
        UsageError: There is none.
        CheckpointError: It is damaged, or another version of acgraph wrote it.
    """
    file = folder / STATE
    where = Location(model=str(file))
    if not file.is_file():
        raise UsageError(
            "there is no run to continue",
            location=Location(model=str(folder.parent)),
            hint="use the -o folder of the interrupted run",
        )
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError("is damaged", location=where, hint=START_ANEW) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            "is damaged, or was written by another version of acgraph",
            location=where,
            hint=START_ANEW,
        )
    # Compare the text as well: a changed byte is damage even if the JSON value is the same.
    run: Any = content.get("run")
    if content.get("checksum") != _checksum(run) or json.dumps(content) != text:
        raise CheckpointError("is damaged", location=where, hint=START_ANEW)
    state: dict[str, Any] = run
    return state


def _checksum(run: object) -> str:
    return hashlib.sha256(json.dumps(run).encode()).hexdigest()


def describe_files(files: Iterable[Path]) -> Files:
    """Return the size in bytes and the hash of every file, by its name."""
    return {
        file.name: {"bytes": file.stat().st_size, "sha256": file_digest(file)}
        for file in sorted(files)
    }


def find_damage(folder: Path, files: Files) -> str:
    """Return the name of the first file that was changed since it was written; empty if none."""
    for name, known in files.items():
        file = folder / name
        try:
            is_whole = (
                file.stat().st_size == known["bytes"] and file_digest(file) == known["sha256"]
            )
        except OSError:
            is_whole = False
        if not is_whole:
            return name
    return ""
