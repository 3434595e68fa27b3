"""Simulated annealing over the kept counts of the layers, guided by their size.

As in AutoCompress (Liu et al., AAAI 2020): perturb the rates by a magnitude that shrinks with the
temperature, project to the budget, evaluate, move if better or with probability ``exp(-dE / T)``.
Here the temperature is in units of the score: it is calibrated on the problem itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acgraph.errors import UsageError
from acgraph.search.budget import fill, project_to_budget, raise_fully
from acgraph.search.evaluator import Evaluator
from acgraph.search.problem import Point, Problem
from acgraph.search.starts import by_weight, kept_from_shares

_MAX_STALE = 100
"""Number of successive iterations without a new proposal after which the search ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnealConfig:
    """Parameters of simulated annealing.

    Attributes:
        initial_acceptance: Initial probability of moving to a typical worse point, in (0, 1).
        final_share: Final temperature divided by the initial one, in (0, 1].
        magnitude: Initial standard deviation of the change of the logarithm of a kept share.
        final_magnitude: Its final value.
        guidance: Initial probability that larger layers are assigned smaller kept shares; it
            decreases to 0. In a random search it is constant.
        calibration: Number of random moves from which the initial temperature is derived, at
            least 1.
        batch: Number of proposals that are evaluated together, at least 1.
    """

    initial_acceptance: float = 0.05
    final_share: float = 0.01
    magnitude: float = 0.8
    final_magnitude: float = 0.2
    guidance: float = 0.5
    calibration: int = 6
    batch: int = 1

    def __post_init__(self) -> None:
        checks = (
            (0.0 < self.initial_acceptance < 1.0, "the initial acceptance must be in (0, 1)"),
            (0.0 < self.final_share <= 1.0, "the final share of temperature must be in (0, 1]"),
            (
                0.0 < self.final_magnitude <= self.magnitude,
                "the final magnitude must be positive and at most the magnitude",
            ),
            (0.0 <= self.guidance <= 1.0, "the guidance must be in [0, 1]"),
            (self.calibration >= 1 and self.batch >= 1, "calibration and batch must be at least 1"),
        )
        for is_met, message in checks:
            if not is_met:
                raise UsageError(f"annealing: {message}")


def anneal(
    problem: Problem,
    evaluator: Evaluator,
    starts: Sequence[Point],
    config: AnnealConfig,
    rng: np.random.Generator,
) -> None:
    """Search by simulated annealing until all evaluations are used; the evaluator has the result.

    Args:
        problem: Knobs, cost and budget.
        evaluator: Evaluates points, up to its limit.
        starts: Points within the budget; the search starts from the best of them.
        config: The parameters.
        rng: The random number generator.
    """
    walk = _Walk(problem, evaluator, config, rng)
    start = walk.best_of(starts)
    hottest = walk.calibrate(start)
    current = walk.best_of([evaluator.best().point])
    begun = evaluator.progress
    stale = 0
    while evaluator.remaining > 0 and stale < _MAX_STALE:
        progress = (evaluator.progress - begun) / max(1.0 - begun, 1e-9)
        temperature = hottest * config.final_share**progress
        proposals = [walk.propose(current, progress, stale) for _ in range(config.batch)]
        stale = stale + 1 if all(map(evaluator.is_known, proposals)) else 0
        current = walk.accept(current, proposals, temperature)


class _Walk:
    """The moves of simulated annealing."""

    def __init__(
        self,
        problem: Problem,
        evaluator: Evaluator,
        config: AnnealConfig,
        rng: np.random.Generator,
    ) -> None:
        self._problem = problem
        self._evaluator = evaluator
        self._config = config
        self._rng = rng

    def best_of(self, points: Sequence[Point]) -> Point:
        scores = self._evaluator.scores(points)
        best = max(scores, key=lambda point: scores[point])
        self._evaluator.accept(best)
        return best

    def calibrate(self, start: Point) -> float:
        """Return the temperature at which a typical move has the initial acceptance."""
        config = self._config
        moves = [self.propose(start, 0.0, 0) for _ in range(config.calibration)]
        scores = self._evaluator.scores([start, *moves])
        changes = [abs(scores[p] - scores[start]) for p in moves if p in scores and p != start]
        typical = float(np.median(changes)) if changes else 0.0
        return typical / -math.log(config.initial_acceptance)

    def propose(self, current: Point, progress: float, stale: int) -> Point:
        """Return a neighbour on the budget; further away after iterations without a new point."""
        config = self._config
        shrink = (config.final_magnitude / config.magnitude) ** progress
        magnitude = config.magnitude * shrink * (1.0 + 0.1 * stale)
        if self._rng.random() < 0.5 * (1.0 + progress):
            return self._transfer(current, magnitude)
        return self._perturb(current, magnitude, config.guidance * (1.0 - progress))

    def accept(self, current: Point, proposals: Sequence[Point], temperature: float) -> Point:
        """Return the next point by the Metropolis criterion."""
        scores = self._evaluator.scores([current, *proposals], temperature)
        for point in proposals:
            if point == current or point not in scores:
                continue
            loss = scores[current] - scores[point]
            if loss <= 0.0 or self._rng.random() < _acceptance(loss, temperature):
                self._evaluator.accept(point)
                current = point
        return current

    def _perturb(self, current: Point, magnitude: float, guidance: float) -> Point:
        """Change a random subset of the shares, and scale all shares to the budget."""
        knobs, rng = self._problem.knobs, self._rng
        shares = np.array([kept / k.size for kept, k in zip(current, knobs, strict=True)])
        touched = rng.random(len(knobs)) < rng.random()
        touched[rng.integers(len(knobs))] = True
        shares = shares * np.exp(touched * rng.normal(0.0, magnitude, len(knobs)))
        if rng.random() < guidance:
            shares = by_weight(shares, knobs)
        return project_to_budget(kept_from_shares(shares, knobs), self._problem)

    def _transfer(self, current: Point, magnitude: float) -> Point:
        """Lower one or two knobs, and spend the freed budget on the others, in random order."""
        problem, rng = self._problem, self._rng
        order = [int(index) for index in rng.permutation(len(problem.knobs))]
        givers = order[: 1 + int(rng.integers(2))] if len(order) > 2 else order[:1]
        takers = order[len(givers) :]
        point = list(current)
        for index in givers:
            knob = problem.knobs[index]
            wanted = current[index] * math.exp(-abs(rng.normal(0.0, magnitude)))
            point[index] = min(knob.snap(wanted), knob.lowered(current[index]))
        lowered = tuple(point)
        if takers and rng.random() < 0.5:
            lowered = raise_fully(lowered, problem, takers[0])
        return fill(lowered, problem, takers + givers)


def _acceptance(loss: float, temperature: float) -> float:
    return math.exp(-loss / temperature) if temperature > 0.0 else 0.0
