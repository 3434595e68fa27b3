"""Projection onto the budget: every evaluated point uses as much of the budget as possible."""

from collections.abc import Sequence

from acgraph.errors import SearchError
from acgraph.pruning.rate import Rate
from acgraph.search.problem import Knob, Point, Problem

_BISECTIONS = 60
_NEGLIGIBLE = 1e-3
"""Smaller counts are set to 0: scaling them up to one unit would dominate the others."""


def project_to_budget(point: Sequence[float], problem: Problem) -> Point:
    """Scale all kept counts by one factor to the budget, and round them to allowed counts.

    Counts are clipped to the allowed range, and the factor compensates for clipped counts
    (water-filling). Counts are rounded down; the unused budget is then spent step by step on the
    counts that lost most by rounding. In the result no count can be raised by one step within the
    budget, so that a projected point is a fixed point.

    It evaluates the cost some tens of times for the factor, and about once for each knob.

    Args:
        point: Kept counts, non-negative, possibly fractional.
        problem: Knobs, cost and budget.

    Raises:
        SearchError: The cost of the smallest point exceeds the budget.
    """
    check_budget(problem)
    wish = [kept if kept >= _NEGLIGIBLE else 0.0 for kept in point]
    wanted, scaled = _largest_scaling(wish, problem)
    losses = [
        (want - kept) / knob.step
        for want, kept, knob in zip(wanted, scaled, problem.knobs, strict=True)
    ]
    return fill(scaled, problem, sorted(range(len(scaled)), key=lambda i: -losses[i]))


def check_budget(problem: Problem) -> None:
    """Check that the smallest point is within the budget.

    Raises:
        SearchError: It is not; the hint names the highest rate that can be reached.
    """
    smallest = problem.cost(problem.smallest)
    if smallest <= problem.budget:
        return
    whole = problem.cost(problem.whole)
    reachable = f"at most {Rate.between(whole, smallest)}" if smallest > 0.0 else "no rate"
    raise SearchError(
        f"the budget of {problem.budget:g} cannot be met: the largest allowed cut leaves "
        f"{smallest:g} of {whole:g}",
        hint=f"{reachable} can be reached",
    )


def fill(point: Point, problem: Problem, order: Sequence[int]) -> Point:
    """Raise counts within the budget until none can be raised.

    Each knob in turn is raised by one step, then each in turn as far as possible. A knob that
    cannot be raised now cannot be raised later, because the cost does not fall when another count
    rises.

    Args:
        point: Allowed counts within the budget.
        problem: Knobs, cost and budget.
        order: Indices of all knobs, by descending priority.
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
        # A complete layer may be cheaper than one that lacks a few units and so stores indices.
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
    """Return the counts before and after rounding, for the largest factor within the budget."""
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
