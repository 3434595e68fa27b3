"""Types of the arguments of public functions (models, data, rates, shapes), and their readers."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from acgraph.config_fields import parse_shapes
from acgraph.errors import UsageError
from acgraph.ir import Model, resolve_sizes, write_model
from acgraph.ir.load import load_model
from acgraph.pruning.rate import Rate

log = logging.getLogger(__name__)

#: A path, the bytes of a file, an ``onnx.ModelProto`` or an ``acgraph.Model``.
ModelLike = Any
#: A string as for ``--data``, arrays, ``(x, y)``, a data set, a loader, an iterable of batches.
DataLike = Any
RateLike = Rate | float | str
#: Shapes by input name, or strings as for ``--input-shape``.
ShapesLike = Mapping[str, Sequence[int]] | Sequence[str] | str


def read_rate(value: RateLike) -> Rate:
    """Convert ``8``, ``"8x"`` or a ``Rate`` to a rate.

    Raises:
        UsageError: It is none of them, or below 1.
    """
    return value if isinstance(value, Rate) else Rate.parse(str(value))


def read_shapes(value: ShapesLike | None) -> dict[str, tuple[int, ...]]:
    """Convert shapes of inputs to tuples by input name.

    Raises:
        UsageError: A string is not a shape, or a size is below 1.
    """
    if not isinstance(value, Mapping):
        return parse_shapes([value] if isinstance(value, str) else value)
    for name, shape in value.items():
        if not shape or min(shape) < 1:
            raise UsageError(
                f"input_shape: {list(shape)} is not a shape for '{name}'",
                hint="give positive sizes, the batch first",
            )
    return {name: tuple(shape) for name, shape in value.items()}


@contextlib.contextmanager
def as_files(*models: ModelLike) -> Iterator[list[str]]:
    """Yield a path for every model; those in memory are written to a temporary folder.

    Raises:
        UsageError: One of them is not a model.
    """
    with tempfile.TemporaryDirectory(prefix="acgraph-") as folder:
        yield [as_file(model, Path(folder) / str(i)) for i, model in enumerate(models)]


def as_file(model: ModelLike, folder: Path) -> str:
    """Return the path of a model; one in memory is first written to this folder."""
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    if isinstance(model, bytes):
        path.write_bytes(model)
    else:
        write_model(load_model(model), path)
    return str(path)


def read_sized(model: ModelLike, shapes: ShapesLike | None) -> Model:
    """Read a model and resolve the sizes of its inputs.

    Raises:
        ImportModelError: It is not a valid ONNX model.
        UsageError: A stated shape contradicts it.
    """
    found = load_model(model)
    resolve_input_sizes(found, shapes)
    return found


def resolve_input_sizes(model: Model, shapes: ShapesLike | None) -> None:
    """Resolve the sizes of a model's inputs, in place, and log which had to be assumed."""
    if remark := resolve_sizes(model, read_shapes(shapes)).remark():
        log.warning("%s", remark)
