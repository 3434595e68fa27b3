"""``acgraph opt``: run a pipeline of passes on a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acgraph.cli.pass_output import instruments, report_passes
from acgraph.cli.runtime_options import InputShapeOption
from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.ir import Model


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
) -> None:
    """Run a pipeline of graph passes on a model, for example fold-constants or fuse-batchnorm."""
    if list_passes:
        _list_passes()
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
    _write(loaded, output)


def _list_passes() -> None:
    from acgraph.passes import REGISTRY
    from acgraph.passmanager import load_pass, summary

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
