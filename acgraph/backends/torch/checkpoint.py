"""Training checkpoints: written atomically, and read without executing code (``weights_only``)."""

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch

from acgraph.diagnostics import Location
from acgraph.errors import BackendError, OutputError

#: Version of the file format; it changes if older checkpoints can no longer be read.
FORMAT = 1


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a state that consists of tensors, numbers, strings and containers of them.

    The write is atomic: after a crash, an older file under the same name is still intact.

    Raises:
        OutputError: The file cannot be written.
    """
    target = Path(path)
    where = Location(model=str(target))
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            torch.save({"format": FORMAT, "state": state}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"cannot be written: {error}",
            location=where,
            hint="check the permissions of the folder and the free disk space",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state that :func:`save_checkpoint` wrote; its tensors are on the CPU.

    Raises:
        BackendError: The file does not exist, is damaged, or has another format version.
    """
    where = Location(model=os.fspath(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BackendError("no such checkpoint", location=where, hint="check the path") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise BackendError(
            "not a checkpoint, or damaged", location=where, hint="start again without --resume"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BackendError(
            f"not a checkpoint of format {FORMAT}",
            location=where,
            hint="start again without --resume",
        )
    state: dict[str, Any] = content["state"]
    return state
