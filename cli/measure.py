"""``acgraph measure``: cost, latency, memory and accuracy of one model, or of two."""

import json
import sys
from typing import Annotated, Literal, cast

import typer

from acgraph.cli.runtime_options import (
    DataOption,
    DataShapeOption,
    FormatOption,
    LimitOption,
    MeanOption,
    NchwcOption,
    OutputFormat,
    ScaleOption,
    StdOption,
    ThreadsOption,
    local_files,
)
from acgraph.errors import UsageError

RUNTIMES = ("ort", "ort-mobile", "web")


def measure(
    model: Annotated[
        str, typer.Argument(help="The model: an .onnx or .ort file, or - for standard input.")
    ],
    against: Annotated[
        str | None,
        typer.Option(
            help="A second model to compare MODEL with, usually the original. The timed runs of "
            "the two models alternate."
        ),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(
            help="Runtime to measure in: ort, as on an x86 server; ort-mobile, as on a phone; or "
            "web, ONNX Runtime Web in Node.js.",
            metavar="RUNTIME",
        ),
    ] = "ort",
    data: DataOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    scale: ScaleOption = None,
    limit: LimitOption = None,
    threads: ThreadsOption = 1,
    nchwc: NchwcOption = False,
    batch: Annotated[
        int | None,
        typer.Option(
            help="Batch size, if the model has a dynamic batch dimension; 1 by default.", min=1
        ),
    ] = None,
    input_shape: DataShapeOption = None,
    runs: Annotated[
        int | None,
        typer.Option(
            help="Number of timed runs. By default, the model is timed for two seconds.", min=1
        ),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Also measure the time of each operator, and list the slowest."
        ),
    ] = False,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Measure the cost, latency, memory and accuracy of a model in ONNX Runtime.

    With --against, two models are compared. The first line says whether MODEL is faster.
    """
    from acgraph.api.measure import measure as take
    from acgraph.cli.measure_output import result_from_measurements, text_from_result

    if runtime not in RUNTIMES:
        raise UsageError(
            f"there is no runtime '{runtime}'", hint=f"use one of {', '.join(RUNTIMES)}"
        )
    given = [path for path in (model, against) if path is not None]
    with local_files(*given) as files:
        measured = take(
            *files,
            runtime=cast(Literal["ort", "ort-mobile", "web"], runtime),
            data=data,
            mean=mean,
            std=std,
            scale=scale,
            limit=limit,
            threads=threads,
            nchwc=nchwc,
            batch=batch,
            input_shape=input_shape,
            runs=runs,
            profile=profile,
        )
    both = [measured.model] if measured.against is None else [measured.model, measured.against]
    result = result_from_measurements(given, both, measured.options)
    if output_format is OutputFormat.JSON:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    sys.stdout.write(text_from_result(result))
