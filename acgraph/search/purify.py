"""Purification: search for the largest removal that keeps the score above a floor."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.errors import SearchError, UsageError

FloatArray = npt.NDArray[np.float64]
Counts = tuple[int, ...]
"""Number of removed units of each knob, the least important ones first."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurifyResult:
    """The result of purification.

    Attributes:
        removed: Number of removed units of each knob, the least important ones.
        score: Score of that removal; at least the floor, unless nothing is removed.
        threshold: The common threshold on importance; single knobs may be cut further.
        history: Every evaluated removal with its score, in order.
    """

    removed: Counts
    score: float
    threshold: float
    history: tuple[tuple[Counts, float], ...]

    @property
    def evaluations(self) -> int:
        """The number of evaluated removals."""
        return len(self.history)


def purify_search(
    importances: Sequence[npt.NDArray[Any]],
    evaluate: Callable[[Counts], float],
    *,
    floor: float,
    candidates: Sequence[float] | None = None,
    limits: Sequence[int] | None = None,
    gains: Sequence[float] | None = None,
    evaluations: int = 32,
    time_budget_s: float | None = None,
) -> PurifyResult:
    """Search for the largest removal whose score is at least a floor.

    First, one threshold for all knobs is found by bisection. With the remaining evaluations, each
    knob is then cut further: by half of its remaining units while the score stays above the floor,
    then by a quarter, and so on, the knobs with the largest gain first. The result was itself
    evaluated, and is deterministic without a time limit.

    Args:
        importances: The importance of each unit, one array for each knob, in any order. They must
            be comparable between knobs, for instance norms divided by the mean norm of the layer.
        evaluate: Score of a removal, higher is better.
        floor: The lowest score to accept.
        candidates: The thresholds to try; all distinct importances by default.
        limits: Largest number of units to remove from each knob; all but one by default.
        gains: Cost that removing one unit of each knob saves; 1 by default.
        evaluations: Largest number of evaluations, at least 1: the first one removes nothing.
        time_budget_s: Seconds after which no evaluation starts; the result then depends on the
            speed of the machine.

    Raises:
        UsageError: No evaluation is allowed.
        SearchError: The arguments are inconsistent, or a score is not finite.
    """
    if evaluations < 1:
        raise UsageError(f"purification needs at least 1 evaluation, not {evaluations}")
    rising = [np.sort(np.asarray(values, dtype=np.float64).ravel()) for values in importances]
    caps = [max(values.size - 1, 0) for values in rising] if limits is None else list(limits)
    saved = [1.0] * len(rising) if gains is None else list(gains)
    if not len(rising) == len(caps) == len(saved):
        raise SearchError("purification: importances, limits and gains must be one per knob")
    until = math.inf if time_budget_s is None else time.perf_counter() + time_budget_s
    trial = _Trial(evaluate, floor, evaluations, until)
    nothing = (0,) * len(rising)
    if not trial.passes(nothing):
        return trial.result(nothing, 0.0)
    thresholds = _thresholds(rising, candidates)
    threshold, removed = _bisect(trial, rising, caps, thresholds)
    removed = _extend(trial, removed, caps, saved)
    _log.info(
        "purification removes %d units after %d evaluations", sum(removed), len(trial.history)
    )
    return trial.result(removed, threshold)


class _Trial:
    """Evaluates each removal once, up to a number of evaluations and a time limit.

    The first evaluation is always made.
    """

    def __init__(
        self, evaluate: Callable[[Counts], float], floor: float, limit: int, until: float
    ) -> None:
        self._evaluate = evaluate
        self._floor = floor
        self._limit = limit
        self._until = until
        self._scores: dict[Counts, float] = {}

    @property
    def history(self) -> tuple[tuple[Counts, float], ...]:
        return tuple(self._scores.items())

    @property
    def is_over(self) -> bool:
        count = len(self._scores)
        return count >= self._limit or (count > 0 and time.perf_counter() >= self._until)

    def passes(self, removed: Counts) -> bool:
        """Return whether the score of a removal is at least the floor.

        False if it is unknown and no evaluation is left.
        """
        if removed not in self._scores:
            if self.is_over:
                return False
            score = float(self._evaluate(removed))
            if not math.isfinite(score):
                raise SearchError(f"a removal was evaluated to {score}")
            self._scores[removed] = score
        return self._scores[removed] >= self._floor

    def result(self, removed: Counts, threshold: float) -> PurifyResult:
        return PurifyResult(
            removed=removed,
            score=self._scores[removed],
            threshold=threshold,
            history=self.history,
        )


def _thresholds(rising: Sequence[FloatArray], candidates: Sequence[float] | None) -> FloatArray:
    if candidates is not None:
        return np.unique(np.asarray(candidates, dtype=np.float64))
    # Just above each importance, so that the unit with this importance is removed.
    return np.asarray(np.nextafter(np.unique(np.concatenate([np.zeros(0), *rising])), np.inf))


def _bisect(
    trial: _Trial, rising: Sequence[FloatArray], caps: Sequence[int], thresholds: FloatArray
) -> tuple[float, Counts]:
    best, found = 0.0, (0,) * len(rising)
    low, high = -1, len(thresholds)
    while high - low > 1:
        middle = (low + high) // 2
        removed = _below(thresholds[middle], rising, caps)
        if trial.passes(removed):
            low, best, found = middle, float(thresholds[middle]), removed
        else:
            high = middle
    return best, found


def _below(threshold: float, rising: Sequence[FloatArray], caps: Sequence[int]) -> Counts:
    return tuple(
        min(cap, int(np.searchsorted(values, threshold)))
        for values, cap in zip(rising, caps, strict=True)
    )


def _extend(trial: _Trial, removed: Counts, caps: Sequence[int], saved: Sequence[float]) -> Counts:
    steps = [-(-(cap - gone) // 2) for cap, gone in zip(caps, removed, strict=True)]
    while any(steps) and not trial.is_over:
        for index in sorted(range(len(steps)), key=lambda i: -saved[i] * steps[i]):
            further = (*removed[:index], removed[index] + steps[index], *removed[index + 1 :])
            if steps[index] and trial.passes(further):
                removed = further
                steps[index] = min(steps[index], caps[index] - removed[index])
            else:
                steps[index] //= 2
    return removed
