"""Options that several commands share."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.pruning.rate import Rate


class OutputFormat(StrEnum):
    """Format of a result."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="Format of the result.")]
ResultFileOption = Annotated[
    str | None,
    typer.Option("--output", "-o", help="File for the result. By default, the result is printed."),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="Data: a .npz or .safetensors file with an array for each input; a folder of such "
        "files, one for each example; a folder with a subfolder of images for each class; "
        "package.module:callable; synthetic; or noise.",
        metavar="SPEC",
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(
        help="Mean of uint8 images after scaling to 0..1, one value for each channel.",
        metavar="R,G,B",
    ),
]
StdOption = Annotated[
    str | None,
    typer.Option(
        help="Standard deviation of uint8 images after scaling to 0..1, one value for each "
        "channel.",
        metavar="R,G,B",
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        help="Factor by which uint8 pixels are multiplied before --mean and --std are applied. The "
        "default is 1/255; use 1 for a network that expects 0..255."
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(help="Use only this number of examples of --data, evenly spaced.", min=1),
]
_SHAPE_METAVAR = "NAME:1,3,48,320"
#: For commands with ``--data``.
DataShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        "--shape",
        help="Shape of an input that has dynamic dimensions. By default, the shape of the data is "
        "used or, without data, a common shape for which the model runs. May be repeated.",
        metavar=_SHAPE_METAVAR,
    ),
]
#: For commands without ``--data``.
InputShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        "--shape",
        help="Shape of an input that has dynamic dimensions. By default, a common shape is used "
        "for which the model runs. May be repeated.",
        metavar=_SHAPE_METAVAR,
    ),
]
#: Help of ``--align``.
ALIGN_HELP = (
    "Round the number of filters that a cut layer keeps to a multiple of N. auto chooses the "
    "multiple from the times of a few layers on this machine."
)
OutputsOption = Annotated[
    str | None,
    typer.Option(
        "--outputs",
        metavar="NAME,...",
        help="Outputs to keep; all by default. The other outputs, and the nodes that only they "
        "need, are removed before anything else is done.",
    ),
]
TaskOption = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="[OUTPUT=]TASK",
        help="Task of all outputs or of one: classification, regression, embedding, segmentation, "
        "detection, ctc, or imitate for any other. The task determines the loss and the metric. "
        "By default, it is guessed from the model and the data. May be repeated.",
    ),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="PATTERN",
        help="Do not cut the layers whose node or weight has a name that matches PATTERN: a glob "
        "such as 'head*', or a regular expression after re:. May be repeated.",
    ),
]
LayerRateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--layer-rate",
        metavar="PATTERN=RATE",
        help="Largest rate by which the filters and the columns of the matching layers are "
        "reduced, for example 'head*=1.5x'. May be repeated.",
    ),
]
MaxLayerRateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--max-layer-rate",
        metavar="[PATTERN=]RATE",
        help="Largest rate by which the filters and the columns of any layer are reduced. With a "
        "pattern, it is the same as --layer-rate.",
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(help="Number of CPU threads that an operator may use (intra-op threads).", min=1),
]
NchwcOption = Annotated[
    bool,
    typer.Option(
        "--nchwc",
        help="Let ONNX Runtime use the NCHWc layout of x86 machines, which phones do not have and "
        "which pads channels.",
    ),
]


def layer_bounds(
    layer_rate: Sequence[str] | None, max_layer_rate: Sequence[str] | None
) -> "tuple[dict[str, Rate], Rate | None]":
    """Parse ``--layer-rate`` and ``--max-layer-rate``.

    Returns:
        The rates by pattern, and the rate for all layers or None.

    Raises:
        UsageError: A text is not a rate, or one of ``--layer-rate`` has no pattern.
    """
    from acgraph.config_fields import parse_layer_rates

    _, stray = parse_layer_rates(layer_rate or ())
    if stray is not None:
        raise UsageError(
            f"--layer-rate {stray} has no pattern that names layers",
            hint="write --layer-rate PATTERN=RATE, or use --max-layer-rate for all layers",
        )
    return parse_layer_rates([*(layer_rate or ()), *(max_layer_rate or ())])


@contextlib.contextmanager
def local_files(*paths: str | None) -> Iterator[list[str]]:
    """Yield a path for each model; one from standard input, ``-``, is written to a temporary file.

    Raises:
        UsageError: More than one is ``-``.
    """
    given = [path for path in paths if path is not None]
    if given.count("-") > 1:
        raise UsageError(
            "only one model can be read from standard input",
            hint="give the path of the other model",
        )
    with tempfile.TemporaryDirectory(prefix="acgraph-stdin-") as folder:
        stdin = Path(folder) / "stdin.onnx"
        if "-" in given:
            stdin.write_bytes(sys.stdin.buffer.read())
        yield [str(stdin) if path == "-" else path for path in given]
