"""Fingerprints of data: hashes of all of it, or of a sample if it is too large."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.diagnostics import Location, counted
from acgraph.errors import DataError

#: Largest number of bytes that are hashed; this takes one to two seconds for arrays in memory.
LIMIT = 1 << 31
_CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A hash of data.

    Attributes:
        digest: The hash, in hexadecimal digits.
        note: A sentence about the parts that the hash does not cover; empty if it covers all.
    """

    digest: str
    note: str = ""


def digest_of(*parts: str | bytes) -> str:
    """Hash texts and bytes, together with the length of each part."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)} ".encode())
        digest.update(data)
    return digest.hexdigest()


def file_digest(path: Path, limit: int | None = None) -> str:
    """Hash the content of a file, or its first ``limit`` bytes.

    Raises:
        OSError: The file cannot be read.
    """
    digest, left = hashlib.sha256(), math.inf if limit is None else limit
    with path.open("rb") as stream:
        while left > 0 and (data := stream.read(int(min(_CHUNK, left)))):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()


def of_array(x: npt.NDArray[Any], *, limit: int = LIMIT) -> Fingerprint:
    """Hash an array, or evenly spaced rows of it if it is larger than a limit.

    Args:
        x: The array ``[N, ...]``.
        limit: Largest number of bytes that are hashed.
    """
    digest = hashlib.sha256(f"{x.dtype.str} {x.shape}".encode())
    row_bytes = max(1, x.nbytes // max(1, len(x)))
    count = min(len(x), max(1, limit // row_bytes))
    step = max(1, _CHUNK // row_bytes)
    for start in range(0, count, step):
        rows = np.arange(start, min(start + step, count), dtype=np.int64)
        part = x[start : start + step] if count == len(x) else x[rows * len(x) // count]
        digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
    return Fingerprint(digest.hexdigest(), _sample_note(count, len(x), "example"))


def of_files(files: Sequence[Path], root: Path, *, limit: int = LIMIT) -> Fingerprint:
    """Hash the names and contents of files.

    If the contents are larger than a limit, the hash covers the names, sizes, modification times,
    and the beginning of each file.

    Args:
        files: The files.
        root: The folder that their names are relative to.
        limit: Largest number of bytes that are read.

    Raises:
        DataError: A file cannot be read.
    """
    digest, total = hashlib.sha256(), 0
    try:
        states = [file.stat() for file in files]
        total = sum(state.st_size for state in states)
        each = None if total <= limit else limit // max(1, len(files))
        for file, state in zip(files, states, strict=True):
            name, content = file.relative_to(root).as_posix(), file_digest(file, each)
            changed = "" if each is None else str(state.st_mtime_ns)
            digest.update(digest_of(name, str(state.st_size), changed, content).encode())
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}",
            location=Location(model=str(error.filename or root)),
            hint="check the file",
        ) from error
    note = "" if total <= limit else _files_note(len(files), limit / total)
    return Fingerprint(digest.hexdigest(), note)


def _files_note(count: int, share: float) -> str:
    return (
        "when the run is resumed, only the names, sizes, modification times and "
        f"{100 * share:.0f} % of the content of {counted(count, 'file')} are compared"
    )


def _sample_note(count: int, total: int, noun: str) -> str:
    if count == total:
        return ""
    return f"only {count} of {counted(total, noun)} are compared when the run is resumed"
