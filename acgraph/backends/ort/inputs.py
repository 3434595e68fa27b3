"""Values for the inputs of a session: sizes for what is dynamic, random numbers that make sense."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from acgraph.analysis.batch.inputs import declared_batch_axes
from acgraph.backends.ort.bounds import Bound, Bounds
from acgraph.backends.ort.session import TensorInfo
from acgraph.diagnostics import Location
from acgraph.errors import BackendError
from acgraph.ir import Array, InputSizes
from acgraph.ir.model import Shape
from acgraph.ir.sizes import Declared, with_batch

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

    @property
    def sizes(self) -> InputSizes:
        """The sizes of its inputs in this run."""

    @property
    def declared(self) -> tuple[Declared, ...]:
        """What the file says of them."""


def input_shapes(session: TakesInputs, *, batch: int | None = None) -> dict[str, Shape]:
    """Return the shapes of the inputs in this run, which are those of the session.

    Args:
        session: The session.
        batch: Another batch, where the file leaves it open.
    """
    shapes = session.sizes.shapes
    return dict(shapes) if batch is None else with_batch(session.declared, shapes, batch)


def has_dynamic_batch(session: TakesInputs) -> bool:
    """Return whether the batch of every input is dynamic, so that one of any size may be fed."""
    axes = declared_batch_axes(session.declared, session.sizes.shapes)
    places = [(info.shape, axes.get(info.name)) for info in session.inputs]
    sizes = [shape[axis] for shape, axis in places if axis is not None and shape]
    return bool(sizes) and not any(isinstance(size, int) for size in sizes)


def fixed_batch(session: TakesInputs) -> int | None:
    """Return the batch that the file fixes, or binds by its constants; None where it is dynamic."""
    axes = declared_batch_axes(session.declared, session.sizes.shapes)
    places = [(info.shape, axes.get(info.name)) for info in session.inputs]
    sizes = [shape[axis] for shape, axis in places if axis is not None and shape]
    numbers = [size for size in sizes if isinstance(size, int)]
    return numbers[0] if numbers else session.sizes.bound


def random_inputs(
    session: TakesInputs,
    *,
    seed: int = 0,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    bounds: Bounds | None = None,
) -> dict[str, Array]:
    """Make random values for every input, the same for the same seed.

    They have the sizes of the session, unless another batch or other shapes are given. Floats are
    standard normal, 8-bit integers use their whole range, wider integers are below
    ``INTEGER_BOUND`` or as the input's entry of ``bounds`` says, strings are digits.

    Raises:
        BackendError: an input is no tensor, of a type that numpy does not have, or larger than
            the memory.
    """
    rng = np.random.default_rng(seed)
    shapes = input_shapes(session, batch=batch) if shapes is None else shapes
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
    bound: Bound | None,
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
    if isinstance(bound, tuple):
        return rng.choice(np.array(bound), shape).astype(dtype)
    if dtype.itemsize == 1 and bound is None:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    return rng.integers(0, bound or INTEGER_BOUND, shape).astype(dtype)
