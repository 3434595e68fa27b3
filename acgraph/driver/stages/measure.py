"""Measure the written models, and write the report."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from acgraph.difference import diff_models
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.results.layer_changes import layer_changes
from acgraph.driver.results.outcome import make_report, measure_sides
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State, Warnings, equivalence_of, lowered_of, written
from acgraph.report import Side, graph_data, write_report

#: Duration of profiling both models, in runs: profiled runs are slower, and the models are loaded.
PROFILED_RUNS = 40


def measure(context: Context, state: State) -> State:
    """Measure the files, and write the report and the plan to the same folder."""
    config, original = context.config, context.original.model
    lowered, files, warnings = lowered_of(state), written(state), Warnings(context, state)
    sides = measure_sides(
        config, files.models, context.data.report, original.sizes,
        tasks=context.data.tasks or None, evaluate=context.functions.evaluate,
        left_s=context.clock.left_s, warn=warnings.add,
    )  # fmt: skip
    changes = layer_changes(
        original, state.network.model, lowered.layers, lowered.small, run_settings(config),
        is_timed=_times_layers(context, sides, warnings.add), plan=lowered.plan,
        rounds=state.rounds,
    )  # fmt: skip
    report = make_report(
        context, replace(state, warnings=warnings.texts), sides, equivalence_of(state), changes,
        nodes=(len(original.graph.nodes), len(lowered.small.graph.nodes)),
        int8_examples=files.int8_examples,
    )  # fmt: skip
    lowered.plan.save(files.folder / "plan.json")
    graph = graph_data(
        original, lowered.small, diff=diff_models(original, lowered.small),
        labels=("original", "compact"), dependency=context.untied.dependency,
    )  # fmt: skip
    write_report(report, files.folder, graph)
    return replace(state, report=report, warnings=warnings.texts)


def _times_layers(context: Context, sides: Sequence[Side], warn: Callable[[str], None]) -> bool:
    """Return whether the time budget, in which this has the lowest priority, allows profiling."""
    left_s = context.clock.left_s
    if not context.config.timing or left_s is None:
        return context.config.timing
    runs_s = [side.latency_ms.p50 / 1e3 for side in sides[:2] if side.latency_ms is not None]
    if len(runs_s) == 2 and PROFILED_RUNS * sum(runs_s) <= left_s:
        return True
    warn("layers were not timed, because too little of the time budget is left")
    return False
