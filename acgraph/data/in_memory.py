"""Data as Python objects: arrays, datasets, loaders, iterables of batches.

The options of a run contain only strings, because they are stored. An object is therefore
registered under a name while a function of the API runs, and the options contain that name.
`acgraph.data.load_dataset` looks up registered names first.
"""

import contextlib
import contextvars
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from acgraph.data.batch import array_of
from acgraph.data.callables import Ragged, collect
from acgraph.data.checks import InputSpec
from acgraph.data.dataset import Dataset
from acgraph.data.selection import Arrays
from acgraph.diagnostics import Location
from acgraph.errors import DataError, UsageError

_NOTHING: Mapping[str, object] = MappingProxyType({})
_registered = contextvars.ContextVar("registered", default=_NOTHING)


@contextlib.contextmanager
def registered_data(objects: Mapping[str, object]) -> Iterator[dict[str, str]]:
    """Register data during a ``with`` block.

    Args:
        objects: Data by the name of the option; entries that are None are ignored.

    Yields:
        The value of each option: the name of a registered object, or the string that was passed.
    """
    named = {name: value if isinstance(value, str) else f"<{name}>" for name, value in
             objects.items() if value is not None}  # fmt: skip
    added = {named[name]: objects[name] for name in named if not isinstance(objects[name], str)}
    token = _registered.set({**_registered.get(), **added})
    try:
        yield named
    finally:
        _registered.reset(token)


def is_registered(spec: str) -> bool:
    """Return whether an object is registered under this name."""
    return spec in _registered.get()


def registered_value(spec: str) -> Any:
    """Return the object that is registered under a name; a function is called first."""
    value = _registered.get()[spec]
    if callable(value) and not hasattr(value, "__iter__") and not hasattr(value, "__getitem__"):
        return value()
    return value


def read_registered(spec: str, target: InputSpec) -> Dataset | Arrays | Ragged:
    """Return the data that is registered under a name as a dataset or as arrays.

    Args:
        spec: The name.
        target: The network's input, whose rank distinguishes a batch from an example.

    Raises:
        UsageError: The object is not data.
        DataError: Its items do not fit together.
    """
    value = registered_value(spec)
    where = Location(model=spec)
    if isinstance(value, Dataset):
        return value
    if isinstance(value, Mapping):
        return _from_mapping(value, target.name, where)
    if isinstance(value, tuple) and len(value) == 2 and all(map(is_array, value)):
        return Arrays(x=array_of(value[0]), y=array_of(value[1]))
    if is_array(value):
        return Arrays(x=array_of(value))
    plain = (_plain(item, target.name) for item in items_of(value, where))
    found = collect(plain, len(target.shape), where)
    return found if isinstance(found, Ragged) else Arrays(x=found[0], y=found[1])


def is_array(value: object) -> bool:
    """Return whether NumPy can convert a value to an array, such as a tensor of another library."""
    return hasattr(value, "__array__")


def _from_mapping(value: Mapping[Any, Any], name: str, where: Location) -> Arrays:
    if "x" not in value and name in value:
        value = {("x" if key == name else key): part for key, part in value.items()}
    unknown = sorted(str(key) for key in value if key not in ("x", "y", "mean", "std"))
    if "x" not in value or unknown:
        what = f"has an array '{unknown[0]}' of unknown meaning" if unknown else "has no array 'x'"
        raise DataError(what, location=where, hint="use the names x, y, mean and std")
    return Arrays(**{key: array_of(part) for key, part in value.items()})


def items_of(value: Any, where: Location) -> Iterable[Any]:
    """Return the batches or examples of an iterable, or of a sequence that is read by index.

    Raises:
        UsageError: The value is neither.
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
    """Convert an item to arrays: ``x``, or ``(x, y)``."""
    if isinstance(item, Mapping) and ("x" in item or name in item):
        x = item["x"] if "x" in item else item[name]
        item = (x, item["y"]) if "y" in item and name != "y" else (x,)
    if isinstance(item, tuple | list) and len(item) in (1, 2):
        parts = [array_of(part) for part in item]
        return parts[0] if len(parts) == 1 else tuple(parts)
    return array_of(item) if is_array(item) else item
