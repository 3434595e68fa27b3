"""``acgraph diff``: what changed from one model to another."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acgraph.cli.runtime_options import InputShapeOption, settle_both
from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.diff import GraphDiff
    from acgraph.ir import Model


class DiffFormat(StrEnum):
    """How the difference is printed."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"
    MODEL_EXPLORER = "model-explorer"


def diff(
    before: Annotated[str, typer.Argument(help="An ONNX file, - for standard input.")],
    after: Annotated[str, typer.Argument(help="Another.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write it here, not to stdout.")
    ] = None,
    output_format: Annotated[
        DiffFormat,
        typer.Option(
            "--format",
            help="How to print it: text, json, one html page, or node data for Model Explorer.",
        ),
    ] = DiffFormat.TEXT,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page here, and print a summary.")
    ] = None,
    model_explorer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write node data for Model Explorer here, and print a summary."
        ),
    ] = None,
    input_shape: InputShapeOption = None,
) -> None:
    """Compare two models; exit with 1 when they differ."""
    if before == after == "-":
        raise UsageError("standard input holds one model", hint="give the other by its path")
    from acgraph.config_fields import parse_shapes
    from acgraph.diff import diff_models
    from acgraph.ir import read_model, write_bytes
    from acgraph.report.diff_page import summary_lines

    models = read_model(before), read_model(after)
    settle_both(models, parse_shapes(input_shape))
    found = diff_models(*models)
    render = _renderer(found, models, (before, after))
    beside = [
        (path, kind)
        for path, kind in ((html, DiffFormat.HTML), (model_explorer, DiffFormat.MODEL_EXPLORER))
        if path is not None
    ]
    for path, kind in beside:
        write_bytes(render(kind).encode(), path)
    if beside and output in (None, "-") and output_format is DiffFormat.TEXT:
        # Who has it in a file need not have all of it on the terminal.
        lines = summary_lines(found, *models)
        typer.echo("\n".join([*lines, *(f"written to {path}" for path, _ in beside)]))
    elif output is None or output == "-":
        typer.echo(render(output_format), nl=False)
    else:
        write_bytes(render(output_format).encode(), output)
    if not found.is_empty:
        raise typer.Exit(1)


def _renderer(
    found: "GraphDiff", models: "tuple[Model, Model]", names: tuple[str, str]
) -> Callable[[DiffFormat], str]:
    """Return what prints the difference in a format."""

    def render(kind: DiffFormat) -> str:
        from acgraph.diff import json_from_diff, model_explorer_from_diff, text_from_diff

        match kind:
            case DiffFormat.JSON:
                return json_from_diff(found)
            case DiffFormat.HTML:
                from acgraph.report import render_diff_page

                return render_diff_page(found, *models, before=names[0], after=names[1])
            case DiffFormat.MODEL_EXPLORER:
                return model_explorer_from_diff(found, *models)
            case DiffFormat.TEXT:
                return text_from_diff(found, *names)

    return render
