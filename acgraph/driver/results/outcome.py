"""Measure the written models, and make the report."""

import importlib.metadata
import logging
import math
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from acgraph.analysis.cost import file_cost
from acgraph.analysis.obstacles import obstacles
from acgraph.backends.ort.accuracy import accuracy, compare, correctness, custom_score
from acgraph.backends.ort.equivalence import EquivalenceResult
from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.latency import (
    BUDGET_S,
    MIN_RUNS,
    Latency,
    compare_latency,
    measure_latency,
)
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.backends.training import Evaluate
from acgraph.config import CompressConfig
from acgraph.data import Dataset, are_class_numbers
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.results.report_entries import (
    fence_entries,
    rate_entries,
    round_entries,
    search_entries,
    training_entries,
)
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State
from acgraph.ir import InputSizes, input_sizes
from acgraph.report import (
    Int8,
    LatencyMs,
    LayerChange,
    ModelInfo,
    Obstacle,
    OutputMetric,
    OutputTaskChoice,
    Report,
    Side,
    Target,
    Verification,
    rates_between,
)
from acgraph.report.verdict import reached
from acgraph.tasks import OutputTask, Result
from acgraph.version import __version__

log = logging.getLogger(__name__)

#: Share of the remaining time budget for latency, and the smallest useful number of runs.
LATENCY_SHARE = 0.35
MIN_BUDGETED_RUNS = 5
#: Note if the accuracy floor was met on the selection split but not on the report split.
_OTHER_EXAMPLES = (
    "the accuracy loss is within --max-drop on the selection split, by which rates are "
    "chosen, but not on the report split: use a smaller --max-drop, or give more evaluation "
    "data"
)
_PACKAGES = ("onnx", "onnxruntime", "onnx-graphsurgeon", "torch", "numpy")


def measure_sides(
    config: CompressConfig,
    files: Sequence[Path],
    data: Dataset,
    sizes: InputSizes | None = None,
    *,
    tasks: Sequence[OutputTask] | None = None,
    evaluate: Evaluate | None = None,
    left_s: float | None = None,
    warn: Callable[[str], None] = log.warning,
) -> list[Side]:
    """Measure written files: costs, latency in alternating runs, accuracy on the report split.

    Args:
        config: The options: whether to measure latency, in which runtime, on how many threads.
        files: The files, the original first; without labels, the others are compared with it.
        data: The report split.
        sizes: Input sizes, the same for all files; by default the most likely ones.
        tasks: The task of each output; by default guessed from its values.
        evaluate: A metric of the user, in place of accuracy and agreement.
        left_s: Seconds left of the time budget. Latency is measured in a share of them, in fewer
            runs than usual, or not at all. None for no limit.
        warn: Callback for a warning if latency is not measured.

    Returns:
        The measurements of each file, in the same order.
    """
    settings = run_settings(config)
    timed: Sequence[Latency | None] = [None] * len(files)
    if config.timing:
        timed = _latencies([str(path) for path in files], settings, sizes, left_s, warn) or timed
    sides = []
    reference = Session(str(files[0]), settings, sizes=sizes)
    for path, latency in zip(files, timed, strict=True):
        # The cost of the file includes external weights and constants that nothing reads.
        cost = file_cost(path, sizes=sizes)
        session = Session(str(path), settings, sizes=sizes)
        score, metrics = _evaluated(session, reference, data, tasks, evaluate)
        sides.append(
            Side(
                params=cost.params,
                macs=cost.macs,
                bytes=cost.bytes,
                latency_ms=None
                if latency is None
                else LatencyMs(p50=latency.p50_ms, p90=latency.p90_ms),
                speed_up=None
                if latency is None or timed[0] is None
                else compare_latency(timed[0], latency).median,
                accuracy=score,
                outputs=metrics if path != files[0] or data.labels is not None else (),
                macs_unknown=cost.unknown,
            )
        )
    return sides


def _evaluated(
    session: Session,
    reference: Session,
    data: Dataset,
    tasks: Sequence[OutputTask] | None,
    evaluate: Evaluate | None,
) -> tuple[float, tuple[OutputMetric, ...]]:
    """Return the score of a model, and the metric of each output."""
    if evaluate is not None:
        return custom_score(session, data, evaluate), ()
    if data.labels is None:
        found = compare(session, reference, data, tasks=tasks)
        return found.value, tuple(_output_metric(each) for each in found.results)
    if not tasks or are_class_numbers(data.labels):
        return accuracy(session, data), ()
    correct = correctness(session, data, tasks)
    return correct.value, (_output_metric(correct.result),)


def _output_metric(result: Result) -> OutputMetric:
    return OutputMetric(
        output=result.name, task=result.kind, value=result.value, text=result.text,
        numbers=dict(result.numbers),
    )  # fmt: skip


