"""``package.module:callable``: data from a Python function of the user."""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from acgraph.data.batch import Array
from acgraph.data.dataset import Dataset
from acgraph.diagnostics import Location, on_one_line
from acgraph.errors import DataError

T = TypeVar("T")

_SPEC = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
#: Largest total size of the items of an iterable, so that an endless one cannot fill the memory.
MAX_BYTES = 1 << 34


def is_callable_spec(spec: str) -> bool:
    """Return whether a data specification names a Python callable."""
    return _SPEC.match(spec) is not None


@dataclass(frozen=True, slots=True)
class Ragged:
    """Examples of different sizes.

    Attributes:
        examples: ``x`` of each example, without a batch axis, and its label or None.
    """

    examples: Sequence[tuple[Array, Array | None]]


def call_spec(spec: str, read: Callable[[Any], T]) -> Dataset | T:
    """Call the function that a specification names, and read its result.

    Args:
        spec: ``package.module:callable``; modules in the working folder are found, too.
        read: Converts a result that is not a Dataset.

    Returns:
        The result of the function if it is a Dataset, else the converted result.

    Raises:
        DataError: The function cannot be imported, or it fails.
    """
    where = Location(model=spec)
    function = _resolve(spec, where)
    try:
        result = function()
        if isinstance(result, Dataset):
            return result
        return read(result)
    except DataError:
        raise
    except SystemExit as error:
        raise _exited(error, where) from error
    except Exception as error:
        # Any exception of the user's code is an error of the data; the cause is chained.
        raise DataError(
            f"failed with {type(error).__name__}: {on_one_line(error)}",
            location=where,
            hint="run it on its own, or use --debug for a traceback",
        ) from error


def _exited(error: SystemExit, where: Location) -> DataError:
    """Return the error for user code that ends the process, which must not look like success."""
    return DataError(
        f"called sys.exit({error.code!r})",
        location=where,
        hint="raise an exception instead; the run is not finished",
    )


def _resolve(spec: str, where: Location) -> Callable[[], Any]:
    module_name, _, attribute = spec.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        target: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except SystemExit as error:
        raise _exited(error, where) from error
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"cannot be imported: {error}",
            location=where,
            hint="write package.module:callable; the module must be importable from the current "
            "folder",
        ) from error
    finally:
        sys.path.remove(folder)
    if not callable(target):
        raise DataError(
            f"is a {type(target).__name__}, not a callable",
            location=where,
            hint="name a function that returns an iterable of (x, y) or of x",
        )
    result: Callable[[], Any] = target
    return result


def collect(
    items: Iterable[Any], rank: int, where: Location
) -> Ragged | tuple[Array, Array | None]:
    """Concatenate the batches or examples of an iterable.

    Args:
        items: ``x`` or ``(x, y)``, each a batch or a single example.
        rank: Rank of the network's input with the batch axis, which distinguishes a batch from an
            example.
        where: The location that messages name.

    Returns:
        ``x [N, ...]`` and ``y [N, ...]`` or None; :class:`Ragged` if the sizes differ.

    Raises:
        DataError: The items do not fit together, or exceed ``MAX_BYTES``.
    """
    xs: list[Array] = []
    ys: list[Array] = []
    total_bytes = 0
    for number, item in enumerate(items):
        x, y = _as_batch(item, rank, number, where)
        xs.append(x)
        if y is not None:
            ys.append(y)
        total_bytes += x.nbytes
        if total_bytes > MAX_BYTES:
            raise DataError(
                f"yields more than {MAX_BYTES >> 30} GiB",
                location=where,
                hint="yield fewer examples, or return an acgraph.data.Dataset, which is read as "
                "needed",
            )
    if not xs:
        raise DataError("yields nothing", location=where, hint="yield at least one example")
    if ys and len(ys) != len(xs):
        raise DataError(
            f"yields labels for only {len(ys)} of {len(xs)} items",
            location=where,
            hint="give a label for each of them, or for none",
        )
    if len({x.dtype for x in xs}) > 1:
        raise DataError(
            "yields examples of different data types",
            location=where,
            hint="convert them to the data type that the network takes",
        )
    if len({x.shape[1:] for x in xs}) > 1:
        labels: Sequence[Array | None] = ys if ys else (None,) * len(xs)
        pairs = zip(xs, labels, strict=True)
        return Ragged(
            [(x[i], None if y is None else y[i]) for x, y in pairs for i in range(len(x))]
        )
    return np.concatenate(xs), np.concatenate(ys) if ys else None


def _as_batch(item: Any, rank: int, number: int, where: Location) -> tuple[Array, Array | None]:
    labelled = isinstance(item, tuple | list) and len(item) == 2
    x = np.asarray(item[0] if labelled else item)
    y = np.asarray(item[1]) if labelled else None
    if x.ndim == rank:
        return x, None if y is None else np.atleast_1d(y)
    if x.ndim == rank - 1:
        return x[None], None if y is None else y.reshape(1, *y.shape)
    raise DataError(
        f"item {number} has x of shape {list(x.shape)}, but the model takes {rank} dimensions "
        "including the batch",
        location=where,
        hint="yield (x, y) or x, as batches or as single examples",
    )
