"""Arrays of a file: ``file.npz``, ``file.npz#x_train,y_train`` and ``file.npz#x[:100],y[:100]``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acgraph.data.batch import Array
from acgraph.data.dataset import Indices
from acgraph.data.files import opened_arrays
from acgraph.diagnostics import Location
from acgraph.errors import DataError

_NAME = re.compile(r"^(?P<name>[^\[\],]+?)(?:\[(?P<slice>[-0-9:]*)\])?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """The arrays of a dataset with one input.

    Attributes:
        x: Examples ``[N, ...]``.
        y: Labels ``[N, ...]``.
        mean: Mean of the pixels after scaling.
        std: Standard deviation of the pixels after scaling.
    """

    x: Array
    y: Array | None = None
    mean: Array | None = None
    std: Array | None = None


def select_arrays(spec: str, input_name: str = "x") -> Arrays:
    """Read the arrays that a specification names, by default ``x`` and, if it exists, ``y``.

    Args:
        spec: The file, and optionally arrays and slices after ``#``.
        input_name: Name of the network's input, which may replace ``x``.

    Raises:
        DataError: The file or an array does not exist or cannot be read, or a slice is invalid.
    """
    path, _, selection = spec.partition("#")
    with opened_arrays(path) as archive:
        return _pick(archive, selection, input_name, Location(model=path))


def selected_rows(spec: str) -> tuple[Path, str, Indices]:
    """Return the examples that a specification selects: file, name of the array, and rows.

    Args:
        spec: A specification that was read without an error.
    """
    path, _, selection = spec.partition("#")
    text = _split(selection)[0] if selection else "x"
    where = Location(model=path)
    match = _NAME.match(text)
    name, bounds = (match["name"], match["slice"]) if match is not None else (text, None)
    with opened_arrays(path) as archive:
        arrays = [archive[name]] if name in archive else list(map(archive.__getitem__, archive))
    rows = np.arange(max((len(a) for a in arrays if a.ndim), default=1), dtype=np.int64)
    if is_slice(selection):
        return Path(path).resolve(), "x", rows[whole_slice(spec)]
    return Path(path).resolve(), name, rows if bounds is None else rows[_slice(bounds, text, where)]


def is_slice(selection: str) -> bool:
    """Return whether the text after ``#`` is a slice of all arrays, such as ``[:100]``."""
    return selection.startswith("[") and selection.endswith("]")


def whole_slice(spec: str) -> slice:
    """Return the slice of all arrays that a specification selects, as in ``file.npz#[:100]``.

    Raises:
        DataError: The text after ``#`` is not a slice.
    """
    path, _, selection = spec.partition("#")
    where = Location(model=path)
    if not selection:
        return slice(None)
    if not is_slice(selection):
        raise DataError(
            f"'{selection}' selects arrays by name, but the arrays for several inputs are "
            "matched by the names of the inputs",
            location=where,
            hint="select only examples: FILE.npz#[start:stop]",
        )
    return _slice(selection[1:-1], selection, where)


def _pick(archive: Mapping[str, Array], selection: str, input_name: str, where: Location) -> Arrays:
    own = input_name if input_name in archive and "x" not in archive else "x"
    labels = ["y"] if "y" in archive and own != "y" else []
    names = _split(selection) if selection else [own, *labels]
    if len(names) > 2:
        raise DataError(
            f"{len(names)} arrays are named after '#'",
            location=where,
            hint="name one array of examples and one of labels: #x,y",
        )
    arrays = [_read(archive, name, where) for name in names]
    return Arrays(
        x=arrays[0],
        y=arrays[1] if len(arrays) == 2 else None,
        mean=archive.get("mean"),
        std=archive.get("std"),
    )


def _split(selection: str) -> list[str]:
    return [part.strip() for part in selection.split(",")]


def _read(archive: Mapping[str, Array], text: str, where: Location) -> Array:
    match = _NAME.match(text)
    if match is None:
        raise DataError(
            f"cannot read the selection '{text}'",
            location=where,
            hint="write NAME or NAME[start:stop]",
        )
    name, bounds = match["name"], match["slice"]
    if name not in archive:
        raise DataError(
            f"has no array '{name}', only {', '.join(archive)}",
            location=where,
            hint=f"name the arrays as {where.model}#EXAMPLES,LABELS",
        )
    array = archive[name]
    if array.ndim == 0:
        raise DataError(
            f"array '{name}' is a single number", location=where, hint="give an array [N, ...]"
        )
    if bounds is None:
        return array
    # The copy frees the rest of the array.
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
