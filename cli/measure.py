"""``acgraph measure``: params, MACs, bytes, latency, memory, accuracy; of one model or of two."""

import json
import sys
from typing import Annotated, Literal, cast

import typer

from acgraph.cli.runtime_options import (
    DataOption,
    FormatOption,
    InputShapeOption,
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
    model: Annotated[str, typer.Argument(help="An .onnx or .ort file, - for standard input.")],
    against: Annotated[
        str | None,
        typer.Option(
            help="A second model, as a rule the original: both are timed by turns, and "
            "MODEL is compared with it."
        ),
    ] = None,
    runtime: Annotated[
        str, typer.Option(help=f"One of {', '.join(RUNTIMES)}.", metavar="RUNTIME")
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
        typer.Option(help="Batch size where the model leaves it open; 1 unless given.", min=1),
    ] = None,
    input_shape: InputShapeOption = None,
    runs: Annotated[
        int | None,
        typer.Option(
            help="Number of timed runs; unless given, as many as two seconds allow.", min=1
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="List the time of every operator.")
    ] = False,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Measure cost, latency, memory and accuracy of a model in ONNX Runtime, on one thread.

    With --against both models take turns, and the first line says whether MODEL is faster.
    """
    from acgraph.api.measure import measure as take
    from acgraph.cli.measure_output import result_from_measurements, text_from_result

    if runtime not in RUNTIMES:
        raise UsageError(f"no runtime '{runtime}'", hint=f"one of {', '.join(RUNTIMES)}")
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
