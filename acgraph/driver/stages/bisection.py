"""Bring a measured share to its target, where predictions are off and measurements may be noisy.

A single noisy measurement decides nothing but that all is well: before anything is moved it is
repeated.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from acgraph.search import Point

log = logging.getLogger(__name__)

#: A rate is good from what is asked for on to this much above it; what is aimed at lies between.
#: For times, and for what is counted.
BAND = 0.05
COUNTED_BAND = 0.01
#: Measurements of a point, of which the median counts, where the first says that it must move.
REPEATS = 3
#: Points that are measured at most.
MAX_POINTS = 8
#: The exponent of a first correction, and how it grows with every further one the same way: costs
#: are predicted, and what is gained by a correction is not known.
DAMPING = 0.8
GROWTH = 1.3


@dataclass(frozen=True, slots=True)
class Trial:
    """A point that was measured: what was aimed at for it, and its share."""

    aim: float
    point: Point
    share: float


@dataclass(slots=True, kw_only=True)
class TargetBisection:
    """Tightens and relaxes a point until it meets a target, and hardly more than that.

    Attributes:
        place: Makes the point whose predicted share is at most so much.
        measure: Measures a point's share of the original, with noise; or its cost.
        most: The share, or cost, that meets the target.
        least: The smallest predicted share that can be placed.
        band: How far above what was asked for a rate is good.
        repeats: Measurements of a point that is to move; 1 where there is no noise.
    """

    place: Callable[[float], Point]
    measure: Callable[[Point], float]
    most: float
    least: float = 0.0
    band: float = BAND
    repeats: int = REPEATS
    _trials: list[Trial] = field(default_factory=list)

    def run(self, start: Point, aim: float) -> Point:
        """Return a point that was measured within the target, if any was.

        Args:
            start: The point to begin with.
            aim: Its predicted share.

        Returns:
            Of the points that met the target the slowest; where none did the fastest.
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
                break  # there is no point between
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
        """Halve what is left between both sides, in logarithms; while there is one, scale."""
        last = self._trials[-1]
        over = [trial for trial in self._trials if trial.share > self.most]
        under = [trial for trial in self._trials if trial.share <= self.most]
        if over and under:
            return math.sqrt(over[-1].aim * under[-1].aim)
        power = DAMPING * GROWTH ** (len(self._trials) - 1)
        goal = self.most / (1.0 + self.band / 2)
        factor: float = (goal / last.share) ** power
        return max(self.least, last.aim * factor)
