"""``acgraph compress``: make a trained network smaller by a rate that was asked for."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    OutputsOption,
    ScaleOption,
    TaskOption,
    layer_bounds,
)

if TYPE_CHECKING:
    from acgraph.config import CompressConfig

_TRAINING = "Training"
_SEARCH = "Search"
_DATA = "Data"
_PASSES = "Graph passes"


def compress(
    model: Annotated[
        str | None, typer.Argument(help="The ONNX file to compress; --config may name it instead.")
    ] = None,
    target_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="How much smaller the result is to be: size before / size after, as in 30x. "
            "Without it, the highest rate is sought whose accuracy is within --max-drop.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC", help="What the target rate measures: params, macs, size or latency."
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="PTS", help="The most accuracy that may be lost, in percentage points."
        ),
    ] = None,
    data: DataOption = None,
    eval_data: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Data to measure accuracy on, written as for --data. Without it, a part of --data "
            "is held back.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B",
            help="Mean of the image pixels, one value for each channel.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", help="Standard deviation of the image pixels.", rich_help_panel=_DATA
        ),
    ] = None,
    scale: ScaleOption = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Layout in which the network takes images, NCHW or NHWC; derived from the model "
            "unless given.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Height and width that images of a folder are resized to, where the network "
            "accepts any size.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    input_shape: InputShapeOption = None,
    outputs: OutputsOption = None,
    task: TaskOption = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            help="Training epochs, all stages of the run together.", rich_help_panel=_TRAINING
        ),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time that the whole run may take, as in 20m; it replaces --epochs.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Number of rounds, each of which searches, trains and shrinks; derived from the "
            "target rate unless given.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak of the learning-rate schedule.", rich_help_panel=_TRAINING),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples in a training step.", rich_help_panel=_TRAINING)
    ] = None,
    distill_weight: Annotated[
        float | None,
        typer.Option(
            help="Weight of knowledge distillation from the original model in the loss, from 0 to "
            "1; the labels have the rest.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Search method for the rates of the layers: annealing, dp (dynamic programming), "
            "global, random or uniform.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            help="Candidates that the search evaluates in each round, at most.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    criterion: Annotated[
        str | None,
        typer.Option(
            help="How filters and columns are ranked: reconstruction keeps those whose removal "
            "changes the outputs of the layers most, magnitude those with the largest weights.",
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
            help="Also remove channels that a normalisation averages over. The result then "
            "differs from the original with zeros in these places.",
            rich_help_panel=_SEARCH,
        ),
    ] = False,
    columns_only: Annotated[
        bool,
        typer.Option(
            "--columns-only", help="Remove columns only, no filters.", rich_help_panel=_SEARCH
        ),
    ] = False,
    columns: Annotated[
        bool | None,
        typer.Option(
            "--columns/--no-columns",
            help="Whether columns are removed besides filters. By default they are, unless the "
            "target is one of MACs.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    column_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Structure of the columns that stay: free, balanced, kernel, contiguous, box or "
            "auto. The default is auto for a latency target, else free.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    column_multiple: Annotated[
        int | None,
        typer.Option(
            help="Keep a multiple of this number of channels at each kernel position.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="Also write and measure a quantised model: int8."),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="RUNTIME",
            help="Runtime whose latency is measured: ort-mobile, as on a phone, or ort, as on an "
            "x86 server. The NCHWc layout of ort pads channels to blocks, so that a latency target "
            "implies --align auto.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of training and of measuring.")
    ] = None,
    no_timing: Annotated[
        bool,
        typer.Option(
            "--no-timing",
            help="Measure no latency, so that the results do not depend on the machine.",
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of all random choices.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML file with options; the command line overrides it."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set any option of the file by its key. May be repeated.",
        ),
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
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Continue the interrupted run in this folder, with its options.",
        ),
    ] = None,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Compress a trained network: search rates, train, shrink, lower, check, measure."""
    options = dict(locals())
    for name in (
        "config", "settings", "output_format", "print_ir_after", "time_passes", "verify_each"
    ):  # fmt: skip
        del options[name]
    from acgraph.api.options import compress_config

    options["layer_rate"], options["max_layer_rate"] = layer_bounds(layer_rate, max_layer_rate)
    for name in ("keep", "layer_rate", "input_shape", "task"):
        options[name] = options[name] or None
    watched = PassOutput(print_ir_after, times=time_passes, verify_each=verify_each)
    run_compress(
        compress_config(options, config=config, set=tuple(settings or ())), output_format, watched
    )


def run_compress(
    config: "CompressConfig", output_format: OutputFormat, watched: PassOutput | None = None
) -> None:
    """Run the driver, print the result, and leave with the exit code of the report.

    Of several processes the first one does; the others train with it and print nothing.
    """
    from acgraph.cli.started import began

    begin = began()
    from acgraph.api.compress import run
    from acgraph.cli.console import is_quiet, progress_sink, stderr_console, stdout_console
    from acgraph.driver.checkpoint.checkpoints import can_resume
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
            report = run(config, sink, None if quiet else say, begin, passes).report
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
