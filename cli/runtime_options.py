"""Options that the commands share which run models, and what they mean."""

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
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="How to print the result.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="FILE.npz or FILE.safetensors with an array for each input, a folder of class folders "
        "of images, a folder of such files with one example each, package.module:callable, "
        "synthetic or noise.",
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
    typer.Option(help="Standard deviation of uint8 images, written as --mean.", metavar="R,G,B"),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        help="Factor that uint8 pixels are multiplied by before --mean and --std: 1/255 by "
        "default, 1 for a network that takes 0..255."
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(help="Use only so many examples of --data, evenly spaced.", min=1)
]
InputShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        "--shape",
        help="Shape of an input whose sizes the file leaves open. Without it, the shape of the "
        "data is taken, else a common one. May be repeated.",
        metavar="NAME:1,3,48,320",
    ),
]
#: What ``--align`` does, for every command that has it.
ALIGN_HELP = (
    "Round the number of filters that each cut layer keeps to a multiple of N. With auto, a few "
    "layers are timed on this machine, and the multiple is chosen that pays off."
)
OutputsOption = Annotated[
    str | None,
    typer.Option(
        "--outputs",
        metavar="NAME,...",
        help="The outputs that are used, all unless given. The others, and what only they need, "
        "are cut off before anything else.",
    ),
]
TaskOption = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="[OUTPUT=]TASK",
        help="What the outputs mean, or one of them: classification, regression, embedding, "
        "segmentation, detection, ctc, or imitate, which means nothing in particular. It decides "
        "loss and metric, and is guessed from model and data unless given. May be repeated.",
    ),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="PATTERN",
        help="Keep the layers whole whose node or weight has a matching name. PATTERN is a glob, "
        "as in 'head*', or a regular expression after re:. May be repeated.",
    ),
]
LayerRateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--layer-rate",
        metavar="PATTERN=RATE",
        help="Reduce the filters and the columns of the matching layers by at most this rate, as "
        "in 'head*=1.5x'. May be repeated.",
    ),
]
MaxLayerRateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--max-layer-rate",
        metavar="[PATTERN=]RATE",
        help="Reduce the filters and the columns of no layer by more than this rate. With a "
        "pattern it means the same as --layer-rate.",
    ),
]
ThreadsOption = Annotated[int, typer.Option(help="CPU threads inside an operator.", min=1)]
NchwcOption = Annotated[
    bool,
    typer.Option(
        "--nchwc",
        help="Let x86 hosts use the NCHWc layout, which phones lack and which pads channels.",
    ),
]


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
