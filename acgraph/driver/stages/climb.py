"""The highest rate within a floor: attempts that climb, and close in once one fails."""

from collections.abc import Callable

from acgraph.driver.stages.rounds import cut, say_out_of_reach
from acgraph.driver.state.run import Run, State, written_cost
from acgraph.report import format_rate
from acgraph.search import next_rate
from acgraph.search.frontier import NARROW

#: What sums of fractions of epochs may be off by.
_SLACK = 1e-6


def climb(run: Run, base: State, save: Callable[[], None]) -> None:
    """Leave the network at the highest rate found that holds the floor on the selection split.

    Each attempt is a round from the highest rate that held so far, so that its training is not
    lost; one that holds without retraining spends none. Where none holds, the gentlest is left.

    Args:
        run: Its frontier says what was tried before an interruption, and its state is the best of
            that.
        base: The network before any attempt.
        save: Called after every attempt.
    """
    best = run.state if any(point.within_floor for point in run.frontier) else base
    tried = [(point.rate, point.within_floor) for point in run.frontier]
    while (rate := next_rate(tried)) and _has_budget(run):
        gentlest = run.state
        run.restore(best)
        number, before = len(run.frontier) + 1, run.rounds[-1].rate if run.rounds else 1.0
        result = cut(
            run,
            f"attempt {number}, {format_rate(rate)}",
            number,
            rate,
            cost=written_cost(run, run.model),
            is_exact=True,
            enough=run.floor,
        )
        if result is None:
            run.restore(gentlest)
            if not run.rounds:
                say_out_of_reach(run, rate)
            return
        point = run.frontier[-1]
        # Cuts are coarse and times noisy: what was reached alone need not narrow the bracket.
        tried.append((max(rate, point.rate) if point.within_floor else rate, point.within_floor))
        if point.within_floor:
            best = run.state
        elif best is not base:
            run.restore(best)
        save()
        if result.is_exhausted and point.within_floor and point.rate < NARROW * before:
            return
    if not run.frontier:
        run.warn("no rate was tried: no time was left for an attempt; give more time")


def _has_budget(run: Run) -> bool:
    """Whether there are epochs, and time, for one more attempt."""
    stages = run.stages
    spent = sum(point.epochs for point in run.frontier)
    if stages.attempt_by_s is not None and run.elapsed_s >= stages.attempt_by_s:
        return False
    return spent + stages.round_epochs <= stages.attempt_epochs + _SLACK
