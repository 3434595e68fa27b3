"""What is searched: kept counts per knob, under a budget, for the best score."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from acgraph.errors import UsageError

Point = tuple[int, ...]
"""Kept count of every knob, in the order of the problem's knobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One number to choose: how many filters, or how many columns, one place keeps.

    Allowed counts are the multiples of ``step`` from ``floor`` to ``most``, and ``size`` itself.

    Attributes:
        name: Unique among the problem's knobs.
        kind: What is counted.
        size: The count before the cut, at least 1.
        min_keep: The least to keep, from 0 to ``size``.
        weight: Params or MACs behind the knob, not negative: larger ones are cut harder.
        step: Keep a multiple of this.
        most: The most to keep where not all is kept, at least ``floor``; None for no such limit.
    """

    name: str
    kind: Literal["filters", "columns"]
    size: int
    min_keep: int = 1
    weight: float = 1.0
    step: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.min_keep <= self.size or self.step < 1:
            raise UsageError(
                f"knob '{self.name}': cannot keep from {self.min_keep} to {self.size} "
                f"in steps of {self.step}"
            )
        if self.most is not None and self.most < self.floor:
            raise UsageError(
                f"knob '{self.name}': cannot keep {self.floor} and at most {self.most}"
            )

    @property
    def floor(self) -> int:
        """The least allowed count."""
        return min(self.size, math.ceil(self.min_keep / self.step) * self.step)

    def snap(self, kept: float) -> int:
        """The greatest allowed count that is at most ``kept``, or the floor."""
        if kept >= self.size:
            return self.size
        # The sliver forgives the rounding of a product that should have been whole.
        kept = self._limited(kept)
        return max(self.floor, math.floor(kept / self.step + 1e-9) * self.step)

    def snap_up(self, kept: float) -> int:
        """The least allowed count that is at least ``kept``."""
        return self._or_whole(max(self.floor, math.ceil(kept / self.step - 1e-9) * self.step))

    def raised(self, kept: int, steps: int = 1) -> int:
        """The allowed count ``steps`` above an allowed count."""
        return self._or_whole((kept // self.step + steps) * self.step)

    def lowered(self, kept: int, steps: int = 1) -> int:
        """The allowed count ``steps`` below an allowed count."""
        return self.snap(min(kept - 1, (math.ceil(kept / self.step) - steps) * self.step))

    def _limited(self, kept: float) -> float:
        return kept if self.most is None else min(kept, self.most)

    def _or_whole(self, kept: int) -> int:
        return self.size if kept > self._limited(kept) else min(self.size, kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Find the point of best score whose cost is within the budget.

    Attributes:
        knobs: What can be cut.
        cost: Params, MACs, bytes or milliseconds of a point; it must not fall where a count rises.
        budget: The most that a point may cost: a hard constraint.
        evaluate: Score of a point, higher is better: accuracy in [0, 1], say.
        evaluate_many: Scores of several points at once, where that is faster.
    """

    knobs: tuple[Knob, ...]
    cost: Callable[[Point], float]
    budget: float
    evaluate: Callable[[Point], float]
    evaluate_many: Callable[[Sequence[Point]], Sequence[float]] | None = None

    def __post_init__(self) -> None:
        if not self.knobs:
            raise UsageError("there is nothing to search: no layer can be cut")
        if len({knob.name for knob in self.knobs}) != len(self.knobs):
            raise UsageError("two knobs of a search have the same name")

    @property
    def whole(self) -> Point:
        """The point that cuts nothing."""
        return tuple(knob.size for knob in self.knobs)

    @property
    def smallest(self) -> Point:
        """The point that cuts all that may be cut."""
        return tuple(knob.floor for knob in self.knobs)

    def fits(self, point: Point) -> bool:
        """Whether the point is within the budget."""
        return self.cost(point) <= self.budget

    def with_cost_cache(self) -> "Problem":
        """The same problem, where the cost of a point is computed once."""
        return replace(self, cost=cache(self.cost))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluated point.

    Attributes:
        point: Kept counts.
        score: What ``evaluate`` said.
        cost: What ``cost`` says.
        accepted: Whether the search moved there.
        temperature: Of the annealing at that time, in units of the score; 0 elsewhere.
        seconds: How long the evaluation took.
    """

    point: Point
    score: float
    cost: float
    accepted: bool
    temperature: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best point found.

    Attributes:
        point: Kept counts, within the budget.
        score: Its score.
        history: Every evaluation, in order.
        evaluations: How many there were; points met again are not evaluated again.
    """

    point: Point
    score: float
    history: tuple[Evaluation, ...]
    evaluations: int
