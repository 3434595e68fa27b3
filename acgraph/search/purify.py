"""Purification as a search: the largest removal that the score survives."""

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
"""Removed units of every knob: its least important ones."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PurifyResult:
    """What can go.

    Attributes:
        removed: How many of each knob's least important units.
        score: Of that removal; at least the floor unless nothing is removed.
        threshold: Importance below which all went, before single knobs were taken further.
        history: Every evaluated removal with its score, in order.
    """

    removed: Counts
    score: float
    threshold: float
    history: tuple[tuple[Counts, float], ...]

    @property
    def evaluations(self) -> int:
        """How many removals were evaluated."""
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
    """Find how much can be removed while the score stays at or above a floor.

    One threshold for all knobs first, by bisection; then, with what is left of the evaluations,
    each knob further on its own, by half of what it has left while that passes, then by a
    quarter, and so on, those that gain most first. Deterministic without a time budget;
    every removal returned was itself evaluated.

    Args:
        importances: One array per knob, one number per unit, relative so that they compare
            between knobs (a norm over the mean norm of its layer, say). Any order.
        evaluate: Score of a removal, higher is better.
        floor: The lowest score to accept.
        candidates: The thresholds to try; all distinct importances by default.
        limits: Largest number of units to remove from each knob; all but one by default.
        gains: Cost that removing one unit of each knob saves; 1 by default.
        evaluations: Largest number of evaluations, at least 1: the first one removes nothing.
        time_budget_s: Stop evaluating after this long; the result then depends on the machine.

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
    _log.info("purification removes %d units after %d tries", sum(removed), len(trial.history))
    return trial.result(removed, threshold)


class _Trial:
    """Evaluates removals against the floor, each once, up to a number of them and a time.

    The first is evaluated in any case.
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
        """Whether a removal is known to keep the floor; False once evaluations are used up."""
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
    # Just above each importance, so that the unit that has it goes.
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
