"""Adjust a point until its measured cost meets the target, as predictions may be inaccurate.

Measurements may be noisy. A single one is enough to accept a point, but it is repeated before the
point is moved.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from acgraph.search import Point

log = logging.getLogger(__name__)

#: A rate is accepted from the target up to this much above it. The first is for measured times, the
#: second for counted costs.
BAND = 0.05
COUNTED_BAND = 0.01
#: Measurements of a point, of which the median counts, if the first one misses the target.
REPEATS = 3
#: Largest number of points to measure.
MAX_POINTS = 8
#: The exponent of the first correction, and its growth with every further one in the same
#: direction: the effect of a correction on the measured cost is not known exactly.
DAMPING = 0.8
GROWTH = 1.3


@dataclass(frozen=True, slots=True)
class Trial:
    """A measured point: the predicted share that it was placed at, and the measured share."""

    aim: float
    point: Point
    share: float


@dataclass(slots=True, kw_only=True)
class TargetBisection:
    """Tightens and relaxes a point until it meets a target without exceeding it by much.

    Attributes:
        place: Returns a point whose predicted share is at most the argument.
        measure: Measures a point's share of the original, with noise; or its cost.
        most: The largest share, or cost, that meets the target.
        least: The smallest predicted share for which there is a point.
        band: Relative excess over the target rate that is accepted.
        repeats: Number of measurements of a point that is to be moved; 1 if there is no noise.
    """

    place: Callable[[float], Point]
    measure: Callable[[Point], float]
    most: float
    least: float = 0.0
    band: float = BAND
    repeats: int = REPEATS
    _trials: list[Trial] = field(default_factory=list)

    def run(self, start: Point, aim: float) -> Point:
        """Return a point that was measured to meet the target, if there is one.

        Args:
            start: The point to begin with.
            aim: Its predicted share.

        Returns:
            The slowest of the points that met the target; the fastest point if none did.
        """
        point = start
        for _ in range(MAX_POINTS):
            share = self._share_of(point)
            self._trials.append(Trial(aim, point, share))
            log.info("share aimed at %.4g, measured %.4g of at most %.4g", aim, share, self.most)
            if self._is_good(share):
                break
            aim = self._next_aim()
            point = self.place(aim)
            if any(trial.point == point for trial in self._trials):
                break  # there is no point in between
        met = [trial for trial in self._trials if trial.share <= self.most]
        if met:
            return max(met, key=lambda trial: trial.share).point
        return min(self._trials, key=lambda trial: trial.share).point

    def _is_good(self, share: float) -> bool:
        return self.most / (1.0 + self.band) <= share <= self.most

    def _share_of(self, point: Point) -> float:
        first = self.measure(point)
        if self._is_good(first):
            return first
        more = [self.measure(point) for _ in range(self.repeats - 1)]
        return float(np.median([first, *more]))

    def _next_aim(self) -> float:
        """Bisect the bracket in logarithms; while there is only one side, scale from it."""
        last = self._trials[-1]
        over = [trial for trial in self._trials if trial.share > self.most]
        under = [trial for trial in self._trials if trial.share <= self.most]
        if over and under:
            return math.sqrt(over[-1].aim * under[-1].aim)
        power = DAMPING * GROWTH ** (len(self._trials) - 1)
        goal = self.most / (1.0 + self.band / 2)
        factor: float = (goal / last.share) ** power
        return max(self.least, last.aim * factor)
