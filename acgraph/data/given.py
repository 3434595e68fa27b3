"""Data that a Python program holds: arrays, data sets, loaders, batches.

Options name their data by a text, and a run stores its options. Objects stand beside them under a
name while a function of the package runs; `acgraph.data.load_dataset` looks there first.
"""

import contextlib
import contextvars
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from acgraph.data.batch import Array
from acgraph.data.callables import collect
from acgraph.data.dataset import Dataset
from acgraph.diagnostics import Location
from acgraph.errors import DataError, UsageError

_NOTHING: Mapping[str, object] = MappingProxyType({})
_given = contextvars.ContextVar("given", default=_NOTHING)


@dataclass(frozen=True, slots=True)
class GivenArrays:
    """Arrays as an ``.npz`` file may hold them."""

    x: Array
    y: Array | None = None
    mean: Array | None = None
    std: Array | None = None


@contextlib.contextmanager
def holding(objects: Mapping[str, object]) -> Iterator[dict[str, str]]:
    """Hold data while a block runs; return, by the same names, what options call it.

    A text is a specification of its own and is returned as it is.

    Args:
        objects: Data by the name of the option, those that are None left out.
    """
    named = {name: value if isinstance(value, str) else f"<{name}>" for name, value in
             objects.items() if value is not None}  # fmt: skip
    mine = {named[name]: objects[name] for name in named if not isinstance(objects[name], str)}
    token = _given.set({**_given.get(), **mine})
    try:
        yield named
    finally:
        _given.reset(token)


def is_given(spec: str) -> bool:
    """Whether an object is held under this name."""
    return spec in _given.get()


def read_given(spec: str, rank: int) -> Dataset | GivenArrays:
    """Return what is held under a name as a data set or as arrays.

    Args:
        spec: The name.
        rank: Rank of the network's input, batch axis included: it tells a batch from a sample.

    Raises:
        UsageError: it is nothing that data can be read from.
        DataError: its items do not fit together.
    """
    value = _given.get()[spec]
    where = Location(model=spec)
    if callable(value) and not hasattr(value, "__iter__") and not hasattr(value, "__getitem__"):
        value = value()
    if isinstance(value, Dataset):
        return value
    if isinstance(value, Mapping):
        return _from_mapping(value, where)
    if isinstance(value, tuple) and len(value) == 2 and all(map(_is_array, value)):
        return GivenArrays(_array(value[0]), _array(value[1]))
    if _is_array(value):
        return GivenArrays(_array(value))
    return GivenArrays(*collect(_items(value, where), rank, where))


def _is_array(value: object) -> bool:
    """Whether numpy reads a value as an array: its own, and tensors of other libraries."""
    return hasattr(value, "__array__")


def _array(value: Any) -> Array:
    # A tensor that belongs to a graph of gradients refuses to be read.
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _from_mapping(value: Mapping[Any, Any], where: Location) -> GivenArrays:
    unknown = sorted(str(key) for key in value if key not in ("x", "y", "mean", "std"))
    if "x" not in value or unknown:
        what = f"has '{unknown[0]}'" if unknown else "has no 'x'"
        raise DataError(what, location=where, hint="name the arrays x, y, mean and std")
    parts = {key: _array(part) if _is_array(part) else np.asarray(part)
             for key, part in value.items()}  # fmt: skip
    return GivenArrays(**parts)


def _items(value: Any, where: Location) -> Iterable[Any]:
    """Yield the batches or examples of an iterable, or of a data set read by number."""
    if hasattr(value, "__getitem__") and hasattr(value, "__len__"):
        return (_plain(value[index]) for index in range(len(value)))
    if hasattr(value, "__iter__"):
        return map(_plain, value)
    raise UsageError(
        f"a {type(value).__name__} is not data",
        location=where,
        hint="give arrays, (x, y), a data set, a loader, an iterable of batches, or a text such as "
        "'train.npz'",
    )


def _plain(item: Any) -> Any:
    """Make an item of arrays: ``x``, or ``(x, y)``."""
    if isinstance(item, Mapping) and "x" in item:
        item = (item["x"], item["y"]) if "y" in item else (item["x"],)
    if isinstance(item, tuple | list) and len(item) in (1, 2):
        parts = [_array(part) if _is_array(part) else np.asarray(part) for part in item]
        return parts[0] if len(parts) == 1 else tuple(parts)
    return _array(item) if _is_array(item) else item
