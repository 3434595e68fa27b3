"""``acgraph compress``: make a trained network smaller by a rate that was asked for."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgraph.cli.pass_output import PassOutput, report_passes
from acgraph.cli.runtime_options import (
    ALIGN_HELP,
    DataOption,
    FormatOption,
    InputShapeOption,
    KeepOption,
    LayerRateOption,
    MaxLayerRateOption,
    OutputFormat,
    ScaleOption,
    layer_bounds,
)

if TYPE_CHECKING:
    from acgraph.config import CompressConfig

_TRAINING = "Training"
_SEARCH = "Search"
_DATA = "Data"
_PASSES = "Graph passes"


def compress(
    model: Annotated[str | None, typer.Argument(help="An ONNX file; or given by --config.")] = None,
    target_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Before / after, as 30x; without it, the highest within --max-drop.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="What the rate is of: params, macs, size or latency."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(metavar="PTS", help="Accuracy that may be lost, in percentage points."),
    ] = None,
    data: DataOption = None,
    eval_data: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Data to judge by; without it, a part of --data."),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="Mean of image pixels.", rich_help_panel=_DATA),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", help="Standard deviation of image pixels.", rich_help_panel=_DATA
        ),
    ] = None,
    scale: ScaleOption = None,
    layout: Annotated[
        str | None, typer.Option(help="NCHW or NHWC; found by itself.", rich_help_panel=_DATA)
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width of images.", rich_help_panel=_DATA)
    ] = None,
    input_shape: InputShapeOption = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the data, in all.", rich_help_panel=_TRAINING)
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As 20m; instead of epochs.", rich_help_panel=_TRAINING),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Rounds of shrinking; as many as the rate needs.", rich_help_panel=_TRAINING
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The highest.", rich_help_panel=_TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a step.", rich_help_panel=_TRAINING)
    ] = None,
    distill_weight: Annotated[
        float | None,
        typer.Option(
            help="Share of the original model's outputs in the loss; labels have the rest.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="annealing, dp, global, random or uniform.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Points to try in a round.", rich_help_panel=_SEARCH)
    ] = None,
    criterion: Annotated[
        str | None,
        typer.Option(
            help="What stays: reconstruction (what outputs would miss) or magnitude.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help=ALIGN_HELP,
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    keep: KeepOption = None,
    layer_rate: LayerRateOption = None,
    max_layer_rate: MaxLayerRateOption = None,
    allow_inexact: Annotated[
        bool,
        typer.Option(
            "--allow-inexact",
            help="Cut across normalisation, too: the result is not the original with zeros.",
            rich_help_panel=_SEARCH,
        ),
    ] = False,
    columns_only: Annotated[
        bool, typer.Option("--columns-only", help="Prune no filters.", rich_help_panel=_SEARCH)
    ] = False,
    columns: Annotated[
        bool | None,
        typer.Option(
            "--columns/--no-columns",
            help="Whether columns are pruned, too; unless the target is of MACs, they are.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    column_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Which columns stay together: free, balanced, kernel, contiguous, box or auto; "
            "auto where the target is a latency, else free.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    column_multiple: Annotated[
        int | None,
        typer.Option(help="Keep a multiple of so many channels.", rich_help_panel=_SEARCH),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="int8: write and measure a quantised model, too."),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="RUNTIME",
            help="What is timed: ort-mobile, a phone, or ort, an x86 server, whose NCHWc "
            "layout pads channels to blocks: a latency target then implies --align auto.",
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    no_timing: Annotated[
        bool, typer.Option("--no-timing", help="Time nothing: results do not depend on the host.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML with these options; the command line wins."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the file; may be repeated."),
    ] = None,
    print_ir_after: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Print the network after a graph pass: its name, all, change or failure.",
            rich_help_panel=_PASSES,
        ),
    ] = None,
    time_passes: Annotated[
        bool,
        typer.Option(
            "--time-passes", help="Print how long each graph pass took.", rich_help_panel=_PASSES
        ),
    ] = False,
    verify_each: Annotated[
        bool,
        typer.Option(
            "--verify-each",
            help="Check the network after each graph pass.",
            rich_help_panel=_PASSES,
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where results go.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Go on with an interrupted run, with the options that it has."
        ),
    ] = None,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Compress a trained network: search rates, train, shrink, lower, prove, measure."""
    from acgraph.config import make_config
    from acgraph.driver.checkpoint.checkpoints import stored_options

    rates, most = layer_bounds(layer_rate, max_layer_rate)
    options: dict[str, Any] = {
        "model": model,
        "target_rate": target_rate,
        "metric": metric,
        "max_drop": max_drop,
        "data": data,
        "eval_data": eval_data,
        "mean": mean,
        "std": std,
        "scale": scale,
        "layout": layout,
        "image_size": image_size,
        "input_shape": input_shape or None,
        "epochs": epochs,
        "time_budget": time_budget,
        "rounds": rounds,
        "criterion": criterion,
        "filters": False if columns_only else None,
        "columns": _given(enabled=columns, pattern=column_pattern, multiple=column_multiple),
        "align": align,
        "keep": keep or None,
        "layer_rate": rates or None,
        "max_layer_rate": most,
        "allow_inexact": True if allow_inexact else None,
        "quantize": quantize,
        "runtime": runtime,
        "threads": threads,
        "timing": False if no_timing else None,
        "seed": seed,
        "output": output,
        "resume": resume,
        "train": _given(
            learning_rate=learning_rate, batch_size=batch_size, distill_weight=distill_weight
        ),
        "search": _given(method=search, evaluations=evaluations),
    }
    run = make_config(options, file=config, settings=tuple(settings or ()), stored=stored_options)
    watched = PassOutput(print_ir_after, times=time_passes, verify_each=verify_each)
    run_compress(run, output_format, watched)


