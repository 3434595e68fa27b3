"""Open data for a model that runs in ONNX Runtime, and resolve the sizes of its inputs."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from acgraph.analysis.batch.inputs import batch_axes, declared_batch_axes
from acgraph.backends.ort.bounds import integer_bounds
from acgraph.backends.ort.inputs import fixed_batch
from acgraph.backends.ort.session import Session
from acgraph.backends.ort.sizes import file_sizes
from acgraph.data import Batch, Dataset, InputSpec, first_example, load_dataset
from acgraph.data.generated import is_generated_spec
from acgraph.diagnostics import Location
from acgraph.errors import UsageError
from acgraph.ir import InputSizes, read_model
from acgraph.ir.sizes import state

log = logging.getLogger(__name__)

#: A number for all channels, a number for each, or a string of numbers between commas.
Numbers = float | Sequence[float] | str | None


def say_assumed(sizes: InputSizes) -> None:
    """Log in one line which sizes had to be assumed, if any."""
    if remark := sizes.remark():
        log.warning("%s", remark)


def read_numbers(name: str, value: Numbers) -> list[float] | None:
    """Read numbers between commas.

    Raises:
        UsageError: A part is not a number.
    """
    if value is None or isinstance(value, int | float):
        return None if value is None else [float(value)]
    try:
        return [float(part) for part in (value.split(",") if isinstance(value, str) else value)]
    except ValueError:
        raise UsageError(
            f"'{value}' is not a list of numbers",
            hint=f"write for example --{name} 0.485,0.456,0.406",
        ) from None


def refuse_without_data(**stated: object) -> None:
    """Reject options for reading data where there is no data.

    Raises:
        UsageError: One of them was passed.
    """
    lonely = [name for name, value in stated.items() if value is not None]
    if lonely:
        raise UsageError(
            f"--{lonely[0]} is given without --data", hint="give the data that it applies to"
        )


def open_data(
    spec: str,
    path: str,
    session: Session,
    shapes: Mapping[str, tuple[int, ...]],
    mean: Numbers,
    std: Numbers,
    scale: float | None,
) -> Dataset:
    """Open the data for a loaded model, and resolve the input sizes of the session.

    The sizes are those of the data unless ``shapes`` states others; noise is generated with the
    sizes of the session.

    Args:
        spec: The data, as ``--data`` names it.
        path: The file of the model.
        session: The loaded model.
        shapes: Shapes that the user stated, by input name.
        mean: Mean of the pixels of uint8 images after ``scale``.
        std: Standard deviation of these pixels.
        scale: Factor that uint8 pixels are multiplied by first.

    Raises:
        DataError: The data cannot be read, or does not fit the model.
    """
    known: Mapping[str, Sequence[int | str | None]]
    if is_generated_spec(spec):
        session.sizes = file_sizes(path, session, shapes)
        say_assumed(session.sizes)
        known = session.sizes.shapes
    else:
        known = state(session.declared, shapes, Location(model=session.source)).specs()
    dataset = load_dataset(
        spec,
        inputs=input_specs(path, session, known),
        mean=read_numbers("mean", mean),
        std=read_numbers("std", std),
        scale=scale,
    )
    if not is_generated_spec(spec):
        found = _shapes_of(first_example(dataset), session)
        session.sizes = file_sizes(path, session, shapes or found)
    return dataset


def input_specs(
    path: str, session: Session, known: Mapping[str, Sequence[int | str | None]]
) -> list[InputSpec]:
    """Describe the inputs of a loaded model.

    Args:
        path: The file of the model.
        session: The loaded model.
        known: The known sizes of each input; a dynamic dimension is a name or None.
    """
    if len(session.inputs) == 1 or Path(path).suffix.lower() == ".ort":
        axes = declared_batch_axes(session.declared, session.sizes.shapes)
        bounds: Mapping[str, int | tuple[int, ...]] = {}
    else:
        model = read_model(path)
        axes, bounds = batch_axes(model), integer_bounds(model)
    return [
        InputSpec(i.name, known[i.name], i.dtype or np.object_, axes[i.name], bounds.get(i.name))
        for i in session.inputs
    ]


def _shapes_of(example: Batch, session: Session) -> dict[str, tuple[int, ...]]:
    """Return the input shapes of a session for data that looks like this example."""
    found = {}
    for name, value, axis in example.named([info.name for info in session.inputs]):
        sizes = list(value.shape)
        if axis is not None:
            sizes[axis] = fixed_batch(session) or 1
        found[name] = tuple(sizes)
    return found
