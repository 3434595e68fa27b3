"""Find the highest rate within the accuracy floor: raise it until an attempt fails, then bisect.

Each attempt is a round that starts from the highest rate that met the floor so far, so that the
training is not lost; one that meets it without retraining skips it. If none meets the floor, the
lowest rate is the result.
"""

from dataclasses import replace

from acgraph.driver.stages.rounds import RoundTarget, cut, warn_out_of_reach
from acgraph.driver.stages.target import written_cost
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State, Warnings
from acgraph.pruning.rate import format_rate
from acgraph.search import next_rate
from acgraph.search.frontier import NARROW

#: Tolerance for rounding errors in sums of fractional epochs.
_SLACK = 1e-6


def is_climb_over(context: Context, state: State) -> bool:
    """Return whether no attempt is left, for lack of cuts, of rates or of budget."""
    if state.is_exhausted or not _next_rate(context, state):
        return True
    return bool(state.frontier) and not _has_budget(context, state)


def next_attempt(context: Context, state: State) -> State:
    """Try the next rate; return the network at the highest rate that met the floor so far."""
    if not _has_budget(context, state):
        return _without_attempt(context, state)
    rate = _next_rate(context, state) or 1.0
    has_success = any(point.accuracy >= context.floor for point in state.frontier)
    base = state if has_success else _uncut(state)
    number = state.number + 1
    before = base.rounds[-1].rate if base.rounds else 1.0
    aim = RoundTarget(
        name=f"attempt {number}, {format_rate(rate)}", number=number, rate=rate,
        cost=written_cost(context, base.network), is_exact=True, enough=context.floor,
    )  # fmt: skip
    found = cut(context, base, aim)
    if found is None:
        over = replace(state, is_exhausted=True)
        return over if state.rounds else warn_out_of_reach(context, over, rate)
    after, result = found
    point = after.frontier[-1]
    is_success = point.accuracy >= context.floor
    return replace(
        after if is_success or not has_success else _restored(after, base),
        number=number,
        aimed=(*state.aimed, rate),
        is_exhausted=result.is_exhausted and is_success and point.rate < NARROW * before,
    )


def _without_attempt(context: Context, state: State) -> State:
    """End before the first attempt for lack of time."""
    warnings = Warnings(context, state)
    warnings.add(
        "no rate was tried, because no time was left for an attempt: use a larger --time-budget"
    )
    return replace(state, is_exhausted=True, warnings=warnings.texts)


def _next_rate(context: Context, state: State) -> float | None:
    tried = []
    for aimed, point in zip(state.aimed, state.frontier, strict=True):
        is_success = point.accuracy >= context.floor
        # Cuts are coarse and times noisy, so the reached rate alone may not narrow the bracket.
        tried.append((max(aimed, point.rate) if is_success else aimed, is_success))
    return next_rate(tried)


def _uncut(state: State) -> State:
    """Restore the network before any attempt, but keep the records of attempts."""
    return replace(state, network=state.prepared, positions={}, rounds=(), history=())


def _restored(after: State, best: State) -> State:
    """Restore the best network so far, but keep the records of the failed attempt."""
    return replace(best, frontier=after.frontier, warnings=after.warnings)


def _has_budget(context: Context, state: State) -> bool:
    """Return whether there are epochs, and time, for one more attempt."""
    stages = state.schedule
    spent = sum(point.epochs for point in state.frontier)
    if stages.attempt_by_s is not None and context.clock.elapsed_s >= stages.attempt_by_s:
        return False
    return spent + stages.round_epochs <= stages.attempt_epochs + _SLACK
