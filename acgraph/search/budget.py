"""The projection onto the budget: every point that a search looks at uses all of it and no more."""

from collections.abc import Sequence

from acgraph.errors import SearchError
from acgraph.pruning.rate import Rate
from acgraph.search.problem import Knob, Point, Problem

_BISECTIONS = 60
_NOTHING = 1e-3
"""Wished counts below this are none at all: scaling them up to one unit would dwarf the rest."""


def project_to_budget(point: Sequence[float], problem: Problem) -> Point:
    """Scale all kept counts by one factor to the budget, then round so that nothing more fits.

    Counts are clipped to what each knob allows, and the factor makes up for what the clipped ones
    do not give (water-filling). Rounding is down; what that leaves of the budget goes back step
    by step to the counts that lost most by it. At the end no single count can be raised by one
    step within the budget, so a point that is already such is returned as it is.

    Needs tens of cost evaluations for the factor and about one for each knob.

    Args:
        point: Kept counts, not negative, whole or not.
        problem: Knobs, cost and budget.

    Raises:
        SearchError: Where even the smallest point exceeds the budget.
    """
    check_budget(problem)
    wish = [kept if kept >= _NOTHING else 0.0 for kept in point]
    wanted, scaled = _largest_scaling(wish, problem)
    losses = [
        (want - kept) / knob.step
        for want, kept, knob in zip(wanted, scaled, problem.knobs, strict=True)
    ]
    return fill(scaled, problem, sorted(range(len(scaled)), key=lambda i: -losses[i]))


def check_budget(problem: Problem) -> None:
    """Make sure that some point is within the budget.

    Raises:
        SearchError: Where none is, with the highest rate that can be reached.
    """
    least = problem.cost(problem.smallest)
    if least <= problem.budget:
        return
    whole = problem.cost(problem.whole)
    reachable = f"at most {Rate.between(whole, least)}" if least > 0.0 else "no rate"
    raise SearchError(
        f"the budget of {problem.budget:g} cannot be met: the smallest cut that is allowed "
        f"leaves {least:g} of {whole:g}",
        hint=f"{reachable} can be reached",
    )


def fill(point: Point, problem: Problem, order: Sequence[int]) -> Point:
    """Raise counts within the budget until none can be raised any more.

    Every knob in turn gets one step; then every knob in turn gets as many as fit. A knob that
    cannot rise once can never rise later, because cost does not fall where another count rises.

    Args:
        point: Allowed counts within the budget.
        problem: Knobs, cost and budget.
        order: Numbers of all knobs, those that come first are served first.
    """
    risen = []
    for index in order:
        lifted = _with(point, index, problem.knobs[index].raised(point[index]))
        if lifted != point and problem.fits(lifted):
            point = lifted
            risen.append(index)
    for index in risen:
        point = raise_fully(point, problem, index)
    for index in order:
        # A whole knob may be cheaper than one that is nearly so: it needs no index of what is left.
        whole = _with(point, index, problem.knobs[index].size)
        if whole != point and problem.fits(whole):
            point = whole
    return point


def raise_fully(point: Point, problem: Problem, index: int) -> Point:
    """Raise one count as far as the budget allows, by doubling and bisection."""
    knob, kept = problem.knobs[index], point[index]
    fitting, steps = 0, 1
    while knob.raised(kept, fitting) < knob.size and _fits_at(point, problem, index, steps):
        fitting, steps = steps, 2 * steps
    too_many = steps
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        if _fits_at(point, problem, index, middle):
            fitting = middle
        else:
            too_many = middle
    return _with(point, index, knob.raised(kept, fitting)) if fitting else point


def _fits_at(point: Point, problem: Problem, index: int, steps: int) -> bool:
    return problem.fits(_with(point, index, problem.knobs[index].raised(point[index], steps)))


def _largest_scaling(point: Sequence[float], problem: Problem) -> tuple[list[float], Point]:
    """Scaled counts before and after rounding, for the largest factor within the budget."""
    knobs = problem.knobs
    limits = [k.size / p for p, k in zip(point, knobs, strict=True) if p > 0.0]
    low, high = 0.0, max(limits, default=0.0)
    below, above = _scaled(point, knobs, low), _scaled(point, knobs, high)
    if problem.fits(above):
        return [high * kept for kept in point], above
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        between = _scaled(point, knobs, middle)
        if between == below or (between != above and problem.fits(between)):
            low, below = middle, between
        else:
            high, above = middle, between
    return [low * kept for kept in point], below


def _scaled(point: Sequence[float], knobs: Sequence[Knob], factor: float) -> Point:
    return tuple(knob.snap(factor * kept) for knob, kept in zip(knobs, point, strict=True))


def _with(point: Point, index: int, kept: int) -> Point:
    return (*point[:index], kept, *point[index + 1 :])
