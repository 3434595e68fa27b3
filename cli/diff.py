"""``acgraph diff``: the changes from one model to another."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acgraph.cli.runtime_options import InputShapeOption, ResultFileOption
from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.api.diff import DiffResult


class DiffFormat(StrEnum):
    """Format of the difference."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"
    MODEL_EXPLORER = "model-explorer"


def diff(
    before: Annotated[
        str, typer.Argument(help="The original model: an ONNX file, or - for standard input.")
    ],
    after: Annotated[
        str, typer.Argument(help="The changed model: an ONNX file, or - for standard input.")
    ],
    output: ResultFileOption = None,
    output_format: Annotated[
        DiffFormat,
        typer.Option(
            "--format",
            help="Format of the result: text, json, html (one page), or model-explorer (node data "
            "for Model Explorer).",
        ),
    ] = DiffFormat.TEXT,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the difference to this file as an HTML page, and print only a summary.",
        ),
    ] = None,
    model_explorer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write node data for Model Explorer to this file, and print only a summary.",
        ),
    ] = None,
    run: Annotated[
        bool,
        typer.Option(
            "--run",
            help="Run both models on the same random inputs, and show where their activations "
            "part, layer by layer.",
        ),
    ] = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The plan.json of the cut from A to B: check that it explains every resized "
            "constant.",
        ),
    ] = None,
    input_shape: InputShapeOption = None,
) -> None:
    """Compare the layers, nodes and cost of two models.

    The exit code is 0 if the models are equal but for the names of nodes, 1 if they differ, and 2
    for any error, such as a file that is missing or not a model.
    """
    if before == after == "-":
        raise UsageError(
            "only one model can be read from standard input",
            hint="give the path of the other model",
        )
    from acgraph.api.diff import diff as compare
    from acgraph.ir import write_bytes

    found = compare(before, after, input_shape=input_shape, run=run, plan=plan)
    extra = [
        (path, kind)
        for path, kind in ((html, DiffFormat.HTML), (model_explorer, DiffFormat.MODEL_EXPLORER))
        if path is not None
    ]
    for path, kind in extra:
        write_bytes(_render(found, kind).encode(), path)
    if extra and output in (None, "-") and output_format is DiffFormat.TEXT:
        # The file contains the whole difference, so the terminal shows only a summary.
        lines = found.summary()
        typer.echo("\n".join([*lines, *(f"written to {path}" for path, _ in extra)]))
    elif output is None or output == "-":
        typer.echo(_render(found, output_format), nl=False)
    else:
        write_bytes(_render(found, output_format).encode(), output)
    if not found.is_empty:
        raise typer.Exit(1)


def _render(found: "DiffResult", kind: DiffFormat) -> str:
    """Return the difference in a format."""
    match kind:
        case DiffFormat.JSON:
            return found.to_json()
        case DiffFormat.HTML:
            return found.to_html()
        case DiffFormat.MODEL_EXPLORER:
            return found.to_model_explorer()
        case DiffFormat.TEXT:
            return found.to_text()
