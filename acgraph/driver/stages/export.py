"""Write the results: the compact and the masked model, proven and measured, and the report."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.backends.ort.examples import real_inputs
from acgraph.backends.ort.law import LawResult, check_law
from acgraph.backends.ort.mobile import write_ort
from acgraph.backends.ort.session import Session
from acgraph.diagnostics import Location
from acgraph.driver.checkpoint.checkpoints import ORIGINAL
from acgraph.driver.cost.compact import compact
from acgraph.driver.cut_plan.record import record_cut
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.results.folder import CHECKPOINTS, UNPROVEN, replaced_together
from acgraph.driver.results.metadata import describe
from acgraph.driver.results.outcome import layer_changes, make_report, measure_sides
from acgraph.driver.results.quantise import quantise
from acgraph.driver.state.positions import Positions, adopt_biases, expand, inexact_cuts
from acgraph.driver.state.run import Run, limit_of
from acgraph.errors import VerifyError
from acgraph.ir import Model, clone_model, infer_facts, make_folder, stored_size, write_model
from acgraph.ir.check import source_digest
from acgraph.passes.fuse_batchnorm import fuse_batchnorm
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.cut_plan import CutPlan
from acgraph.pruning.tie import retie_constants, write_once
from acgraph.report import Report, Side, write_report

#: Runs of both models that their profiles take, as slow as recording makes them, and loading.
PROFILED_RUNS = 40
#: How many examples of the data the equivalence check runs on at once, where the batch is free;
#: two sets of the same number show whether outputs depend on the inputs.
REAL_EXAMPLES = (1, 1, 4)
#: Random inputs beside them; fewer where the end is only rehearsed.
SEEDS, REHEARSED_SEEDS = 3, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a trained graph became.

    Attributes:
        trained: The shrunk graph, BatchNormalization as it was trained.
        small: The compact model.
        masked: The original with the trained weights, and zeros where something was cut.
        lowered: What lowering did to each layer.
        dependency: Of the original.
        positions: Where the constants of the shrunk graph lay in it.
        law: The equivalence check of the compact model.
        plan: What was removed, in terms of the original.
    """

    trained: Model
    small: Model
    masked: Model
    lowered: Sequence[LoweredLayer]
    dependency: DependencyGraph
    positions: Positions
    law: LawResult
    plan: CutPlan


def export(run: Run, trained: Model) -> Report:
    """Lower a trained graph, write everything to the folder of the results, and report.

    Raises:
        VerifyError: the compact model does not compute what the masked one does; all is written to
            a folder of its own, whose name says so.
    """
    folder = run.config.output
    made = make_models(run, trained)
    if made.law.passed:
        with replaced_together(folder) as staged:
            report = write_results(run, made, staged)
        shutil.rmtree(folder / UNPROVEN, ignore_errors=True)
        return report
    make_folder(folder / UNPROVEN)
    with replaced_together(folder / UNPROVEN) as staged:
        write_results(run, made, staged)
    raise VerifyError(
        f"the equivalence check failed: {made.law.failures[0]}",
        location=Location(model=str(folder / UNPROVEN / "model.onnx")),
        hint="do not deploy it; acgraph verify compares it with masked.onnx beside it",
    )


def make_models(run: Run, trained: Model) -> Made:
    """Fold and lower a trained graph, put its weights back into the original, and compare both."""
    small, lowered = compact(trained, run.chooser, limit=limit_of(run), warn=run.warn)
    plain = clone_model(trained)
    fuse_batchnorm(plain, run.inserted)
    dependency: DependencyGraph = _original_dependency(run)
    positions = adopt_biases(plain, dependency.model, run.positions)
    masked = expand(dependency.model, dependency, plain.constants(), positions)
    write_once(small, run.copies)
    retie_constants(masked, run.copies)
    for remark in dependency.facts.remarks_beside(infer_facts(small, assume=True)):
        run.warn(remark)
    plan = record_cut(
        dependency, run.copies, positions, trained.constants(), lowered, source_digest(run.original)
    )
    return Made(
        plan=plan, trained=trained, small=small, masked=masked, lowered=lowered,
        dependency=dependency, positions=positions,
        law=_law(run, small, masked, plain, inexact_cuts(dependency, positions)),
    )  # fmt: skip


def write_results(run: Run, made: Made, staged: Path) -> Report:
    """Write all results to a folder, measured."""
    config, small = run.config, made.small
    params = [stored_size(model)[0] for model in (run.original, small)]
    describe(
        small,
        source=made.plan.source_sha256,
        rate=params[0] / max(params[1], 1),
        error=made.law.max_rel_error,
    )
    write_model(made.masked, staged / "masked.onnx")
    write_model(small, staged / "model.onnx")
    write_ort(staged / "model.onnx", staged / "model.ort")
    files = [_original_file(run), staged / "model.onnx"]
    examples = 0
    if config.quantize == "int8":
        examples = quantise(run, files[1], staged / "model.int8.onnx")
        files += [staged / "model.int8.onnx"] if examples else []
    sides = measure_sides(
        config, files, run.data.report, run.original.sizes, left_s=run.left_s, warn=run.warn
    )
    report = make_report(
        config, sides, made.law, made.dependency,
        measure=run.data.measure,
        changes=layer_changes(
            run.original, made.trained, made.lowered, small if _times_layers(run, sides) else None,
            run_settings(config),
        ),
        rounds=run.rounds, history=run.history, frontier=run.frontier, warnings=run.warnings,
        nodes=(len(run.original.graph.nodes), len(small.graph.nodes)),
        seconds=run.elapsed_s, int8_examples=examples,
    )  # fmt: skip
    made.plan.save(staged / "plan.json")
    write_report(report, staged)
    return report


def _times_layers(run: Run, sides: Sequence[Side]) -> bool:
    """Whether there is time to profile the layers, which is the last that a time budget pays."""
    if not run.config.timing or run.left_s is None:
        return run.config.timing
    runs_s = [side.latency_ms.p50 / 1e3 for side in sides[:2] if side.latency_ms is not None]
    if len(runs_s) == 2 and PROFILED_RUNS * sum(runs_s) <= run.left_s:
        return True
    run.warn("layers are not timed: too little is left of the time budget")
    return False


def _law(run: Run, small: Model, masked: Model, trained: Model, inexact: list[str]) -> LawResult:
    """Check against the masked model; where none can be equal, against the trained graph.

    Inputs are random ones, and examples of the data in every number that the original takes.
    """
    real = real_inputs(Session(run.original), run.data.select, REAL_EXAMPLES)
    seeds = REHEARSED_SEEDS if run.is_rehearsed else SEEDS
    if not inexact:
        return check_law(small, masked, seeds=seeds, inputs=real)
    law = check_law(small, trained, seeds=seeds, inputs=real)
    note = (
        f"cut inexactly, as allowed: {', '.join(inexact)}; compared with the trained graph, "
        "because masked.onnx computes something else"
    )
    return replace(law, notes=(note, *law.notes))


def _original_file(run: Run) -> Path:
    """Return the file to measure against; one from standard input is kept with the checkpoints."""
    if run.config.model != "-":
        return Path(run.config.model)
    return run.config.output / CHECKPOINTS / ORIGINAL


def _original_dependency(run: Run) -> DependencyGraph:
    untied = clone_model(run.original)
    untie_constants(untied)
    return analyse(untied)
