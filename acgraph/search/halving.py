"""Successive halving: evaluate many points on few examples, and the best of them on more.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016. If an evaluation is expensive, the search evaluates points on a share of the examples.
Its best points are then evaluated again, at each level fewer points on more examples.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from acgraph.search.problem import Point, SearchResult

#: Number of points at each further level, and the factor from the share of examples of one level to
#: that of the next; the last level uses all examples.
FINALISTS = (4, 2)
STEP = 3.0
#: Smallest share of the examples that distinguishes points.
MIN_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the evaluation of points.

    Attributes:
        share: Share of the examples of a full evaluation.
        count: Largest number of points.
    """

    share: float
    count: int


def plan_levels(evaluations: int, affordable: float) -> tuple[Level, ...]:
    """Plan the levels of evaluation such that their total cost is within the budget.

    Args:
        evaluations: Number of evaluations of the search.
        affordable: The budget in full evaluations; infinite for no limit.

    Returns:
        The level of the search, and those at which its best points are evaluated again: none if
        all points can be evaluated on all examples.
    """
    if evaluations <= max(affordable, 1.0):
        return (Level(1.0, evaluations),)
    counts = [min(count, evaluations) for count in FINALISTS]
    factors = [1.0, STEP, STEP * STEP]
    share = affordable / _sum(evaluations, counts, factors)
    if share * factors[-1] > 1.0:  # the last level cannot use more than all examples
        share = max(affordable - counts[-1], 0.0) / _sum(evaluations, counts[:-1], factors[:-1])
    share = min(max(share, MIN_SHARE), 1.0)
    return tuple(
        Level(min(1.0, factor * share), count)
        for factor, count in zip(factors, [evaluations, *counts], strict=True)
    )


def _sum(evaluations: int, counts: Sequence[int], factors: Sequence[float]) -> float:
    return sum(c * f for c, f in zip([evaluations, *counts], factors, strict=True))


def rerank(
    found: SearchResult,
    budget: float,
    levels: Sequence[tuple[int, Callable[[Point], float]]],
    *,
    time_budget_s: float | None = None,
) -> SearchResult:
    """Evaluate the best points of a search again at further levels.

    Args:
        found: The result of the search at the cheapest level.
        budget: Largest cost of a point.
        levels: For each level, the largest number of points and the function that scores them.
        time_budget_s: Seconds after which no evaluation starts; the best point so far is returned.

    Returns:
        The best point of the last level, with its score there.
    """
    begin = time.monotonic()
    within = {e.point: e.score for e in found.history if e.cost <= budget}
    ranked = sorted(within, key=lambda point: -within[point])
    best, score, spent = found.point, found.score, 0
    for count, evaluate in levels:
        scores: dict[Point, float] = {}
        for point in ranked[:count]:
            if time_budget_s is not None and time.monotonic() - begin >= time_budget_s:
                break
            scores[point] = evaluate(point)
            spent += 1
        if len(scores) < min(count, len(ranked)):
            break  # a point that was not evaluated might have been better
        ranked = sorted(scores, key=lambda point: -scores[point])
        best, score = ranked[0], scores[ranked[0]]
    return replace(found, point=best, score=score, evaluations=found.evaluations + spent)
