"""The search problem: the kept count of each knob, with the best score within a budget."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from acgraph.errors import UsageError

Point = tuple[int, ...]
"""The kept count of each knob, in the order of the problem's knobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A number to choose: how many filters or columns of a layer are kept.

    Allowed counts are the multiples of ``step`` from ``floor`` to ``most``, and ``size`` itself.

    Attributes:
        name: Unique name.
        kind: The units that are counted.
        size: The count before the cut, at least 1.
        min_keep: Smallest count, from 0 to ``size``.
        weight: Params or MACs that depend on the knob, non-negative; larger ones are cut more.
        step: The count is a multiple of this.
        most: Largest count below ``size``, at least ``floor``; None for no such limit.
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
        """The smallest allowed count."""
        return min(self.size, math.ceil(self.min_keep / self.step) * self.step)

    def snap(self, kept: float) -> int:
        """Return the largest allowed count that is at most ``kept``, or the floor."""
        if kept >= self.size:
            return self.size
        # 1e-9 compensates for rounding of a product that should be an integer.
        kept = self._limited(kept)
        return max(self.floor, math.floor(kept / self.step + 1e-9) * self.step)

    def snap_up(self, kept: float) -> int:
        """Return the smallest allowed count that is at least ``kept``."""
        return self._or_whole(max(self.floor, math.ceil(kept / self.step - 1e-9) * self.step))

    def raised(self, kept: int, steps: int = 1) -> int:
        """Return the allowed count ``steps`` above an allowed count."""
        return self._or_whole((kept // self.step + steps) * self.step)

    def lowered(self, kept: int, steps: int = 1) -> int:
        """Return the allowed count ``steps`` below an allowed count."""
        return self.snap(min(kept - 1, (math.ceil(kept / self.step) - steps) * self.step))

    def _limited(self, kept: float) -> float:
        return kept if self.most is None else min(kept, self.most)

    def _or_whole(self, kept: int) -> int:
        return self.size if kept > self._limited(kept) else min(self.size, kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The problem of finding the point with the best score whose cost is within the budget.

    Attributes:
        knobs: The numbers to choose.
        cost: Params, MACs, bytes or milliseconds of a point; it must not fall when a count rises.
        budget: Largest cost of a point, a hard constraint.
        evaluate: Score of a point, for instance its accuracy in [0, 1]; higher is better.
        evaluate_many: Scores of several points at once; None if that is not faster.
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
        """The point with the smallest allowed counts."""
        return tuple(knob.floor for knob in self.knobs)

    def fits(self, point: Point) -> bool:
        """Return whether the cost of a point is within the budget."""
        return self.cost(point) <= self.budget

    def with_cost_cache(self) -> "Problem":
        """Return the same problem, with a cache for the costs of points."""
        return replace(self, cost=cache(self.cost))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluated point.

    Attributes:
        point: The kept counts.
        score: Its score.
        cost: Its cost.
        accepted: Whether the search moved to this point.
        temperature: Temperature of annealing at that time, in units of the score; 0 for other
            methods.
        seconds: Duration of the evaluation.
    """

    point: Point
    score: float
    cost: float
    accepted: bool
    temperature: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The result of a search.

    Attributes:
        point: The best point within the budget.
        score: Its score.
        history: All evaluations, in order.
        evaluations: The number of evaluations; each point is evaluated only once.
    """

    point: Point
    score: float
    history: tuple[Evaluation, ...]
    evaluations: int
