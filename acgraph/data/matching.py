"""Match arrays to the inputs of a network, and find their batch axes."""

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

#: Names of the arrays with which pixels are normalised.
PIXEL_NAMES = ("mean", "std")


@dataclass(frozen=True, slots=True)
class InputValues:
    """The values of one input for all examples.

    Attributes:
        values: The values in the network's layout, with the examples along ``axis``. If ``axis`` is
            None, they are one value for each example, ``[N, ...]``, or a single shared value.
        axis: The batch axis; None if a batch shares one value.
        is_shared: Whether all examples share one value.
    """

    values: Array
    axis: int | None
    is_shared: bool = False


def label_name(targets: Iterable[InputSpec]) -> str:
    """Return the name of the array of labels: ``y``, or ``labels`` if an input is named ``y``."""
    return "labels" if any(target.name == "y" for target in targets) else "y"


def check_names(names: Iterable[str], targets: Sequence[InputSpec], where: Location) -> None:
    """Check that there is an array for each input, and an input for each array.

    Raises:
        DataError: An array or an input is missing; the message describes it.
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
    """Describe an input by name, type and shape, for instance ``input 'ids', int64 [N, 128]``."""
    return f"input '{target.name}', {np.dtype(target.dtype)} {shape_text(target)}"


def shape_text(target: InputSpec) -> str:
    """Format the shape of an input, with ``N`` for its batch axis."""
    sizes = [str(size) if size not in (None, -1, 0, "") else "?" for size in target.shape]
    if target.axis is not None and sizes:
        sizes[target.axis] = "N"
    return f"[{', '.join(sizes)}]"


def match_arrays(
    arrays: Mapping[str, Array], targets: Sequence[InputSpec], count: int | None, where: Location
) -> tuple[dict[str, InputValues], int]:
    """Find the batch axis of the array of each input.

    The examples lie along the batch axis of the network's layout, for instance
    ``[layers, N, units]`` for a state, or along axis 0. An input whose value a batch shares has one
    value, or one for each example.

    Args:
        arrays: Arrays by the names of the inputs.
        targets: The inputs.
        count: The number of examples; if None, it is derived from the arrays.
        where: The location that messages name.

    Returns:
        The values of each input, and the number of examples.

    Raises:
        DataError: An array has another shape, or another number of examples.
    """
    if count is None:
        found = [_counts(arrays[target.name], target) for target in targets]
        several = [number for number in found if number is not None and number > 1]
        count = several[0] if several else 1
    return {t.name: _match(arrays[t.name], t, count, where) for t in targets}, count


def _counts(values: Array, target: InputSpec) -> int | None:
    rank = len(target.shape)
    if target.axis is None:
        return len(values) if values.ndim == rank + 1 else None
    if values.ndim == rank + 1:
        return len(values)
    return values.shape[target.axis] if values.ndim == rank and target.axis == 0 else None


def _match(values: Array, target: InputSpec, count: int, where: Location) -> InputValues:
    axis = target.axis
    found = (
        _shared(values, target, count) if axis is None else _batched(values, axis, target, count)
    )
    if found is None:
        raise DataError(
            f"array '{target.name}' has shape {list(values.shape)}, but the model takes "
            f"{describe(target)}, and there are {count} examples",
            location=where,
            hint="use the layout that the model expects, with one entry for each example",
        )
    return found


def _shared(values: Array, target: InputSpec, count: int) -> InputValues | None:
    """Match the values of an input whose value a batch shares; None if they do not fit."""
    rank = len(target.shape)
    if values.ndim == rank + 1 and len(values) == count and _fits(values.shape[1:], target):
        return InputValues(values, None)
    if values.ndim == rank and _fits(values.shape, target):
        return InputValues(values, None, is_shared=True)
    one = (1,) * rank
    return InputValues(values.reshape(one), None, is_shared=True) if values.size == 1 else None


def _batched(values: Array, axis: int, target: InputSpec, count: int) -> InputValues | None:
    """Match the values of an input with a batch axis; None if they do not fit."""
    rank = len(target.shape)
    is_native = values.ndim == rank and _fits(values.shape, target)
    if is_native and values.shape[axis] == count:
        return InputValues(values, axis)
    first = values
    if values.ndim == rank + 1 and values.shape[axis + 1] == 1:
        first = values.take(0, axis=axis + 1)  # each example is a batch of one
    if first.ndim == rank and len(first) == count:
        moved = np.moveaxis(first, 0, axis)
        if _fits(moved.shape, target):
            return InputValues(moved, axis)
    is_one = is_native and values.shape[axis] == 1
    return InputValues(values, axis, is_shared=True) if is_one else None


def _fits(shape: Sequence[int], target: InputSpec) -> bool:
    """Return whether a shape fits an input, apart from the number of examples."""
    if len(shape) != len(target.shape):
        return False
    pairs = enumerate(zip(shape, target.shape, strict=True))
    return all(
        i == target.axis or not checks.is_fixed(want) or have == want for i, (have, want) in pairs
    )


def check_kind(values: Array, dtype: "np.dtype[Any]", name: str, where: Location) -> None:
    """Check that values are of the input's kind: floats, integers or booleans.

    Raises:
        DataError: They are of another kind.
    """
    wanted = "f" if dtype.kind == "f" else "b" if dtype.kind == "b" else "iub"
    if values.dtype.kind in wanted:
        return
    kind = {"f": "floats", "b": "booleans"}.get(dtype.kind, "integers")
    raise DataError(
        f"{name} is {values.dtype}, but the model takes {dtype}",
        location=where,
        hint=f"give {kind} exactly as the network takes them"
        + (", or uint8 images N H W C" if kind == "floats" else ""),
    )
