"""Shapes and random values for the inputs of a session."""

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

#: Exclusive upper bound of random integers of 16 bits or more. They are mostly table indices or
#: masks, and every table has at least two rows.
INTEGER_BOUND = 2


class HasInputs(Protocol):
    """A session, or another description of the inputs of a model."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The inputs."""

    @property
    def source(self) -> str:
        """Name of the model, for messages."""

    @property
    def sizes(self) -> InputSizes:
        """Sizes of the inputs in this run."""

    @property
    def declared(self) -> tuple[Declared, ...]:
        """The inputs as the file declares them."""


def input_shapes(session: HasInputs, *, batch: int | None = None) -> dict[str, Shape]:
    """Return the shapes of the inputs in this run, by name.

    Args:
        session: The session.
        batch: Batch size if it is dynamic; None uses that of the session.
    """
    shapes = session.sizes.shapes
    return dict(shapes) if batch is None else with_batch(session.declared, shapes, batch)


def has_dynamic_batch(session: HasInputs) -> bool:
    """Whether the batch size of all inputs is dynamic."""
    axes = declared_batch_axes(session.declared, session.sizes.shapes)
    places = [(info.shape, axes.get(info.name)) for info in session.inputs]
    sizes = [shape[axis] for shape, axis in places if axis is not None and shape]
    return bool(sizes) and not any(isinstance(size, int) for size in sizes)


def fixed_batch(session: HasInputs) -> int | None:
    """Return the batch size that the file declares or its constants imply; None if dynamic."""
    axes = declared_batch_axes(session.declared, session.sizes.shapes)
    places = [(info.shape, axes.get(info.name)) for info in session.inputs]
    sizes = [shape[axis] for shape, axis in places if axis is not None and shape]
    numbers = [size for size in sizes if isinstance(size, int)]
    return numbers[0] if numbers else session.sizes.fixed_batch


def random_inputs(
    session: HasInputs,
    *,
    seed: int = 0,
    batch: int | None = None,
    shapes: Mapping[str, Shape] | None = None,
    bounds: Bounds | None = None,
) -> dict[str, Array]:
    """Make random values for every input, the same for the same seed.

    Floats are standard normal, 8-bit integers use their whole range, wider integers are below
    ``INTEGER_BOUND``, and strings are digits.

    Args:
        session: The session.
        seed: Seed of the values.
        batch: Batch size if it is dynamic; None uses that of the session.
        shapes: Shapes of the inputs; None uses those of the session.
        bounds: Valid values of integer inputs, by name.

    Raises:
        BackendError: An input is not a tensor, has a type that NumPy lacks, or does not fit into
            memory.
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
                f"not enough memory for values of shape {list(shape)}",
                location=Location(model=session.source, value=info.name),
                hint="give a smaller batch or shape",
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
            f"cannot make random values for an input of type {info.kind}",
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
