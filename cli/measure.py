"""``acgraph measure``: params, MACs, bytes, latency, memory, accuracy; of one model or of two."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

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
    open_data,
)
from acgraph.errors import UsageError

if TYPE_CHECKING:
    from acgraph.data import Dataset

Shapes = Mapping[str, tuple[int, ...]]
RUNTIMES = ("ort", "ort-mobile", "web")


def measure(
    model: Annotated[str, typer.Argument(help="An .onnx or .ort file, - for standard input.")],
    against: Annotated[
        str | None, typer.Option(help="The model before: say how much better MODEL is.")
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
        int | None, typer.Option(help="Size of a dynamic batch; 1 unless given.", min=1)
    ] = None,
    input_shape: InputShapeOption = None,
    runs: Annotated[
        int | None,
        typer.Option(help="Timed runs; as many as two seconds hold unless given.", min=1),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="List the time of every operator.")
    ] = False,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Measure a model in ONNX Runtime, set as on a phone: one thread, no NCHWc layout.

    With --against both models take turns, and the first line says whether MODEL is faster.
    """
    from acgraph.backends.ort.measurement import MeasureOptions, Runtime, measure_files
    from acgraph.backends.ort.session import SessionSettings
    from acgraph.cli.measure_output import result_from_measurements, text_from_result
    from acgraph.config_fields import parse_shapes

    if runtime not in RUNTIMES:
        raise UsageError(f"no runtime '{runtime}'", hint=f"one of {', '.join(RUNTIMES)}")
    shapes = parse_shapes(input_shape)
    if batch is not None and any(shape[0] != batch for shape in shapes.values()):
        raise UsageError(f"--batch {batch} contradicts --input-shape", hint="give one of them")
    options = MeasureOptions(
        runtime=Runtime(runtime),
        session=SessionSettings(threads=threads, nchwc=nchwc),
        batch=batch,
        runs=runs,
        profile=profile,
        limit=limit,
    )
    given = [path for path in (model, against) if path is not None]
    with local_files(*given) as files:
        dataset, found = _dataset(files[0], data, mean, std, scale, limit, shapes)
        measured = measure_files(files, replace(options, shapes=found), dataset=dataset)
    result = result_from_measurements(given, measured, options)
    if output_format is OutputFormat.JSON:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    sys.stdout.write(text_from_result(result))


def _dataset(
    model: str,
    data: str | None,
    mean: str | None,
    std: str | None,
    scale: float | None,
    limit: int | None,
    shapes: Shapes,
) -> "tuple[Dataset | None, Shapes]":
    """Open the data; return it, and the shapes of inputs: stated, or those of the data."""
    if data is not None:
        from acgraph.backends.ort.session import Session

        session = Session(model)
        dataset = open_data(data, model, session, shapes, mean, std, scale)
        return dataset, session.sizes.shapes
    stated = {"--mean": mean, "--std": std, "--scale": scale, "--limit": limit}
    lonely = [name for name, value in stated.items() if value is not None]
    if lonely:
        raise UsageError(f"{lonely[0]} without --data", hint="give the data that it is for")
    return None, shapes
