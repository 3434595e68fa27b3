"""Checkpoints on disk: written whole or not at all, read without running code."""

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch

from acgraph.diagnostics import Location
from acgraph.errors import BackendError, OutputError

#: Changes when an older checkpoint can no longer be read.
FORMAT = 1


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers, strings and containers of them.

    The file appears complete under its name or does not change: a crash leaves the old one.

    Raises:
        OutputError: it cannot be written.
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
            hint="check the folder and the space left",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, onto the CPU.

    Raises:
        BackendError: there is none, it is damaged, or it is of another version of acgraph.
    """
    where = Location(model=os.fspath(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BackendError("no such checkpoint", location=where, hint="check the path") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise BackendError(
            "not a checkpoint, or damaged", location=where, hint="start again without it"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BackendError(
            f"not a checkpoint of format {FORMAT}", location=where, hint="start again without it"
        )
    state: dict[str, Any] = content["state"]
    return state
