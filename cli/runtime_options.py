"""Options that the commands share which run models, and what they mean."""

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.backends.ort.session import Session
    from acgraph.data import Dataset
    from acgraph.ir import InputSizes, Model
    from acgraph.pruning.rate import Rate

log = logging.getLogger(__name__)


class OutputFormat(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="How to print the result.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="FILE.npz, a folder of class folders of images, package.module:callable, or noise.",
        metavar="SPEC",
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(help="Mean of uint8 images in 0..1, for each channel.", metavar="R,G,B"),
]
StdOption = Annotated[
    str | None,
    typer.Option(help="Standard deviation of uint8 images, as --mean.", metavar="R,G,B"),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(help="Multiplies uint8 pixels first; 1/255 unless given, 1 for 0..255."),
]
LimitOption = Annotated[
    int | None, typer.Option(help="Use only so many examples of --data, evenly spaced.", min=1)
]
InputShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        "--shape",
        help="Shape of an input whose sizes the file leaves open; may be repeated. Without it: "
        "that of the data, else a common one.",
        metavar="NAME:1,3,48,320",
    ),
]
#: What ``--align`` does, for every command that has it.
ALIGN_HELP = (
    "Round the number of filters that each cut layer keeps to a multiple of N. With auto, a few "
    "layers are timed on this machine, and the multiple is chosen that pays off."
)
KeepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="PATTERN",
        help="Leave the layers whole whose node or weight has such a name: a glob as 'head*', or "
        "a regular expression after re:. May be repeated.",
    ),
]
LayerRateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--layer-rate",
        metavar="PATTERN=RATE",
        help="Cut the filters, and the columns, of such layers by at most this rate, as in "
        "'head*=1.5x'. May be repeated.",
    ),
]
MaxLayerRateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--max-layer-rate",
        metavar="[PATTERN=]RATE",
        help="Cut the filters, and the columns, of no layer by more than this rate. With a "
        "pattern it is the same as --layer-rate.",
    ),
]
ThreadsOption = Annotated[int, typer.Option(help="Threads inside an operator.", min=1)]
NchwcOption = Annotated[
    bool,
    typer.Option(
        "--nchwc",
        help="Let x86 hosts use the NCHWc layout, which phones lack and which pads channels.",
    ),
]


def read_sized(path: str, input_shape: Sequence[str] | None) -> "Model":
    """Read a model, settle the sizes of its inputs, and say what had to be assumed.

    Raises:
        ImportModelError: there is no such file, or it is not a valid ONNX model.
        UsageError: a shape that is stated contradicts it.
    """
    from acgraph.config_fields import parse_shapes
    from acgraph.ir import read_model

    model = read_model(path)
    settle(model, parse_shapes(input_shape))
    return model


def settle(model: "Model", shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Settle the sizes of a model's inputs, and say what had to be assumed."""
    from acgraph.ir import settle_sizes

    say_assumed(settle_sizes(model, shapes))


def say_assumed(sizes: "InputSizes") -> None:
    """Say in one line which sizes had to be assumed; nothing where none had."""
    if remark := sizes.remark():
        log.warning("%s", remark)


def settle_both(models: "tuple[Model, Model]", shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Settle the sizes of two models that are compared; a shape may be of an input of one alone.

    Raises:
        UsageError: neither has an input of a name, or a shape contradicts one of them.
    """
    first, second = ({tensor.name for tensor in model.graph.inputs} for model in models)
    settle(models[0], {k: v for k, v in shapes.items() if k in first or k not in second})
    settle(models[1], {k: v for k, v in shapes.items() if k in second or not k})


def layer_bounds(
    layer_rate: Sequence[str] | None, max_layer_rate: Sequence[str] | None
) -> "tuple[dict[str, Rate], Rate | None]":
    """Read ``--layer-rate`` and ``--max-layer-rate``: rates by pattern, and that of all layers.

    Raises:
        UsageError: a rate is none, or a rate of ``--layer-rate`` has no pattern.
    """
    from acgraph.config_fields import parse_layer_rates

    _, stray = parse_layer_rates(layer_rate or ())
    if stray is not None:
        raise UsageError(
            f"--layer-rate {stray} names no layer",
            hint="say --layer-rate PATTERN=RATE, or --max-layer-rate for all layers",
        )
    return parse_layer_rates([*(layer_rate or ()), *(max_layer_rate or ())])


def parse_numbers(option: str, text: str | None) -> list[float] | None:
    """Read numbers between commas.

    Raises:
        UsageError: a part is no number.
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"'{text}' is no list of numbers", hint=f"say {option} 0.485,0.456,0.406"
        ) from None


@contextlib.contextmanager
def local_files(*paths: str | None) -> Iterator[list[str]]:
    """Give every model a path: what comes on standard input, for ``-``, a temporary one.

    Raises:
        UsageError: more than one is ``-``.
    """
    given = [path for path in paths if path is not None]
    if given.count("-") > 1:
        raise UsageError("standard input holds one model", hint="give the other by its path")
    with tempfile.TemporaryDirectory(prefix="acgraph-stdin-") as folder:
        stdin = Path(folder) / "stdin.onnx"
        if "-" in given:
            stdin.write_bytes(sys.stdin.buffer.read())
        yield [str(stdin) if path == "-" else path for path in given]


def open_data(
    spec: str,
    path: str,
    session: "Session",
    shapes: Mapping[str, tuple[int, ...]],
    mean: str | None,
    std: str | None,
    scale: float | None,
) -> "Dataset":
    """Open the data for a loaded model, and settle the sizes of the session.

    Data has sizes, which count unless others are stated; noise is made in the sizes of the run.

    Args:
        spec: What the data is.
        path: The file of the model.
        session: The same, loaded.
        shapes: Stated shapes of inputs.
        mean: Of uint8 images, as it was typed.
        std: Likewise.
        scale: What uint8 pixels are multiplied by.
    """
    from acgraph.backends.ort.inputs import fixed_batch
    from acgraph.backends.ort.sizes import file_sizes
    from acgraph.data import load_dataset
    from acgraph.data.noise import is_noise_spec
    from acgraph.diagnostics import Location
    from acgraph.ir.sizes import state

    known: Mapping[str, Sequence[int | str | None]]
    if is_noise_spec(spec):
        session.sizes = file_sizes(path, session, shapes)
        say_assumed(session.sizes)
        known = session.sizes.shapes
    else:
        known = state(session.declared, shapes, Location(model=session.source)).specs()
    dataset = load_dataset(
        spec,
        inputs=[(info.name, known[info.name], info.dtype) for info in session.inputs],
        mean=parse_numbers("--mean", mean),
        std=parse_numbers("--std", std),
        scale=scale,
    )
    if not is_noise_spec(spec):
        x, _ = dataset.batch(np.zeros(1, np.int64))
        found = (fixed_batch(session) or 1, *x.shape[1:])
        session.sizes = file_sizes(path, session, shapes or {session.inputs[0].name: found})
    return dataset
