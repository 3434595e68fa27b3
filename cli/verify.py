"""``acgraph verify``: the equivalence check of a compact and a masked model."""

import json
import math
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgraph.cli.runtime_options import (
    DataOption,
    DataShapeOption,
    FormatOption,
    MeanOption,
    OutputFormat,
    ScaleOption,
    StdOption,
    local_files,
)
from acgraph.diagnostics import counted, printable

if TYPE_CHECKING:
    from acgraph.backends.ort.equivalence import EquivalenceResult

#: Exit code of an inconclusive check.
_INCONCLUSIVE = 3


def verify(
    compact: Annotated[
        str,
        typer.Argument(help="The compact model: an .onnx or .ort file, or - for standard input."),
    ],
    against: Annotated[str, typer.Option(help="The reference model, usually the masked model.")],
    data: DataOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    scale: ScaleOption = None,
    limit: Annotated[
        int, typer.Option(help="Number of examples of --data to compare on.", min=1)
    ] = 64,
    seeds: Annotated[int, typer.Option(help="Number of random inputs to compare on.", min=0)] = 3,
    tolerance: Annotated[
        float, typer.Option(help="Largest relative error that is allowed for each output.", min=0.0)
    ] = 1e-4,
    input_shape: DataShapeOption = None,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Check that two models are equivalent: compare their outputs and those of their common layers.

    Both models run in ONNX Runtime, on random inputs and on the examples of --data. The exit code
    is 1 if they differ. It is 3 if they agree but no output depends on the inputs, so that the
    check is inconclusive.
    """
    from acgraph.api.verify import verify as check

    with local_files(compact, against) as (ours, reference):
        result = check(
            ours,
            reference,
            data=data,
            mean=mean,
            std=std,
            scale=scale,
            limit=limit,
            seeds=seeds,
            tolerance=tolerance,
            input_shape=input_shape,
        ).check
    entry = _entry(compact, against, result)
    if output_format is OutputFormat.JSON:
        sys.stdout.write(json.dumps(entry, indent=2, allow_nan=False) + "\n")
    else:
        sys.stdout.write(_text(compact, against, result))
    if not result.passed:
        raise typer.Exit(1)
    if result.vacuous:
        raise typer.Exit(_INCONCLUSIVE)


def _finite(value: float) -> float | None:
    """Return a finite value, and None, which is null in JSON, for others."""
    return value if math.isfinite(value) else None


def _entry(compact: str, against: str, result: "EquivalenceResult") -> dict[str, Any]:
    return {
        "schema": 1,
        "model": compact,
        "against": against,
        "max_abs_error": _finite(result.max_abs_error),
        "max_rel_error": _finite(result.max_rel_error),
        "passed": result.passed,
        "vacuous": result.vacuous,
        "tolerance": result.tolerance,
        "inputs": result.inputs,
        "outputs": [
            {
                "name": output.name,
                "max_abs_error": _finite(output.max_abs_error),
                "max_rel_error": _finite(output.max_rel_error),
                "passed": output.passed,
                "vacuous": output.vacuous,
                "noise": _finite(output.noise),
                "reason": output.reason,
            }
            for output in result.per_output
        ],
        "inside": {
            "compared": len(result.inside),
            "failed": [
                {"name": value.name, "reason": value.reason}
                for value in result.inside
                if value.reason
            ],
        },
        "notes": list(result.notes),
    }


def _text(compact: str, against: str, result: "EquivalenceResult") -> str:
    verdict = "the models are equivalent" if result.passed else "the models are NOT equivalent"
    if result.passed and result.vacuous:
        verdict = "the check is inconclusive: the models agree, but no output depends on the inputs"
    lines = [
        (
            f"{verdict}: {compact} against {against}, {counted(result.inputs, 'input')}, relative "
            f"error {result.max_rel_error:.1e}, tolerance {result.tolerance:.0e}"
        )
    ]
    for output in result.per_output:
        state = "passed" if output.passed else f"FAILED: {output.reason}"
        note = ", but the reference is constant" if output.vacuous else ""
        lines.append(
            f"  {output.name}: relative error {output.max_rel_error:.1e}, absolute error "
            f"{output.max_abs_error:.1e}, {state}{note}"
        )
    if result.inside:
        state = "passed" if all(value.passed for value in result.inside) else "FAILED"
        lines.append(
            f"  {counted(len(result.inside), 'value')} inside the models compared as well: {state}"
        )
    lines += [f"  {value.name}: {value.reason}" for value in result.inside if value.reason][:5]
    lines += [f"  {note}" for note in result.notes]
    return "\n".join(map(printable, lines)) + "\n"
