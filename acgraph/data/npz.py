"""``file.npz``, ``file.npz#x_train,y_train`` and ``file.npz#x[:100],y[:100]``."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acgraph.data.batch import Array
from acgraph.data.dataset import Indices
from acgraph.diagnostics import Location
from acgraph.errors import DataError

_NAME = re.compile(r"^(?P<name>[^\[\],]+?)(?:\[(?P<slice>[-0-9:]*)\])?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """What an npz file holds for us."""

    x: Array
    y: Array | None = None
    mean: Array | None = None
    std: Array | None = None


def is_npz(spec: str) -> bool:
    """Tell whether a data specification names an npz file."""
    return spec.partition("#")[0].endswith(".npz")


def read_npz(spec: str) -> Arrays:
    """Read the arrays that a specification names: ``x`` and, where it exists, ``y`` by default.

    Raises:
        DataError: no such file, not an npz file, no such array, a bad slice.
    """
    path, _, selection = spec.partition("#")
    where = Location(model=path)
    if not Path(path).is_file():
        raise DataError("no such file", location=where, hint="give the path of an .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _pick(archive, selection, where)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise DataError(
            f"not a readable .npz file: {error}",
            location=where,
            hint="write it with numpy.savez, without Python objects",
        ) from error


def selected_rows(spec: str) -> tuple[Path, str, Indices]:
    """Say which rows of which array of which file a readable specification takes as examples."""
    path, _, selection = spec.partition("#")
    text = _split(selection)[0] if selection else "x"
    where = Location(model=path)
    match = _NAME.match(text)
    name, bounds = (match["name"], match["slice"]) if match is not None else (text, None)
    with np.load(path, allow_pickle=False) as archive:
        rows = np.arange(len(archive[name]), dtype=np.int64)
    return Path(path).resolve(), name, rows if bounds is None else rows[_slice(bounds, text, where)]


def _pick(archive: "np.lib.npyio.NpzFile", selection: str, where: Location) -> Arrays:
    names = _split(selection) if selection else ["x", *(["y"] if "y" in archive.files else [])]
    if len(names) > 2:
        raise DataError(
            f"{len(names)} arrays are named after '#'",
            location=where,
            hint="name one for the examples and one for the labels: #x,y",
        )
    arrays = [_read(archive, name, where) for name in names]
    return Arrays(
        x=arrays[0],
        y=arrays[1] if len(arrays) == 2 else None,
        mean=archive["mean"] if "mean" in archive.files else None,
        std=archive["std"] if "std" in archive.files else None,
    )


def _split(selection: str) -> list[str]:
    return [part.strip() for part in selection.split(",")]


def _read(archive: "np.lib.npyio.NpzFile", text: str, where: Location) -> Array:
    match = _NAME.match(text)
    if match is None:
        raise DataError(
            f"cannot read the selection '{text}'",
            location=where,
            hint="write NAME or NAME[start:stop]",
        )
    name, bounds = match["name"], match["slice"]
    if name not in archive.files:
        raise DataError(
            f"holds no array '{name}', only {', '.join(archive.files)}",
            location=where,
            hint=f"name the arrays: {where.model}#EXAMPLES,LABELS",
        )
    array = archive[name]
    if array.ndim == 0:
        raise DataError(f"array '{name}' is a single number", location=where, hint="give [N, ...]")
    if bounds is None:
        return array
    # The copy lets go of the rest of the array.
    return array[_slice(bounds, text, where)].copy()


def _slice(bounds: str, text: str, where: Location) -> slice:
    parts = bounds.split(":")
    try:
        numbers = [int(part) if part else None for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] == 0):
        raise DataError(
            f"cannot read the slice of '{text}'",
            location=where,
            hint="write NAME[start:stop] or NAME[start:stop:step]",
        )
    return slice(*numbers)