def _latencies(
    files: Sequence[str],
    settings: SessionSettings,
    sizes: InputSizes | None,
    left_s: float | None,
    warn: Callable[[str], None],
) -> list[Latency] | None:
    """Measure latency in the remaining time; None if it is too short for a few runs."""
    if left_s is None:
        return measure_latency(files, settings, sizes=sizes)
    sessions = [Session(file, settings, sizes=sizes) for file in files]
    once_s = sum(_seconds_of_a_run(session) for session in sessions)
    share_s = LATENCY_SHARE * left_s
    if share_s < MIN_BUDGETED_RUNS * once_s:
        warn("latency was not measured, because too little of the time budget is left")
        return None
    each_s = min(BUDGET_S, share_s / len(files))
    if share_s >= 2 * MIN_RUNS * once_s:
        return measure_latency(sessions, budget_s=each_s)
    return measure_latency(sessions, runs=int(share_s / once_s), warmup=1)


def _seconds_of_a_run(session: Session) -> float:
    feeds = random_inputs(session)
    session.run(feeds)
    start = time.perf_counter()
    session.run(feeds)
    return time.perf_counter() - start


def make_report(
    context: Context,
    state: State,
    sides: Sequence[Side],
    equivalence: EquivalenceResult,
    changes: tuple[LayerChange, ...],
    *,
    nodes: tuple[int, int],
    int8_examples: int = 0,
) -> Report:
    """Make the report and decide whether the targets were met.

    ``sides`` are the original, the compact model, and the quantised one if there is one, which was
    calibrated on ``int8_examples`` examples.
    """
    config, dependency = context.config, context.untied.dependency
    warnings, frontier = state.warnings, rate_entries(state.frontier, context.floor)
    before, after, *quantised = sides
    requested = None if config.target_rate is None else config.target_rate.value
    draft = Report(
        model=ModelInfo(
            path=config.model,
            opset=dependency.model.graph.opset,
            nodes=nodes,
            inputs=dict(input_sizes(context.original.model).shapes),
        ),
        measure=context.data.measure,
        tasks=tuple(
            OutputTaskChoice(output=task.output, task=task.kind, reason=task.reason)
            for task in context.data.tasks
        ),
        target=Target(metric=config.metric, rate=requested, met=False, max_drop=config.max_drop),
        before=before,
        after=after,
        rate=rates_between(before, after),
        int8=int8_section(after, quantised[0], int8_examples) if quantised else None,
        verify=verification(equivalence),
        layers=changes,
        fences=fence_entries(dependency, allow_inexact=config.allow_inexact),
        obstacles=tuple(
            Obstacle(nodes=o.nodes, reason=o.reason, share=o.share, inexact=o.inexact)
            for o in obstacles(dependency, allow_inexact=config.allow_inexact)
        ),
        rounds=round_entries(state.rounds),
        search=search_entries(state.history),
        training=training_entries(state.training),
        options=changed_options(config),
        frontier=() if config.max_drop is None else frontier,
        warnings=warnings,
        runtime=config.runtime,
        seed=config.seed,
        versions=versions(),
        host=host(),
        seconds=context.clock.elapsed_s,
    )
    rate = reached(draft)
    is_within = bool(frontier) and frontier[-1].within_floor
    met = rate is not None and rate >= (requested or 1.0)
    if requested is None:
        met = is_within and bool(state.rounds) and rate is not None
    drop_met = config.max_drop is None or (
        before.accuracy is not None
        and after.accuracy is not None
        and 100 * (before.accuracy - after.accuracy) <= config.max_drop + 1e-9
    )
    target = draft.target.model_copy(update={"met": met, "drop_met": drop_met})
    if not drop_met and is_within:
        warnings = (*warnings, _OTHER_EXAMPLES)
    return draft.model_copy(update={"target": target, "warnings": warnings})


def changed_options(config: CompressConfig) -> dict[str, object]:
    """Return the options that differ from their defaults, as in a configuration file.

    Without the folders of the results and of a resumed run.
    """
    values = config.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in values.items() if name not in ("output", "resume")}


def int8_section(after: Side, quantised: Side, examples: int) -> Int8:
    """Compare the quantised model with the compact one."""
    return Int8(
        bytes=quantised.bytes,
        bytes_rate=after.bytes / quantised.bytes,
        latency_ms=quantised.latency_ms,
        latency_rate=rates_between(after, quantised).latency,
        accuracy=quantised.accuracy,
        examples=examples,
    )


def verification(equivalence: EquivalenceResult) -> Verification:
    """Describe the result of the equivalence check, with all reservations."""
    notes = equivalence.failures
    if not equivalence.vacuous:
        notes += [
            f"output '{entry.name}' does not depend on the inputs"
            for entry in equivalence.per_output
            if entry.vacuous
        ]
    return Verification(
        max_abs_error=_finite(equivalence.max_abs_error),
        max_rel_error=_finite(equivalence.max_rel_error),
        passed=equivalence.passed,
        vacuous=equivalence.vacuous,
        notes=(*notes, *equivalence.notes),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def versions() -> dict[str, str]:
    """Return the versions of the packages that computed the result."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"acgraph": __version__, "python": platform.python_version(), **found}


def host() -> dict[str, str]:
    """Describe the machine without its host name."""
    return {"system": platform.system(), "machine": platform.machine()}
