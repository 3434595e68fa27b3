"""The projection against brute force, and its promises on random problems."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgraph.errors import SearchError, UsageError
from acgraph.search import Knob, Point, Problem, project_to_budget
from acgraph.search.budget import fill

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def can_rise(point: Point, problem: Problem) -> bool:
    """Whether some count can go up by one allowed step within the budget."""
    for index, knob in enumerate(problem.knobs):
        if point[index] == knob.size:
            continue
        allowed = [*range(0, knob.size, knob.step), knob.size]
        higher = min(kept for kept in allowed if kept > point[index])
        if problem.cost((*point[:index], higher, *point[index + 1 :])) <= problem.budget:
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(SIZES, st.floats(1.0, 30.0), st.integers(1, 4), st.integers(0, 3), st.data())
def test_within_the_budget_and_nothing_more_fits(
    toys: SimpleNamespace, sizes: list[int], rate: float, step: int, least: int, data: st.DataObject
) -> None:
    problem = toys.chain(tuple(sizes), rate, step=step, min_keep=min(least, *sizes))
    wish = [data.draw(st.floats(0.0, 2.0 * size)) for size in sizes]
    if problem.cost(problem.smallest) > problem.budget:
        with pytest.raises(SearchError):
            project_to_budget(wish, problem)
        return
    point = project_to_budget(wish, problem)
    assert problem.cost(point) <= problem.budget
    assert not can_rise(point, problem)
    for kept, knob in zip(point, problem.knobs, strict=True):
        assert knob.min_keep <= kept <= knob.size
        assert kept == knob.size or kept % knob.step == 0
    assert project_to_budget(point, problem) == point


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 12), min_size=2, max_size=4), st.floats(1.5, 8.0), st.data())
def test_the_common_factor_is_the_largest_of_all(
    toys: SimpleNamespace, sizes: list[int], rate: float, data: st.DataObject
) -> None:
    problem = toys.chain(tuple(sizes), rate, min_keep=1)
    if problem.cost(problem.smallest) > problem.budget:
        return
    wish = [data.draw(st.integers(1, size)) for size in sizes]
    # Every factor at which some rounded count changes; the rounding forgives 1e-9.
    factors = {
        kept / want for want, size in zip(wish, sizes, strict=True) for kept in range(1, size + 1)
    }

    def scaled(factor: float) -> Point:
        rounded = zip(wish, sizes, strict=True)
        return tuple(min(size, max(1, int(factor * want + 1e-6))) for want, size in rounded)

    fitting = [f for f in factors if problem.cost(scaled(f)) <= problem.budget]
    floor = scaled(max(fitting)) if fitting else problem.smallest
    point = project_to_budget(wish, problem)
    assert all(kept >= low for kept, low in zip(point, floor, strict=True))


def test_clipped_counts_leave_their_share_to_the_others() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=100) for n in "abc")
    problem = Problem(knobs=knobs, cost=sum, budget=150.0, evaluate=sum)
    # One factor, 1.25 for all, would leave a at 125; its limit of 100 leaves 50 to b and c.
    assert project_to_budget((100, 10, 10), problem) == (100, 25, 25)
    bounded = replace(problem, knobs=(*knobs[:2], replace(knobs[2], min_keep=40)))
    assert project_to_budget((50, 50, 1), bounded) == (55, 55, 40)


def test_what_rounding_lost_most_comes_back_first() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=10) for n in "abc")
    problem = Problem(knobs=knobs, cost=lambda p: p[0] + 3 * p[1] + p[2], budget=16.0, evaluate=sum)
    # Rounded to (4, 3, 2) of cost 15; b is too dear to rise, and c lost more than a.
    assert project_to_budget((4.1, 3.99, 2.8), problem) == (4, 3, 3)


def test_a_loose_budget_cuts_nothing(toys: SimpleNamespace) -> None:
    problem = toys.chain((7, 13, 5), 1.0)
    assert project_to_budget((1, 1, 1), problem) == (7, 13, 5)


def test_an_impossible_budget_names_the_rate_that_can_be_reached() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=40, min_keep=8) for n in "ab")
    problem = Problem(knobs=knobs, cost=sum, budget=10.0, evaluate=sum)
    with pytest.raises(SearchError, match="leaves 16 of 80; at most 5x can be reached"):
        project_to_budget((40, 40), problem)


@pytest.mark.parametrize("count", [10, 60])
def test_cost_is_asked_for_modestly(count: int) -> None:
    rng = np.random.default_rng(0)
    calls = 0

    def cost(point: Point) -> float:
        nonlocal calls
        calls += 1
        # The second half is free beyond 10: columns of channels that are gone.
        half = len(point) // 2
        free = sum(min(kept, 10) for kept in point[half:])
        return float(sum(a * b for a, b in pairwise(point[:half])) + free)

    sizes = rng.integers(64, 4608, count)
    knobs = tuple(Knob(name=str(i), kind="filters", size=int(s)) for i, s in enumerate(sizes))
    whole = tuple(int(size) for size in sizes)
    problem = Problem(knobs=knobs, cost=cost, budget=cost(whole) / 20.0, evaluate=sum)
    calls = 0
    point = project_to_budget([size * rng.uniform(0.1, 1.0) for size in whole], problem)
    assert calls < 100 + 16 * count
    assert point[count // 2 :] == whole[count // 2 :]


def test_fill_serves_in_the_order_given() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=10) for n in "ab")
    problem = Problem(knobs=knobs, cost=sum, budget=9.0, evaluate=sum)
    assert fill((1, 1), problem, [0, 1]) == (7, 2)
    assert fill((1, 1), problem, [1, 0]) == (2, 7)


@pytest.mark.parametrize(
    ("knob", "allowed"),
    [
        (Knob(name="k", kind="filters", size=10, min_keep=3, step=4), [4, 8, 10]),
        (Knob(name="k", kind="filters", size=3, min_keep=1, step=8), [3]),
        (Knob(name="k", kind="filters", size=4, min_keep=0), [0, 1, 2, 3, 4]),
    ],
)
def test_steps_up_and_down_visit_all_allowed_counts(knob: Knob, allowed: list[int]) -> None:
    assert sorted({knob.snap(kept) for kept in np.arange(-1.0, 12.0, 0.25)}) == allowed
    for low, high in pairwise(allowed):
        assert knob.raised(low) == high
        assert knob.lowered(high) == low
    assert knob.raised(allowed[-1]) == allowed[-1]
    assert knob.lowered(allowed[0]) == allowed[0]


def test_wrong_knobs_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot keep from 5 to 4"):
        Knob(name="k", kind="filters", size=4, min_keep=5)
    with pytest.raises(UsageError, match="nothing to search"):
        Problem(knobs=(), cost=sum, budget=1.0, evaluate=sum)
    twin = Knob(name="k", kind="filters", size=4)
    with pytest.raises(UsageError, match="same name"):
        Problem(knobs=(twin, twin), cost=sum, budget=1.0, evaluate=sum)
