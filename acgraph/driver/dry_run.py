"""``compress --dry-run``: prepare, rehearse and plan a run, and write nothing."""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from acgraph.config import CompressConfig
from acgraph.driver.opening import first_state, open_context, open_inputs
from acgraph.driver.results.folder import check_inputs_apart
from acgraph.driver.schedule.plan import RunSchedule
from acgraph.driver.stages.plan import Needs, planned
from acgraph.driver.stages.prepare import prepare
from acgraph.driver.stages.rehearse import rehearsal_in
from acgraph.driver.state.context import Clock, Context, Reporter
from acgraph.driver.state.state import State
from acgraph.errors import UsageError
from acgraph.lowering.chooser import CACHE_VARIABLE
from acgraph.report import Report, Side
from acgraph.report.forecast import Forecast, PlannedSchedule, PlannedTime

log = logging.getLogger(__name__)


def dry_run(
    config: CompressConfig,
    status: Callable[[str], None] | None = None,
    begin: float | None = None,
) -> Forecast:
    """Run the stages of ``compress`` that precede the training, and write nothing.

    Files are only made in a temporary folder, which is deleted; times are not cached either.

    Args:
        config: The options.
        status: Callback for status lines.
        begin: Start time in seconds of ``time.perf_counter``; now by default.

    Returns:
        What the run would do and need, with the layers after a cut by magnitude.

    Raises:
        AcgraphError: The run would fail before its training, or right after it.
    """
    begin = time.perf_counter() if begin is None else begin
    if config.resume is not None:
        raise UsageError("a dry run cannot be resumed", hint="omit --resume or --dry-run")
    with tempfile.TemporaryDirectory(prefix="acgraph.rehearsal-") as folder:
        made, cache = Path(folder) / "made", Path(folder) / "cache"
        made.mkdir()
        with _caching_in(cache):
            inputs = open_inputs(config, None, status or log.info)
            check_inputs_apart(config)
            reporter = Reporter(status or log.info)
            clock = Clock(begin, 0.0, config.time_budget)
            context = open_context(config, inputs, reporter, clock)
            state = prepare(context, first_state(context))
            rehearsal = rehearsal_in(made, context, state)
            state, needs = planned(context, replace(state, rehearsal=rehearsal.rehearsal))
    assert rehearsal.report is not None
    return _forecast(context, state, rehearsal.report, needs)


@contextmanager
def _caching_in(folder: Path) -> Iterator[None]:
    """Let choices by timing be cached in a folder for the duration of a block."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


def _forecast(context: Context, state: State, report: Report, needs: Needs) -> Forecast:
    config, needed = context.config, needs.time
    return Forecast(
        model=report.model,
        output=str(config.output),
        measure=report.measure,
        tasks=report.tasks,
        baseline=context.baseline,
        metric=config.metric,
        target_rate=None if config.target_rate is None else config.target_rate.value,
        schedule=_schedule(state.schedule),
        time=None
        if needed is None
        else PlannedTime(text=needed.describe(), train_s=needed.train_s, search_s=needed.search_s),
        time_budget_s=config.time_budget,
        memory_bytes=needs.memory_bytes,
        before=_costs(report.before),
        after=_costs(report.after),
        rate=report.rate,
        layers=report.layers,
        fences=report.fences,
        obstacles=report.obstacles,
        warnings=state.warnings,
        seconds=context.clock.elapsed_s,
    )


def _schedule(schedule: RunSchedule) -> PlannedSchedule:
    return PlannedSchedule(
        text=schedule.describe(),
        rates=schedule.rates,
        attempts=schedule.attempts,
        round_epochs=schedule.round_epochs,
        fine_tuning_epochs=None if schedule.finish_by_s is not None else schedule.finish,
    )


def _costs(side: Side) -> Side:
    """Leave out the accuracy of the rehearsal, which is that of a few examples."""
    return side.model_copy(update={"accuracy": None, "outputs": ()})
