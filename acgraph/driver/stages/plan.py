"""Make the schedule: split the budget of a run over its stages."""

import time
from dataclasses import dataclass, replace

from acgraph.driver.evaluation.images import affordable_evaluations, whole_images
from acgraph.driver.schedule.memory import memory_bytes
from acgraph.driver.schedule.pace import Estimate, estimate, measure_pace
from acgraph.driver.schedule.plan import Pace, plan_schedule
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State

#: Share of a time budget for measuring latency at the end.
MEASURING_SHARE = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a run will need.

    Attributes:
        time: Estimated duration; None with a time budget, or if nothing is timed.
        memory_bytes: Estimated peak memory.
    """

    time: Estimate | None
    memory_bytes: int


def plan(context: Context, state: State) -> State:
    """Split the budget over the stages, and report the estimated duration and memory."""
    return planned(context, state)[0]


def planned(context: Context, state: State) -> tuple[State, Needs]:
    """Plan as :func:`plan` does, and return the estimates, too."""
    config, model, status = context.config, state.network.model, context.reporter.status
    pace = None
    if config.timing or config.time_budget is not None:
        timed = config.model_copy(update={"train": context.training(state.mode)})
        pace = measure_pace(timed, context.backend, model, context.original.model, context.data)
    stages = plan_schedule(
        config.target_rate,
        rounds=config.rounds,
        epochs=config.epochs,
        time_budget_s=config.time_budget,
        seconds_per_pass=None if pace is None else pace.pass_s,
        elapsed_s=_elapsed_s(context),
        export_s=_export_seconds(context, state, pace),
        criterion=config.criterion,
        admm_share=config.admm_share,
        retrain_share=config.retrain_share,
    )
    status(f"plan: {stages.describe()}")
    if config.columns.enabled is None and not config.cuts_columns:
        status(
            "cuts: only filters, which lose less accuracy for the same MACs; use --columns to cut "
            "columns as well"
        )
    time_needed = None
    if pace is not None and config.time_budget is None:
        affordable = affordable_evaluations(
            model,
            whole_images(config, context.data),
            stages.total_epochs * len(context.data.train),
        )
        time_needed = estimate(config, stages, pace, affordable)
        status(f"time: {time_needed.describe()}")
    needed = memory_bytes(config, context.backend, model, context.data.train)
    status(f"memory: at most about {needed / 2**30:.2g} GiB")
    return (
        replace(state, pace=pace, schedule=stages),
        Needs(time=time_needed, memory_bytes=needed),
    )


def _elapsed_s(context: Context) -> float:
    if context.config.time_budget is None:
        return 0.0
    return time.perf_counter() - context.clock.begin


def _export_seconds(context: Context, state: State, pace: Pace | None) -> float:
    """Estimate the seconds of the export: those of its rehearsal, of evaluation and of latency."""
    budget_s, rehearsal = context.config.time_budget, state.rehearsal
    if budget_s is None or rehearsal is None or pace is None:
        return 0.0
    evaluation_s = 2 * len(context.data.report) * pace.image_s  # of two models
    measuring_s = MEASURING_SHARE * budget_s if context.config.timing else 0.0
    return rehearsal.check_s + rehearsal.export_s + evaluation_s + measuring_s
