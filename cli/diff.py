"""``acgraph diff``: what changed from one model to another."""

from enum import StrEnum
from typing import Annotated

import typer

from acgraph.errors import UsageError


class DiffFormat(StrEnum):
    """How the difference is printed."""

    TEXT = "text"
    JSON = "json"


def diff(
    before: Annotated[str, typer.Argument(help="An ONNX file, - for standard input.")],
    after: Annotated[str, typer.Argument(help="Another.")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write it here, not to stdout.")
    ] = None,
    output_format: Annotated[
        DiffFormat, typer.Option("--format", help="How to print it.")
    ] = DiffFormat.TEXT,
) -> None:
    """Compare two models; exit with 1 when they differ."""
    if before == after == "-":
        raise UsageError("standard input holds one model", hint="give the other by its path")
    from acgraph.diff import diff_models, json_from_diff, text_from_diff
    from acgraph.ir import read_model, write_bytes

    found = diff_models(read_model(before), read_model(after))
    if output_format is DiffFormat.JSON:
        text = json_from_diff(found)
    else:
        text = text_from_diff(found, before, after)
    if output is None or output == "-":
        typer.echo(text, nl=False)
    else:
        write_bytes(text.encode(), output)
    if not found.is_empty:
        raise typer.Exit(1)
