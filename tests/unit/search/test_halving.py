"""Few examples for many points, all of them for the best."""

import math

import pytest

from acgraph.search import Evaluation, SearchResult
from acgraph.search.halving import MIN_SHARE, plan_levels, rerank


def test_all_points_are_judged_by_all_examples_where_that_can_be_afforded() -> None:
    for affordable in (32.0, math.inf):
        (level,) = plan_levels(32, affordable)
        assert (level.share, level.count) == (1.0, 32)
    assert plan_levels(1, 0.01)[0].share == 1.0  # there is nothing to choose between


@pytest.mark.parametrize("affordable", [3.0, 6.0, 12.0, 20.0, 31.0])
def test_levels_cost_what_may_be_spent(affordable: float) -> None:
    levels = plan_levels(32, affordable)
    assert [level.count for level in levels] == [32, 4, 2]
    shares = [level.share for level in levels]
    assert shares == sorted(shares)
    assert shares[-1] <= 1.0
    cost = sum(level.share * level.count for level in levels)
    assert cost <= affordable + 1e-9
    assert cost >= 0.7 * affordable


def test_a_share_never_becomes_nothing() -> None:
    assert plan_levels(32, 1e-6)[0].share == MIN_SHARE


def _found(scores: dict[tuple[int], float], costs: dict[tuple[int], float]) -> SearchResult:
    history = tuple(
        Evaluation(
            point=point,
            score=score,
            cost=costs[point],
            accepted=False,
            temperature=0.0,
            seconds=0.0,
        )
        for point, score in scores.items()
    )
    best = max((e for e in history if e.cost <= 10.0), key=lambda e: e.score)
    return SearchResult(
        point=best.point, score=best.score, history=history, evaluations=len(history)
    )


def _rough() -> SearchResult:
    scores = {(n,): 0.1 * n for n in range(1, 9)}
    return _found(scores, {point: 11.0 if point == (8,) else 9.0 for point in scores})


def test_the_best_points_are_judged_again_and_the_best_of_those_wins() -> None:
    asked: list[tuple[str, tuple[int, ...]]] = []

    def middle(point: tuple[int, ...]) -> float:
        asked.append(("middle", point))
        return {(7,): 0.3, (6,): 0.5, (5,): 0.6, (4,): 0.2}[point]

    def exact(point: tuple[int, ...]) -> float:
        asked.append(("exact", point))
        return {(5,): 0.55, (6,): 0.58}[point]

    found = rerank(_rough(), 10.0, [(4, middle), (2, exact)])
    # (8,) is above the budget.
    assert asked == [
        *(("middle", (n,)) for n in (7, 6, 5, 4)),
        ("exact", (5,)),
        ("exact", (6,)),
    ]
    assert (found.point, found.score, found.evaluations) == ((6,), 0.58, 8 + 6)


def test_a_level_that_time_ends_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import acgraph.search.halving as module

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    def slow(point: tuple[int, ...]) -> float:
        clock.now += 1.0
        return -float(point[0])

    whole = rerank(_rough(), 10.0, [(4, slow), (2, slow)], time_budget_s=100.0)
    assert whole.point == (4,)
    clock.now = 0.0
    first = rerank(_rough(), 10.0, [(4, slow), (2, slow)], time_budget_s=4.5)
    assert (first.point, first.evaluations) == ((4,), 8 + 5)
    clock.now = 0.0
    none = rerank(_rough(), 10.0, [(4, slow), (2, slow)], time_budget_s=2.0)
    assert (none.point, none.score) == ((7,), pytest.approx(0.7))
