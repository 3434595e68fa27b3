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
        typer.Argument(help="An ONNX file, - for standard input, or ONNX text (.onnxtxt)."),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option(
            "--pipeline",
            "-p",
            metavar="PIPE",
            help="Passes to run, in this order, as in 'fold-constants,eliminate-dead- "
            "nodes'; options of a pass follow in braces, as in "
            "'pass{option=value}'.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File for the resulting model. Without it, the model is printed as text.",
        ),
    ] = None,
    print_ir_after: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Print the model after the pass of this name, after all passes, after "
            "those that change it (change), or after one that fails (failure).",
        ),
    ] = None,
    pass_statistics: Annotated[bool, typer.Option(help="Print what each pass counted.")] = False,
    time_passes: Annotated[bool, typer.Option(help="Print how long each pass took.")] = False,
    dump_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that gets the model and the pipeline of a pass that fails, to "
            "reproduce the failure."
        ),
    ] = None,
    list_passes: Annotated[bool, typer.Option(help="List the passes and exit.")] = False,
    verify_each: Annotated[bool, typer.Option(help="Check the model after each pass.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the passes that make random choices.")] = 0,
    input_shape: InputShapeOption = None,
) -> None:
    """Run a pipeline of graph passes on a model, as fold-constants or fuse-batchnorm."""
    if list_passes:
        _list_passes()
        return
    if model is None:
        raise UsageError("no model is given", hint="see acgraph opt --help")
    if pipeline is None:
        raise UsageError("no pipeline is given", hint="say -p 'fold-constants', or --list-passes")
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
