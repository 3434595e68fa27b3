"""Write the results: the compact and the masked model, proven and measured, and the report."""

import json
from dataclasses import replace
from pathlib import Path

from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.backends.ort.law import LawResult, check_law
from acgraph.backends.ort.mobile import write_ort
from acgraph.diagnostics import Location
from acgraph.driver.checkpoints import ORIGINAL
from acgraph.driver.folder import CHECKPOINTS, replaced_together
from acgraph.driver.lower import compact
from acgraph.driver.outcome import layer_changes, make_report, measure_sides
from acgraph.driver.quantise import quantise
from acgraph.driver.run import Run, limit_of
from acgraph.driver.runtime import run_settings
from acgraph.driver.trace import Positions, adopt_biases, expand, inexact_cuts
from acgraph.errors import VerifyError
from acgraph.ir import Model, clone_model, infer_facts, write_bytes, write_model
from acgraph.passes.fuse_batchnorm import fuse_batchnorm
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.tie import retie_vectors
from acgraph.report import Report, write_report


def export(run: Run, trained: Model) -> Report:
    """Lower a trained graph, write everything to the folder of the results, and report.

    Raises:
        VerifyError: the compact model does not compute what the masked one does; all is written.
    """
    config, folder = run.config, run.config.output
    small, lowered = compact(trained, run.chooser, limit=limit_of(run), warn=run.warn)
    plain = clone_model(trained)
    fuse_batchnorm(plain, run.inserted)
    dependency: DependencyGraph = _original_dependency(run)
    positions = adopt_biases(plain, dependency.model, run.positions)
    masked = expand(dependency.model, dependency, plain.constants(), positions)
    for model in (small, masked):
        retie_vectors(model, run.copies)
    for remark in dependency.facts.remarks_beside(infer_facts(small, assume=True)):
        run.warn(remark)
    law = _law(small, masked, plain, inexact_cuts(dependency, positions))
    with replaced_together(folder) as staged:
        write_model(masked, staged / "masked.onnx")
        write_model(small, staged / "model.onnx")
        write_ort(staged / "model.onnx", staged / "model.ort")
        files = [_original_file(run), staged / "model.onnx"]
        examples = 0
        if config.quantize == "int8":
            examples = quantise(run, files[1], staged / "model.int8.onnx")
            files += [staged / "model.int8.onnx"] if examples else []
        sides = measure_sides(config, files, run.data.report, run.original.sizes)
        report = make_report(
            config, sides, law, dependency,
            measure=run.data.measure,
            changes=layer_changes(
                run.original, trained, lowered, small if config.timing else None,
                run_settings(config),
            ),
            rounds=run.rounds, history=run.history, frontier=run.frontier, warnings=run.warnings,
            nodes=(len(run.original.graph.nodes), len(small.graph.nodes)),
            seconds=run.elapsed_s, int8_examples=examples,
        )  # fmt: skip
        write_bytes(_plan(positions).encode(), staged / "plan.json")
        write_report(report, staged)
    if not law.passed:
        raise VerifyError(
            f"the law does not hold: {law.failures[0]}",
            location=Location(model=str(folder / "model.onnx")),
            hint="do not deploy it; acgraph verify compares it with masked.onnx",
        )
    return report


def _law(small: Model, masked: Model, trained: Model, inexact: list[str]) -> LawResult:
    """Check against the masked model; where none can be equal, against the trained graph."""
    if not inexact:
        return check_law(small, masked)
    law = check_law(small, trained)
    note = (
        f"cut inexactly, as allowed: {', '.join(inexact)}; compared with the trained graph, "
        "because masked.onnx computes something else"
    )
    return replace(law, notes=(note, *law.notes))


def _plan(positions: Positions) -> str:
    """Say as JSON which positions of every constant of the original were kept."""
    kept = {
        name: {str(axis): found.tolist() for axis, found in axes.items()}
        for name, axes in positions.items()
    }
    return json.dumps({"kept": kept}, indent=1)


def _original_file(run: Run) -> Path:
    """Return the file to measure against; one from standard input is kept with the checkpoints."""
    if run.config.model != "-":
        return Path(run.config.model)
    return run.config.output / CHECKPOINTS / ORIGINAL


def _original_dependency(run: Run) -> DependencyGraph:
    untied = clone_model(run.original)
    untie_constants(untied)
    return analyse(untied)
