"""Problems for the search whose answers can be enumerated, or whose shape is like a network's."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from acgraph.search import Knob, Point, Problem


def points_of(problem: Problem) -> Iterator[Point]:
    """Every allowed point, within the budget or not."""
    counts = []
    for knob in problem.knobs:
        allowed = {knob.size, *range(0, knob.size + 1, knob.step)}
        counts.append(sorted(count for count in allowed if count >= knob.min_keep))
    return product(*counts)


def best_of(problem: Problem) -> float:
    """The best score within the budget, by enumeration."""
    return max(problem.evaluate(p) for p in points_of(problem) if problem.cost(p) <= problem.budget)


def best_full(problem: Problem) -> float:
    """The best score of the points where no count can rise by one within the budget."""

    def is_full(point: Point) -> bool:
        lifted = (
            (*point[:i], point[i] + 1, *point[i + 1 :])
            for i, knob in enumerate(problem.knobs)
            if point[i] < knob.size
        )
        return all(problem.cost(higher) > problem.budget for higher in lifted)

    within = (p for p in points_of(problem) if problem.cost(p) <= problem.budget)
    return max(problem.evaluate(point) for point in within if is_full(point))


def chain(sizes: tuple[int, ...], rate: float, **knob: int) -> Problem:
    """Layers whose filters multiply with those of the next, as params of a network do."""
    knobs = tuple(
        Knob(name=f"k{i}", kind="filters", size=size, weight=float(size), **knob)
        for i, size in enumerate(sizes)
    )

    def cost(point: Point) -> float:
        return float(sum(a * b for a, b in zip((3, *point), (*point, 10), strict=True)))

    return Problem(knobs=knobs, cost=cost, budget=cost(sizes) / rate, evaluate=lambda p: 0.0)


def rugged(seed: int, sizes: tuple[int, ...], rate: float, ruggedness: float = 0.03) -> Problem:
    """Accuracy that falls with every cut, unevenly, with many local optima.

    Larger layers lose less, mostly: the experience that guidance builds on.
    """
    problem = chain(sizes, rate)
    rng = np.random.default_rng(seed)
    size = np.array(sizes, dtype=np.float64)
    pain = 0.5 * (size / np.median(size)) ** -0.8 * np.exp(rng.normal(0.0, 0.7, size.size))
    power = rng.uniform(1.5, 4.0, size.size)
    phase, frequency = rng.uniform(0.0, 6.3, size.size), rng.uniform(10.0, 40.0, size.size)

    def evaluate(point: Point) -> float:
        share = np.array(point) / size
        loss = float((pain * (1.0 - share) ** power).sum()) / 4.0
        bumps = ruggedness * float(np.sin(phase + frequency * share).mean())
        return 0.1 + 0.83 * math.exp(-loss - bumps)

    return Problem(knobs=problem.knobs, cost=problem.cost, budget=problem.budget, evaluate=evaluate)


def additive(seed: int, sizes: tuple[int, ...], rate: float, step: int = 1) -> Problem:
    """Loss and cost that add up over knobs: where dynamic programming is exact."""
    rng = np.random.default_rng(seed)
    unit = rng.uniform(1.0, 5.0, len(sizes))
    tables = [np.sort(rng.uniform(0.0, 1.0, size + 1))[::-1] for size in sizes]

    def cost(point: Point) -> float:
        return float(sum(u * kept for u, kept in zip(unit, point, strict=True)))

    def evaluate(point: Point) -> float:
        return -float(sum(table[kept] for table, kept in zip(tables, point, strict=True)))

    knobs = tuple(
        Knob(name=f"k{i}", kind="columns", size=size, step=step) for i, size in enumerate(sizes)
    )
    return Problem(knobs=knobs, cost=cost, budget=cost(sizes) / rate, evaluate=evaluate)


def alone(problem: Problem) -> Callable[[int, int], float]:
    """The true loss of cutting a single knob."""
    whole = problem.whole

    def loss(index: int, kept: int) -> float:
        single = (*whole[:index], kept, *whole[index + 1 :])
        return problem.evaluate(whole) - problem.evaluate(single)

    return loss


@pytest.fixture(scope="session")
def toys() -> SimpleNamespace:
    """The functions above: test modules cannot import one another."""
    return SimpleNamespace(
        points_of=points_of,
        best_of=best_of,
        best_full=best_full,
        chain=chain,
        rugged=rugged,
        additive=additive,
        alone=alone,
    )
