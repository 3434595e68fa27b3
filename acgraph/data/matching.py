"""Which arrays are for which inputs of a network, and how the examples lie in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from acgraph.data import checks
from acgraph.data.batch import Array
from acgraph.data.checks import InputSpec
from acgraph.diagnostics import Location
from acgraph.errors import DataError

#: Arrays that say how pixels are normalised.
PIXEL_NAMES = ("mean", "std")


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one input for all examples.

    Attributes:
        values: As the network takes them, the examples along ``axis``; where that is None, of all
            examples, ``[N, ...]``, or of none in particular.
        axis: Where the examples lie.
        is_shared: Whether one value is for all examples.
    """

    values: Array
    axis: int | None
    is_shared: bool = False


def label_name(targets: Iterable[InputSpec]) -> str:
    """Return what labels are called: ``y``, or ``labels`` where an input has that name."""
    return "labels" if any(target.name == "y" for target in targets) else "y"


def check_names(names: Iterable[str], targets: Sequence[InputSpec], where: Location) -> None:
    """Check that there is an array for every input, and an input for every array.

    Raises:
        DataError: there is not; what is missing is named with its shape and type.
    """
    given, known = set(names), [target.name for target in targets]
    extra = sorted(given - set(known) - {label_name(targets), *PIXEL_NAMES})
    missing = [target for target in targets if target.name not in given]
    described = ", ".join(describe(target) for target in missing)
    if extra:
        near = get_close_matches(extra[0], [target.name for target in missing] or known, 1, 0.5)
        raise DataError(
            f"array '{extra[0]}' does not belong to any input of the model"
            + (f"; an array is missing for {described}" if missing else ""),
            location=where,
            hint=f"did you mean '{near[0]}'?" if near else f"the inputs are {', '.join(known)}",
        )
    if missing:
        raise DataError(
            f"an array is missing for {described}",
            location=where,
            hint="give an array for each input of the model, under the name of the input",
        )


def describe(target: InputSpec) -> str:
    """Describe an input with its shape and type, as ``input 'ids', int64 [N, 128]``."""
    return f"input '{target.name}', {np.dtype(target.dtype)} {shape_text(target)}"


def shape_text(target: InputSpec) -> str:
    """Write the shape of an input, ``N`` where the examples lie."""
    sizes = [str(size) if size not in (None, -1, 0, "") else "?" for size in target.shape]
    if target.axis is not None and sizes:
        sizes[target.axis] = "N"
    return f"[{', '.join(sizes)}]"


def columns(
    arrays: Mapping[str, Array], targets: Sequence[InputSpec], count: int | None, where: Location
) -> tuple[dict[str, Column], int]:
    """Find out how the examples lie in the array of each input.

    An array has the layout that the network takes, ``[layers, N, units]`` for a state, or the
    examples first. A value that the whole batch shares is given once, or once for each example.

    Args:
        arrays: By the names of the inputs.
        targets: The inputs.
        count: How many examples there are; None where only the arrays tell.
        where: What to name in messages.

    Returns:
        The columns, and how many examples there are.

    Raises:
        DataError: an array is of another shape, or has another number of examples.
    """
    if count is None:
        found = [_counts(arrays[target.name], target) for target in targets]
        several = [number for number in found if number is not None and number > 1]
        count = several[0] if several else 1
    return {t.name: _column(arrays[t.name], t, count, where) for t in targets}, count


def _counts(values: Array, target: InputSpec) -> int | None:
    rank = len(target.shape)
    if target.axis is None:
        return len(values) if values.ndim == rank + 1 else None
    if values.ndim == rank + 1:
        return len(values)
    return values.shape[target.axis] if values.ndim == rank and target.axis == 0 else None


def _column(values: Array, target: InputSpec, count: int, where: Location) -> Column:
    axis = target.axis
    found = (
        _shared(values, target, count) if axis is None else _batched(values, axis, target, count)
    )
    if found is None:
        raise DataError(
            f"array '{target.name}' has shape {list(values.shape)}, but the model takes "
            f"{describe(target)}, and there are {count} examples",
            location=where,
            hint="use the layout that the model takes, with one entry for each example",
        )
    return found


def _shared(values: Array, target: InputSpec, count: int) -> Column | None:
    """Take the values of an input that a whole batch shares."""
    rank = len(target.shape)
    if values.ndim == rank + 1 and len(values) == count and _fits(values.shape[1:], target):
        return Column(values, None)
    if values.ndim == rank and _fits(values.shape, target):
        return Column(values, None, is_shared=True)
    one = (1,) * rank
    return Column(values.reshape(one), None, is_shared=True) if values.size == 1 else None


def _batched(values: Array, axis: int, target: InputSpec, count: int) -> Column | None:
    """Take the values of an input along whose axis the examples of a batch lie."""
    rank = len(target.shape)
    is_native = values.ndim == rank and _fits(values.shape, target)
    if is_native and values.shape[axis] == count:
        return Column(values, axis)
    first = values
    if values.ndim == rank + 1 and values.shape[axis + 1] == 1:
        first = values.take(0, axis=axis + 1)  # each example is a batch of one
    if first.ndim == rank and len(first) == count:
        moved = np.moveaxis(first, 0, axis)
        if _fits(moved.shape, target):
            return Column(moved, axis)
    is_one = is_native and values.shape[axis] == 1
    return Column(values, axis, is_shared=True) if is_one else None


def _fits(shape: Sequence[int], target: InputSpec) -> bool:
    """Whether sizes are those of an input, but for the number of examples."""
    if len(shape) != len(target.shape):
        return False
    pairs = enumerate(zip(shape, target.shape, strict=True))
    return all(
        i == target.axis or not checks.is_fixed(want) or have == want for i, (have, want) in pairs
    )


def check_kind(values: Array, dtype: "np.dtype[Any]", name: str, where: Location) -> None:
    """Check that numbers are of the kind that an input takes: floats, integers, or truth values.

    Raises:
        DataError: they are not.
    """
    wanted = "f" if dtype.kind == "f" else "b" if dtype.kind == "b" else "iub"
    if values.dtype.kind in wanted:
        return
    kind = {"f": "floats", "b": "truth values"}.get(dtype.kind, "integers")
    raise DataError(
        f"{name} is {values.dtype}, but the model takes {dtype}",
        location=where,
        hint=f"give {kind} exactly as the network takes them"
        + (", or uint8 images N H W C" if kind == "floats" else ""),
    )
