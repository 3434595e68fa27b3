"""Evaluate the points of a search problem: with a limit, a cache and a history."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from acgraph.errors import SearchError
from acgraph.search.problem import Evaluation, Point, Problem, SearchResult


class Evaluator:
    """Evaluates each point once, up to a number of evaluations and a time limit.

    Args:
        problem: The search problem.
        limit: Largest number of evaluations, at least 1.
        time_budget_s: Seconds after which no evaluation starts, except the first.
    """

    def __init__(self, problem: Problem, limit: int, time_budget_s: float | None = None) -> None:
        self._problem = problem
        self._limit = limit
        self._time_budget_s = math.inf if time_budget_s is None else time_budget_s
        self._start_s = time.monotonic()
        self._index: dict[Point, int] = {}
        self.history: list[Evaluation] = []

    @property
    def remaining(self) -> int:
        """Number of remaining evaluations; 0 after the time limit."""
        is_late = bool(self.history) and time.monotonic() - self._start_s >= self._time_budget_s
        return 0 if is_late else self._limit - len(self.history)

    @property
    def progress(self) -> float:
        """The used share, in [0, 1], of the evaluations or of the time, whichever is larger."""
        elapsed = (time.monotonic() - self._start_s) / max(self._time_budget_s, 1e-9)
        return min(1.0, max(len(self.history) / self._limit, elapsed))

    def is_known(self, point: Point) -> bool:
        """Return whether the point was evaluated."""
        return point in self._index

    def scores(self, points: Sequence[Point], temperature: float = 0.0) -> dict[Point, float]:
        """Return the scores of the points that are known or can still be evaluated.

        Args:
            points: The points.
            temperature: The temperature of annealing, for the history.

        Raises:
            SearchError: A score is not a finite number.
        """
        fresh = list(dict.fromkeys(point for point in points if point not in self._index))
        if self._problem.evaluate_many is not None:
            batch = fresh[: self.remaining]
            if batch:
                start_s = time.monotonic()
                scores = self._problem.evaluate_many(batch)
                seconds = (time.monotonic() - start_s) / len(batch)
                for point, score in zip(batch, scores, strict=True):
                    self._record(point, score, temperature, seconds)
        else:
            for point in fresh:
                if self.remaining > 0:
                    start_s = time.monotonic()
                    score = self._problem.evaluate(point)
                    self._record(point, score, temperature, time.monotonic() - start_s)
        known = (point for point in points if point in self._index)
        return {point: self.history[self._index[point]].score for point in known}

    def accept(self, point: Point) -> None:
        """Record in the history that the search moved to a known point."""
        index = self._index[point]
        self.history[index] = replace(self.history[index], accepted=True)

    def best(self) -> Evaluation:
        """Return the evaluation with the best score within the budget; the first if equal.

        Raises:
            SearchError: No evaluated point is within the budget.
        """
        within = [item for item in self.history if item.cost <= self._problem.budget]
        if not within:
            raise SearchError("the search ended before it evaluated a point within the budget")
        return max(within, key=lambda item: item.score)

    def result(self) -> SearchResult:
        """Return the result of the search."""
        best = self.best()
        return SearchResult(
            point=best.point,
            score=best.score,
            history=tuple(self.history),
            evaluations=len(self.history),
        )

    def _record(self, point: Point, score: float, temperature: float, seconds: float) -> None:
        if not math.isfinite(score):
            raise SearchError(f"a point was evaluated to {score}", hint="check metric and data")
        self._index[point] = len(self.history)
        self.history.append(
            Evaluation(
                point=point,
                score=float(score),
                cost=self._problem.cost(point),
                accepted=False,
                temperature=temperature,
                seconds=seconds,
            )
        )
