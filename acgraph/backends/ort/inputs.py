"""Values for the inputs of a session: sizes for what is dynamic, random numbers that make sense."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from acgraph.backends.ort.session import TensorInfo
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, UsageError
from acgraph.ir import Array
from acgraph.ir.shapes import DEFAULT_IMAGE, DEFAULT_OTHER

#: Random values of 16-bit and wider integers are below this: they are mostly indices into tables
#: and masks, and every table has two rows.
INTEGER_BOUND = 2


class TakesInputs(Protocol):
    """A session, or whatever else knows what the inputs of a model are."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Each input."""

    @property
    def source(self) -> str:
        """What the model is called in messages."""


def input_shapes(
    session: TakesInputs, *, batch: int = 1, dims: Mapping[str, int] | None = None
) -> dict[str, tuple[int, ...]]:
    """Choose a size for every axis of every input.

    A symbolic size gets the same number wherever it occurs.

    Args:
        session: The session.
        batch: Size of a dynamic axis 0.
        dims: Sizes by the symbolic name of the axis, or by ``"input:axis"``.
    """
    symbols = dict(dims or {})
    return {info.name: _shape(info, batch, symbols) for info in session.inputs}


def _shape(info: TensorInfo, batch: int, symbols: dict[str, int]) -> tuple[int, ...]:
    shape = []
    for axis, size in enumerate(info.shape):
        if isinstance(size, int):
            shape.append(size)
            continue
        image = len(info.shape) == 4 and axis >= 2
        number = batch if axis == 0 else DEFAULT_IMAGE if image else DEFAULT_OTHER
        if size:
            number = symbols.setdefault(size, number)
        shape.append(symbols.get(f"{info.name}:{axis}", number))
    return tuple(shape)


def dims_from_shapes(session: TakesInputs, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Turn whole shapes of inputs into sizes by ``"input:axis"``, as ``input_shapes`` takes them.

    Raises:
        UsageError: no such input, or the model fixes another size or rank.
    """
    known = {info.name: info for info in session.inputs}
    dims: dict[str, int] = {}
    for name, shape in shapes.items():
        where = Location(model=session.source, value=name)
        if name not in known:
            hint = f"the inputs are {', '.join(known) or 'none'}"
            raise UsageError("no such input", location=where, hint=hint)
        declared = known[name].shape
        text = "x".join(str(size) if size is not None else "?" for size in declared)
        pairs = zip(declared, shape, strict=False)
        if len(declared) != len(shape) or any(isinstance(d, int) and d != s for d, s in pairs):
            raise UsageError(
                f"shape {'x'.join(map(str, shape))} does not fit {text}", location=where
            )
        dims.update({f"{name}:{axis}": size for axis, size in enumerate(shape)})
    return dims


def has_dynamic_batch(session: TakesInputs) -> bool:
    """Say whether axis 0 of every input is dynamic, so that a batch of any size may be fed."""
    return bool(session.inputs) and all(
        info.shape and not isinstance(info.shape[0], int) for info in session.inputs
    )


def fixed_batch(session: TakesInputs) -> int | None:
    """Return the batch that the file fixes, None where it is dynamic."""
    sizes = [info.shape[0] for info in session.inputs if info.shape]
    numbers = [size for size in sizes if isinstance(size, int)]
    return numbers[0] if numbers else None


def random_inputs(
    session: TakesInputs,
    *,
    seed: int = 0,
    batch: int = 1,
    dims: Mapping[str, int] | None = None,
    bounds: Mapping[str, int] | None = None,
) -> dict[str, Array]:
    """Make random values for every input, the same for the same seed.

    Floats are standard normal, 8-bit integers use their whole range, wider integers are below
    ``INTEGER_BOUND`` or the input's entry of ``bounds``, strings are digits.

    Raises:
        BackendError: an input is no tensor, of a type that numpy does not have, or larger than
            the memory.
    """
    rng = np.random.default_rng(seed)
    shapes = input_shapes(session, batch=batch, dims=dims)
    limits = bounds or {}
    values = {}
    for info in session.inputs:
        shape = shapes[info.name]
        try:
            values[info.name] = _random(rng, info, shape, limits.get(info.name), session.source)
        except MemoryError as error:
            raise BackendError(
                f"no memory for values of shape {list(shape)}",
                location=Location(model=session.source, value=info.name),
                hint="ask for a smaller batch or shape",
            ) from error
    return values


def _random(
    rng: np.random.Generator,
    info: TensorInfo,
    shape: tuple[int, ...],
    bound: int | None,
    source: str,
) -> Array:
    if info.dtype is None:
        raise BackendError(
            f"no random values for an input of type {info.kind}",
            location=Location(model=source, value=info.name),
            hint="give inputs with --data",
        )
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind == "O":
        return rng.integers(0, 10, shape).astype(np.str_).astype(np.object_)
    if dtype.itemsize == 1 and bound is None:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    return rng.integers(0, bound or INTEGER_BOUND, shape).astype(dtype)
