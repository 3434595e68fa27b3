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

from acgraph.data.batch import Array, array_of
from acgraph.data.callables import Ragged, collect
from acgraph.data.checks import InputSpec
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


def given_value(spec: str) -> Any:
    """Return what is held under a name; what a function returns where it is one."""
    value = _given.get()[spec]
    if callable(value) and not hasattr(value, "__iter__") and not hasattr(value, "__getitem__"):
        return value()
    return value


def read_given(spec: str, target: InputSpec) -> Dataset | GivenArrays | Ragged:
    """Return what is held under a name as a data set or as arrays.

    Args:
        spec: The name.
        target: The network's input, whose rank tells a batch from a sample.

    Raises:
        UsageError: it is nothing that data can be read from.
        DataError: its items do not fit together.
    """
    value = given_value(spec)
    where = Location(model=spec)
    if isinstance(value, Dataset):
        return value
    if isinstance(value, Mapping):
        return _from_mapping(value, target.name, where)
    if isinstance(value, tuple) and len(value) == 2 and all(map(is_array, value)):
        return GivenArrays(array_of(value[0]), array_of(value[1]))
    if is_array(value):
        return GivenArrays(array_of(value))
    plain = (_plain(item, target.name) for item in items_of(value, where))
    found = collect(plain, len(target.shape), where)
    return found if isinstance(found, Ragged) else GivenArrays(*found)


def is_array(value: object) -> bool:
    """Whether numpy reads a value as an array: its own, and tensors of other libraries."""
    return hasattr(value, "__array__")


def _from_mapping(value: Mapping[Any, Any], name: str, where: Location) -> GivenArrays:
    if "x" not in value and name in value:
        value = {("x" if key == name else key): part for key, part in value.items()}
    unknown = sorted(str(key) for key in value if key not in ("x", "y", "mean", "std"))
    if "x" not in value or unknown:
        what = f"has an array '{unknown[0]}' of unknown meaning" if unknown else "has no array 'x'"
        raise DataError(what, location=where, hint="use the names x, y, mean and std")
    return GivenArrays(**{key: array_of(part) for key, part in value.items()})


def items_of(value: Any, where: Location) -> Iterable[Any]:
    """Yield the batches or examples of an iterable, or of a data set read by number.

    Raises:
        UsageError: it is neither.
    """
    if hasattr(value, "__getitem__") and hasattr(value, "__len__"):
        return (value[index] for index in range(len(value)))
    if hasattr(value, "__iter__"):
        items: Iterable[Any] = value
        return items
    raise UsageError(
        f"a {type(value).__name__} is not data",
        location=where,
        hint="give arrays, (x, y), a Dataset, a DataLoader, an iterable of batches, or a string "
        "such as 'train.npz'",
    )


def _plain(item: Any, name: str) -> Any:
    """Make an item of arrays: ``x``, or ``(x, y)``."""
    if isinstance(item, Mapping) and ("x" in item or name in item):
        x = item["x"] if "x" in item else item[name]
        item = (x, item["y"]) if "y" in item and name != "y" else (x,)
    if isinstance(item, tuple | list) and len(item) in (1, 2):
        parts = [array_of(part) for part in item]
        return parts[0] if len(parts) == 1 else tuple(parts)
    return array_of(item) if is_array(item) else item
