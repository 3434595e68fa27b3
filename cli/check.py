"""``acgraph check``: compare a model with a committed budget."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from acgraph.cli.runtime_options import ResultFileOption

#: Exit code of a model that breaks its budget.
_BROKEN = 3


class CheckFormat(StrEnum):
    """Format of the result."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"


def check(
    model: Annotated[str, typer.Argument(help="The model: an .onnx or .ort file.")],
    budget: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="YAML file with limits: max_params, max_macs, max_bytes, max_latency_ratio "
            "(with against: MODEL) and min_accuracy (with data: SPEC).",
        ),
    ] = Path("acgraph-budget.yaml"),
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model that the latency is compared with, instead of that of the budget.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Labelled data, instead of that of the budget."),
    ] = None,
    output: ResultFileOption = None,
    output_format: Annotated[
        CheckFormat,
        typer.Option(
            "--format",
            help="Format of the result: text, json, junit (a test suite), sarif (code scanning) or "
            "github (annotations).",
        ),
    ] = CheckFormat.TEXT,
) -> None:
    """Check that a model keeps a budget of size, speed and accuracy, for use in builds.

    The exit code is 3 if the model breaks a limit.
    """
    from acgraph.api.budget import check_budget
    from acgraph.cli import check_output as forms

    render = {
        CheckFormat.TEXT: forms.text_from_check,
        CheckFormat.JSON: forms.json_from_check,
        CheckFormat.JUNIT: forms.junit_from_check,
        CheckFormat.SARIF: forms.sarif_from_check,
        CheckFormat.GITHUB: forms.github_from_check,
    }
    result = check_budget(model, budget, against=against, data=data)
    text = render[output_format](result)
    if output is None or output == "-":
        typer.echo(text, nl=False)
    else:
        from acgraph.ir import write_bytes

        write_bytes(text.encode(), output)
    if not result.is_met:
        raise typer.Exit(_BROKEN)
