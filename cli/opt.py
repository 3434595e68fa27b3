"""``acgraph opt``: run a pipeline of passes on a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgraph.cli.pass_output import instruments, report_passes
from acgraph.cli.runtime_options import InputShapeOption, OutputFormat
from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.ir import Model
    from acgraph.passmanager import PassRun


def opt(
    model: Annotated[
        str | None,
        typer.Argument(
            help="The model: an ONNX file, - for standard input, or a file in the ONNX text format "
            "(.onnxtxt)."
        ),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(
            "--pipeline",
            "-p",
            metavar="PIPE",
            help="Passes to run, in this order and separated by commas, for example "
            "'fold-constants,infer-shapes'. Options of a pass follow it in braces: "
            "'pass{option=value}'.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File for the resulting model. By default, the model is printed as text.",
        ),
    ] = None,
    print_ir_after: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Print the model after the pass with this name, after all passes (all), after "
            "each pass that changes it (change), or after a pass that fails (failure).",
        ),
    ] = None,
    pass_statistics: Annotated[
        bool, typer.Option(help="Print the statistics of each pass.")
    ] = False,
    time_passes: Annotated[bool, typer.Option(help="Print how long each pass took.")] = False,
    dump_dir: Annotated[
        Path | None,
        typer.Option(
            help="If a pass fails, write the model and the pipeline to this folder to reproduce "
            "the failure."
        ),
    ] = None,
    list_passes: Annotated[bool, typer.Option(help="List the passes and exit.")] = False,
    verify_each: Annotated[
        bool, typer.Option(help="Check that the model is valid after each pass.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed for passes that make random choices.")] = 0,
    input_shape: InputShapeOption = None,
    output_format: Annotated[
        OutputFormat,
        typer.Option(
            "--format",
            help="Format of the result: text, or json for the passes with their statistics and "
            "times; the model is then written to --output only.",
        ),
    ] = OutputFormat.TEXT,
) -> None:
    """Run a pipeline of graph passes on a model, for example fold-constants or fuse-batchnorm."""
    is_json = output_format is OutputFormat.JSON
    if is_json and output == "-":
        raise UsageError(
            "only one result can be written to standard output",
            hint="give a path for the model",
        )
    if list_passes:
        _list_passes(is_json)
        return
    if model is None:
        raise UsageError("no model is given", hint="see acgraph opt --help")
    if pipeline is None:
        raise UsageError(
            "no passes are given",
            hint="use for example -p 'fold-constants'; --list-passes lists all passes",
        )
    from acgraph.api.types import resolve_input_sizes
    from acgraph.passes import REGISTRY
    from acgraph.passmanager import PassContext, PassManager, build_passes

    passes = build_passes(pipeline, REGISTRY)
    watched = instruments([one.name for one in passes], print_ir_after, dump_dir)
    loaded = _read(model)
    resolve_input_sizes(loaded, input_shape)
    manager = PassManager(passes, watched, verify_each=verify_each)
    runs = manager.run(loaded, PassContext(seed=seed))
    report_passes(runs, statistics=pass_statistics, times=time_passes)
    if not is_json or output is not None:
        _write(loaded, output)
    if is_json:
        typer.echo(json.dumps(_entry(model, output, runs), indent=2))


def _entry(model: str, output: str | None, runs: "Sequence[PassRun]") -> dict[str, Any]:
    """Return the result as JSON values."""
    passes = [
        {
            "name": run.name,
            "modified": run.result.modified,
            "statistics": dict(run.result.statistics),
            "remarks": [str(remark) for remark in run.result.remarks],
            "seconds": run.seconds,
        }
        for run in runs
    ]
    return {"schema": 1, "model": model, "output": output, "passes": passes}


def _list_passes(is_json: bool) -> None:
    from acgraph.passes import REGISTRY
    from acgraph.passmanager import load_pass, summary

    if is_json:
        found = {name: summary(load_pass(name, REGISTRY)) for name in sorted(REGISTRY)}
        typer.echo(json.dumps({"schema": 1, "passes": found}, indent=2))
        return
    width = max(map(len, REGISTRY))
    for name in sorted(REGISTRY):
        typer.echo(f"{name:<{width}}  {summary(load_pass(name, REGISTRY))}")


def _read(path: str) -> "Model":
    if path.endswith(".onnxtxt"):
        from acgraph.ir.text import read_text

        return read_text(path)
    from acgraph.ir import read_model

    return read_model(path)


def _write(model: "Model", output: str | None) -> None:
    if output is None:
        from acgraph.ir.text import text_from_model

        typer.echo(text_from_model(model), nl=False)
        return
    from acgraph.ir import write_model

    write_model(model, output)
