"""``acgraph prune``: one cut without training, by magnitude or by data."""

import json
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgraph.cli.prune_output import prune_text
from acgraph.cli.runtime_options import (
    ALIGN_HELP,
    DataShapeOption,
    FormatOption,
    KeepOption,
    LayerRateOption,
    MaxLayerRateOption,
    MeanOption,
    OutputFormat,
    OutputsOption,
    ScaleOption,
    StdOption,
    layer_bounds,
)
from acgraph.diagnostics import printable
from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.driver.prune.result import PruneReport
    from acgraph.report import Int8


class Quantize(StrEnum):
    """Data types of a quantised model."""

    INT8 = "int8"


class TimingRuntime(StrEnum):
    """Runtimes in which forms of layers are timed."""

    ORT = "ort"
    ORT_MOBILE = "ort-mobile"


def prune(
    model: Annotated[str, typer.Argument(help="The model: an ONNX file, or - for standard input.")],
    sparsity: Annotated[
        float | None,
        typer.Option(
            help="Share of the coupled sets (filters that can only be removed together, with the "
            "weights that read them) to remove, at least 0 and below 1. The default is 0.5."
        ),
    ] = None,
    columns: Annotated[
        float | None,
        typer.Option(
            help="Share of the columns of each layer to remove, at least 0 and below 1. The "
            "default is 0."
        ),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Remove the filters and columns that this plan.json lists, instead of those of "
            "smallest magnitude.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Calibration data, in the same form as for compress. Filters are ranked by how "
            "much their removal changes the outputs of the layers that read them, and the "
            "remaining weights are fitted to the outputs of the original layers. Labels are "
            "not used.",
        ),
    ] = None,
    target_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="With --data, instead of --sparsity: the cost before divided by the cost after, "
            "for example 2x. The rate of each layer is chosen from measurements on the data.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC", help="Cost that the target rate applies to: params (default) or macs."
        ),
    ] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    scale: ScaleOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed for drawing examples from --data.")] = None,
    column_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Structure of the remaining columns: free (default), balanced, kernel, "
            "contiguous, box or auto. auto picks for each layer the structure that saves the "
            "most time for the weight magnitude that it removes.",
        ),
    ] = None,
    column_multiple: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep a multiple of this number of channels at each kernel position of a layer "
            "whose columns are cut.",
        ),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help=ALIGN_HELP,
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
        ),
    ] = False,
    allow_slower: Annotated[
        bool,
        typer.Option(
            "--allow-slower",
            help="Store each layer with removed columns in its smallest form, even if that form is "
            "slower. No layer is timed.",
        ),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help="File for the pruned model."),
    ] = None,
    masked_out: Annotated[
        str | None,
        typer.Option(
            metavar="ZEROED",
            help="File for the masked model: the original with zeros in place of the removed "
            "weights.",
        ),
    ] = None,
    no_ort: Annotated[
        bool,
        typer.Option(
            "--no-ort",
            help="Do not write the model in ONNX Runtime's format for phones, OUT.ort, next to "
            "OUT.",
        ),
    ] = False,
    quantize: Annotated[
        Quantize | None,
        typer.Option(
            help="Also write a quantised model, OUT.int8.onnx. It is quantised without data, so "
            "that activations are quantised at run time."
        ),
    ] = None,
    runtime: Annotated[
        TimingRuntime,
        typer.Option(
            help="Runtime in which the forms of a layer are timed to choose between them: "
            "ort-mobile, as on a phone, or ort, as on an x86 server."
        ),
    ] = TimingRuntime.ORT_MOBILE,
    outputs: OutputsOption = None,
    input_shape: DataShapeOption = None,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Remove filters and columns without training, and check that nothing else changed.

    By default, those of smallest magnitude are removed. With --data, filters are ranked by
    measurements on the data, and the remaining weights are fitted to it. The exit code is 3 if
    almost nothing could be removed.
    """
    to_stdout = [path for path in (output, masked_out) if path == "-"]
    if len(to_stdout) > 1 or (to_stdout and output_format is OutputFormat.JSON):
        raise UsageError(
            "only one result can be written to standard output",
            hint="give a path for the other results",
        )
    from acgraph.api.prune import prune as cut
    from acgraph.driver.prune.files import PruneFiles

    files = PruneFiles(
        source=model,
        output=output,
        masked=masked_out,
        ort=not no_ort,
        int8=quantize is not None,
        runtime=runtime.value,
    )
    files.check()
    rates, most = layer_bounds(layer_rate, max_layer_rate)
    found = cut(
        model,
        sparsity=sparsity,
        columns=columns,
        column_pattern=column_pattern,
        column_multiple=column_multiple,
        align=align,
        keep=keep,
        layer_rate=rates,
        max_layer_rate=most,
        plan=plan,
        data=data,
        target_rate=target_rate,
        metric=metric,
        mean=mean,
        std=std,
        scale=scale,
        seed=seed,
        allow_inexact=allow_inexact,
        allow_slower=allow_slower,
        runtime=runtime.value,
        input_shape=input_shape,
        outputs=None if outputs is None else [name.strip() for name in outputs.split(",")],
    )
    result = found.report
    int8 = files.write(result.model, result.masked)
    if output_format is OutputFormat.JSON:
        typer.echo(json.dumps(_plain(result, int8), indent=2, allow_nan=False))
    else:
        typer.echo(prune_text(result, int8), err=bool(to_stdout))
        if files.written:
            names = printable(", ".join(files.written))
            typer.echo(f"written to {names}", err=bool(to_stdout))
    if not found.is_met:
        raise typer.Exit(3)


def _plain(result: "PruneReport", int8: "Int8 | None") -> dict[str, Any]:
    from acgraph.driver.prune.verdict import hint, is_met, verdict
    from acgraph.driver.results.outcome import verification
    from acgraph.ir import input_sizes

    before, after = (
        {"params": cost.params, "macs": cost.macs, "bytes": cost.bytes}
        for cost in (result.before, result.after)
    )
    patterns = {cut.name: cut.pattern for cut in result.cuts}
    return {
        "schema": 1,
        "inputs": {name: list(shape) for name, shape in input_sizes(result.model).shapes.items()},
        "before": before,
        "after": after,
        "rate": {key: result.rate(key) for key in before},
        "macs_unknown": result.unknown_macs,
        "remarks": list(result.remarks),
        "asked": {"sparsity": result.request.sparsity, "columns": result.request.columns},
        "reached": _reached(result),
        "met": is_met(result),
        "verdict": verdict(result),
        "hint": hint(result),
        "verify": verification(result.verify).model_dump(mode="json"),
        "inexact": result.inexact,
        "int8": None if int8 is None else int8.model_dump(mode="json"),
        "data": _measured(result),
        "plan": result.cut_plan.as_json(),
        "lowered": [
            {
                "name": x.name,
                "lowering": x.form,
                "columns": [x.columns_before, x.columns_after],
                "pattern": patterns.get(x.name, ""),
                "remark": x.remark,
            }
            for x in result.lowered
        ],
        "fences": [
            {"node": fence.location.node or fence.location.value, "reason": fence.message}
            for fence in result.fences
        ],
        "holding": [
            {
                "nodes": list(each.nodes),
                "reason": each.reason,
                "share": each.share,
                "inexact": each.inexact,
            }
            for each in result.obstacles
        ],
        "notes": list(result.notes),
        "seconds": result.seconds,
    }


def _measured(result: "PruneReport") -> dict[str, Any] | None:
    """Return the results of calibration; None without data, or if nothing was cut."""
    found = result.measured
    if found is None or found.kept is None:
        return None
    return {
        "examples": found.examples,
        "kept": asdict(found.kept),
        "fitted": [asdict(fit) for fit in found.fits],
        "not_fitted": dict(found.left),
    }


def _reached(result: "PruneReport") -> dict[str, float]:
    """Return the removed shares of all coupled sets, and of the columns of the kept filters."""
    removed = sum(int(sets.sum()) for sets in result.plan.sets.values())
    before = sum(layer.columns_before for layer in result.lowered)
    after = sum(layer.columns_after for layer in result.lowered)
    return {
        "sparsity": removed / max(result.coupled_sets, 1),
        "columns": 1 - after / before if before else 0.0,
    }