def _given(**options: object) -> dict[str, object] | None:
    given = {name: value for name, value in options.items() if value is not None}
    return given or None


def run_compress(
    config: "CompressConfig", output_format: OutputFormat, watched: PassOutput | None = None
) -> None:
    """Run the driver, print the result, and leave with the exit code of the report.

    Of several processes the first one does; the others train with it and print nothing.
    """
    from acgraph.cli.started import began

    begin = began()
    from acgraph.cli.console import is_quiet, progress_sink, stderr_console, stdout_console
    from acgraph.driver.checkpoint.checkpoints import can_resume
    from acgraph.driver.compress import compress as drive
    from acgraph.driver.training.follow import follow, is_follower, leading
    from acgraph.errors import InterruptedRunError
    from acgraph.report import render_summary, verdict

    if is_follower():
        follow(config)
        return
    log = stderr_console()

    def say(line: str) -> None:
        log.print(line, highlight=False, markup=False, soft_wrap=True)

    try:
        quiet = is_quiet()
        with leading():
            sink = None if quiet else progress_sink(log)
            passes = None if watched is None else watched.settings()
            report = drive(config, sink, None if quiet else say, begin, passes)
            if watched is not None and passes is not None and watched.times:
                report_passes(passes.runs, statistics=False, times=True)
    except KeyboardInterrupt as stop:
        if not can_resume(config):
            raise
        folder = shlex.quote(str(config.output))
        raise InterruptedRunError(
            "interrupted", hint=f"go on with: acgraph compress --resume {folder}"
        ) from stop
    if output_format is OutputFormat.JSON:
        typer.echo(report.to_json(), nl=False)
    elif quiet:
        typer.echo(verdict(report))
    else:
        stdout_console().print(render_summary(report))
        typer.echo(f"\nwritten to {config.output}: model.onnx, masked.onnx, report.html and more")
    if report.exit_code:
        raise typer.Exit(report.exit_code)
