"""``acgraph compress``: make a trained network smaller by a requested rate."""

import json
from pathlib import Path
from typing import Annotated

import typer

from acgraph.cli.compress_run import print_forecast, run_compress
from acgraph.cli.pass_output import PassOutput
from acgraph.cli.runtime_options import (
    ALIGN_HELP,
    DataOption,
    DataShapeOption,
    FormatOption,
    KeepOption,
    LayerRateOption,
    MaxLayerRateOption,
    OutputFormat,
    OutputsOption,
    ScaleOption,
    TaskOption,
    layer_bounds,
)

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
            help="Compression rate to reach: the cost before divided by the cost after, for "
            "example 30x. Without it, compress looks for the highest rate that keeps the "
            "accuracy loss within --max-drop.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Cost that the target rate applies to: params (default), macs, size or latency.",
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="PTS", help="Largest accuracy loss that is allowed, in percentage points."
        ),
    ] = None,
    data: DataOption = None,
    eval_data: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Evaluation data, in the same form as --data. By default, a part of --data is "
            "held out.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B",
            help="Mean of uint8 images after scaling to 0..1, one value for each channel.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B",
            help="Standard deviation of uint8 images after scaling to 0..1, one value for each "
            "channel.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    scale: ScaleOption = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Layout of the images that the network expects: NCHW or NHWC. By default, it is "
            "derived from the model.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Height and width to which images from a folder are resized, if the network "
            "accepts any size.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    input_shape: DataShapeOption = None,
    outputs: OutputsOption = None,
    task: TaskOption = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            help="Total number of training epochs over all stages of the run.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time limit for the whole run, for example 20m. It replaces --epochs.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Number of rounds of search, training and shrinking. By default, it is derived "
            "from the target rate.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak learning rate of the schedule.", rich_help_panel=_TRAINING),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Number of examples in a training step.", rich_help_panel=_TRAINING),
    ] = None,
    distill_weight: Annotated[
        float | None,
        typer.Option(
            help="Weight of knowledge distillation from the original model in the loss, from 0 to "
            "1. The remaining weight goes to the loss on the labels.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Search method for the rates of the layers: annealing (default), dp (dynamic "
            "programming), global, random or uniform.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of candidates that the search evaluates in each round.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    criterion: Annotated[
        str | None,
        typer.Option(
            help="How filters and columns are ranked. reconstruction (default) keeps those whose "
            "removal would change the layer outputs most; magnitude keeps those with the "
            "largest weights.",
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
            help="Also cut across normalisation over channels, where removing channels is not "
            "equivalent to setting them to zero. The result then differs from the masked model.",
            rich_help_panel=_SEARCH,
        ),
    ] = False,
    columns_only: Annotated[
        bool,
        typer.Option(
            "--columns-only", help="Remove only columns, no filters.", rich_help_panel=_SEARCH
        ),
    ] = False,
    columns: Annotated[
        bool | None,
        typer.Option(
            "--columns/--no-columns",
            help="Remove columns as well as filters. By default, columns are removed unless "
            "--metric is macs.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    column_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Structure of the remaining columns: free, balanced, kernel, contiguous, box or "
            "auto. The default is auto for a latency target and free otherwise.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    column_multiple: Annotated[
        int | None,
        typer.Option(
            help="Keep a multiple of this number of channels at each kernel position of a layer "
            "whose columns are cut.",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE", help="Also write and measure a quantised model. The only type is int8."
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="RUNTIME",
            help="Runtime whose latency is measured: ort-mobile (default), as on a phone, or ort, "
            "as on an x86 server. ort uses the NCHWc layout, which pads channels to blocks; "
            "with ort, a latency target therefore implies --align auto.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Number of CPU threads for training and for measuring.")
    ] = None,
    no_timing: Annotated[
        bool,
        typer.Option(
            "--no-timing",
            help="Do not measure latency. The results then do not depend on the speed of the "
            "machine.",
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the random number generators.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML file with options. Options on the command line override it."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set an option by its key in the YAML file, for example train.weight_decay=1e-4. "
            "May be repeated.",
        ),
    ] = None,
    print_ir_after: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Print the network after the pass with this name, after all passes (all), after "
            "each pass that changes it (change), or after a pass that fails (failure).",
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
            help="Check that the network is valid after each graph pass.",
            rich_help_panel=_PASSES,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for the results; out by default."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Continue the interrupted run in this folder, with the options that it was "
            "started with.",
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print all options of the run with their values, as YAML or JSON for --config, "
            "and exit.",
        ),
    ] = False,
    print_schema: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Print a JSON Schema and exit: of the file of options (options), of report.json "
            "(report), or of the result of --dry-run (dry-run).",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the plan of the run, the time and memory that it needs, and the layers "
            "after a first cut; train nothing and write nothing.",
        ),
    ] = False,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Make a trained network smaller, fine-tune it, check it and measure it.

    The run searches for the rate of each layer, removes filters and columns, and trains the smaller
    network. The exit code is 3 if the target rate or the limit on the accuracy loss is missed.
    """
    options = dict(locals())
    for name in (
        "config", "settings", "output_format", "print_ir_after", "time_passes", "verify_each",
        "print_config", "print_schema", "dry_run",
    ):  # fmt: skip
        del options[name]
    if print_schema is not None:
        from acgraph.config_schema import json_schema

        typer.echo(json.dumps(json_schema(print_schema), indent=2, allow_nan=False))
        return
    from acgraph.api.options import compress_config

    options["layer_rate"], options["max_layer_rate"] = layer_bounds(layer_rate, max_layer_rate)
    for name in ("keep", "layer_rate", "input_shape", "task"):
        options[name] = options[name] or None
    watched = PassOutput(print_ir_after, times=time_passes, verify_each=verify_each)
    made = compress_config(options, config=config, set=tuple(settings or ()))
    if print_config:
        from acgraph.config_merge import options_text

        typer.echo(options_text(made, is_json=output_format is OutputFormat.JSON), nl=False)
    elif dry_run:
        print_forecast(made, output_format)
    else:
        run_compress(made, output_format, watched)
