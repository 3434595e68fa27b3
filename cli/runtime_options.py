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
    from acgraph.backends.ort.session import Session
    from acgraph.data import Dataset


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
ShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Shape of an input with dynamic sizes; may be repeated.", metavar="NAME=1x3x224x224"
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


def parse_shapes(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """Read ``NAME=1x3x224x224``.

    Raises:
        UsageError: a text is anything else, or two are of one input.

    >>> parse_shapes(["x:0=1x3x32x32"])
    {'x:0': (1, 3, 32, 32)}
    """
    shapes = {}
    for text in texts or ():
        name, _, sizes = text.rpartition("=")
        parts = sizes.lower().split("x")
        if not name or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise UsageError(f"'{text}' is no shape", hint="say --shape NAME=1x3x224x224")
        if name in shapes:
            raise UsageError(f"two shapes for '{name}'", hint="say --shape once for each input")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


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
    spec: str, session: "Session", mean: str | None, std: str | None, scale: float | None
) -> "Dataset":
    """Open the data for a loaded model."""
    from acgraph.data import load_dataset

    return load_dataset(
        spec,
        inputs=[(info.name, info.shape, info.dtype) for info in session.inputs],
        mean=parse_numbers("--mean", mean),
        std=parse_numbers("--std", std),
        scale=scale,
    )
