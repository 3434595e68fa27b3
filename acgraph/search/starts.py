"""Points that are found without evaluations: uniform, by a global threshold, and random."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.errors import SearchError
from acgraph.search.budget import check_budget, fill, project_to_budget
from acgraph.search.problem import Knob, Point, Problem

FloatArray = npt.NDArray[np.float64]
Importances = Sequence[npt.NDArray[Any]]

_MAX_RATIO = 8.0
"""Largest ratio of the kept shares of two knobs in a random point."""


def uniform_point(problem: Problem) -> Point:
    """Return the point that keeps the same share of each knob."""
    return project_to_budget(problem.whole, problem)


def global_point(problem: Problem, importances: Importances) -> Point:
    """Return the point that keeps all units whose importance exceeds a common threshold.

    The threshold is the lowest one within the budget. The budget that rounding leaves is spent on
    the knobs whose next unit is the most important.

    Args:
        problem: Knobs, cost and budget.
        importances: The importance of each unit, one array for each knob, in any order. They must
            be comparable between knobs: see ``acgraph.pruning.importance.set_importance``.

    Raises:
        SearchError: The arrays do not fit the knobs, or the budget cannot be met.
    """
    check_budget(problem)
    rising = [np.sort(np.asarray(values, dtype=np.float64).ravel()) for values in importances]
    if [values.size for values in rising] != [knob.size for knob in problem.knobs]:
        raise SearchError("the importances do not fit the knobs: one number per unit is needed")
    thresholds = np.append(np.unique(np.concatenate(rising)), np.inf)
    low, high = 0, len(thresholds) - 1
    while low < high:
        middle = (low + high) // 2
        if problem.fits(_above(thresholds[middle], rising, problem.knobs)):
            high = middle
        else:
            low = middle + 1
    point = _above(thresholds[low], rising, problem.knobs)
    lost = [
        values[knob.size - kept - 1] if kept < knob.size else -np.inf
        for kept, values, knob in zip(point, rising, problem.knobs, strict=True)
    ]
    return fill(point, problem, sorted(range(len(point)), key=lambda i: -lost[i]))


def random_point(problem: Problem, rng: np.random.Generator, guidance: float) -> Point:
    """Return a point with random shares, projected onto the budget.

    Args:
        problem: Knobs, cost and budget.
        rng: The random number generator.
        guidance: Probability that larger layers are assigned smaller shares.
    """
    shares = np.exp(rng.uniform(-np.log(_MAX_RATIO), 0.0, len(problem.knobs)))
    if rng.random() < guidance:
        shares = by_weight(shares, problem.knobs)
    return project_to_budget(kept_from_shares(shares, problem.knobs), problem)


def by_weight(shares: FloatArray, knobs: Sequence[Knob]) -> FloatArray:
    """Sort the shares such that, among knobs of a kind, a larger weight gets a smaller share.

    This follows AutoCompress: the more weights a layer has, the more of them are redundant.
    """
    ordered = shares.copy()
    for kind in ("filters", "columns"):
        indices = [index for index, knob in enumerate(knobs) if knob.kind == kind]
        heaviest_first = sorted(indices, key=lambda index: -knobs[index].weight)
        ordered[heaviest_first] = np.sort(shares[indices])
    return ordered


def kept_from_shares(shares: FloatArray, knobs: Sequence[Knob]) -> list[float]:
    """Return the kept counts, not rounded, of kept shares."""
    return [float(share) * knob.size for share, knob in zip(shares, knobs, strict=True)]


def _above(threshold: float, rising: Sequence[FloatArray], knobs: Sequence[Knob]) -> Point:
    return tuple(
        knob.snap(knob.size - int(np.searchsorted(values, threshold)))
        for values, knob in zip(rising, knobs, strict=True)
    )
