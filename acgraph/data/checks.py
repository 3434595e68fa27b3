"""Checks of data against the network's inputs and classes, each with a one-line message."""

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from acgraph.data.batch import Array
from acgraph.diagnostics import Location
from acgraph.errors import DataError

#: Number of elements that are checked for NaN and infinity at once, to limit the memory.
_CHUNK = 1 << 24


class InputSpec(NamedTuple):
    """One input of a network.

    Attributes:
        name: Its name in the graph.
        shape: Its sizes; anything but a positive int stands for a dynamic dimension.
        dtype: Element type.
        axis: The batch axis; None if the whole batch shares one value.
        values: The values of generated integers: all below a number, or one of several numbers.
            None if unknown.
        is_state: Whether it is a recurrent state, which the network also returns.
    """

    name: str
    shape: Sequence[int | str | None]
    dtype: npt.DTypeLike
    axis: int | None = 0
    values: int | tuple[int, ...] | None = None
    is_state: bool = False


def format_shape(shape: Sequence[int | str | None]) -> str:
    """Format a shape, with ``N`` for its first axis.

    >>> format_shape((1, 3, 32, "width"))
    '[N, 3, 32, width]'
    """
    rest = [str(s) if s not in (None, -1, 0, "") else "?" for s in shape[1:]]
    return "[" + ", ".join(["N", *rest]) + "]"


def is_fixed(size: int | str | None) -> TypeGuard[int]:
    """Return whether the size of an axis is fixed."""
    return isinstance(size, int) and size > 0


def check_shape(shape: Sequence[int], spec: InputSpec, where: Location, what: str = "x") -> None:
    """Check the shape of a batch in the network's own layout.

    Raises:
        DataError: It does not fit the input.
    """
    same_rank = len(shape) == len(spec.shape)
    pairs = zip(shape[1:], spec.shape[1:], strict=False)
    if same_rank and all(not is_fixed(want) or have == want for have, want in pairs):
        return
    raise DataError(
        f"{what} has shape {format_shape(tuple(shape))}, but input '{spec.name}' of the model "
        f"takes {format_shape(spec.shape)}",
        location=where,
        hint="convert the data, or select other arrays",
    )


def check_finite(x: Array, where: Location, what: str = "x") -> None:
    """Check that floats contain no NaN and no infinity.

    Raises:
        DataError: They do; the message names the first example.
    """
    if not np.issubdtype(x.dtype, np.floating):
        return
    step = max(1, _CHUNK // max(1, x[:1].size))
    for start in range(0, len(x), step):
        bad = ~np.isfinite(x[start : start + step])
        if bad.any():
            row = start + int(np.argwhere(bad)[0][0])
            raise DataError(
                f"{what} holds {int(bad.sum())} NaN or infinite values, the first in example {row}",
                location=where,
                hint="remove or repair those examples",
            )


def check_count(count: int, where: Location) -> None:
    """Check that there is at least one example.

    Raises:
        DataError: There is none.
    """
    if count == 0:
        raise DataError("holds no examples", location=where, hint="give at least one example")


def are_class_numbers(labels: Array) -> bool:
    """Return whether labels are one class number for each example, ``[N]`` or ``[N, 1]``."""
    is_one_each = labels.ndim == 1 or (labels.ndim == 2 and labels.shape[1] == 1)
    return is_one_each and np.issubdtype(labels.dtype, np.integer)


def check_labels(labels: Array, count: int, classes: int | None, where: Location) -> Array:
    """Check and convert labels.

    The format of labels that are not class numbers depends on the task, see
    `acgraph.tasks.labelled`.

    Args:
        labels: Class numbers ``[N]`` or ``[N, 1]``, or an array ``[N, ...]`` of numbers.
        count: The number of examples.
        classes: The number of classes of the network; None if unknown.
        where: The location that the message names.

    Returns:
        Class numbers as ``int64 [N]``; other labels as ``int64`` or ``float32``, in their shape.

    Raises:
        DataError: They are not numbers, their count is wrong, or a class is out of range.
    """
    if labels.ndim == 0 or labels.dtype.kind not in "iufb":
        raise DataError(
            f"y is {labels.dtype} {list(labels.shape)}, but labels must be numbers for each "
            "example",
            location=where,
            hint="give one class number for each example, or an array [N, ...] of numbers",
        )
    if len(labels) != count:
        raise DataError(
            f"x has {count} examples, but y has {len(labels)}",
            location=where,
            hint="give one label for each example",
        )
    if not are_class_numbers(labels):
        check_finite(labels, where, "y")
        return labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64)
    y = labels.reshape(-1)
    check_label_range(y, classes, where)
    return y.astype(np.int64)


def check_label_range(y: Array, classes: int | None, where: Location) -> None:
    """Check that class numbers are at least 0 and below the number of classes.

    Raises:
        DataError: One is not.
    """
    low, high = int(y.min()), int(y.max())
    if low < 0 or (classes is not None and high >= classes):
        top = "" if classes is None else f" to {classes - 1}"
        raise DataError(
            f"labels run from {low} to {high}, but the model's classes are 0{top}",
            location=where,
            hint="number the classes from 0 in the order of the model's outputs",
        )


def check_has_classes(shape: Sequence[int] | None, where: Location) -> None:
    """Check that the first output of a network has the shape ``[N, classes]``.

    Raises:
        DataError: It has another shape or fewer than two classes, or its shape is unknown.
    """
    if shape is not None and len(shape) == 2 and shape[1] > 1:
        return
    found = "of unknown shape" if shape is None else format_shape(shape) if shape else "one number"
    raise DataError(
        f"labels need an output [N, classes], but the model's first output is {found}",
        location=where,
        hint="give data without labels, so that the network learns from the original model",
    )
