"""Purification against enumeration of all removals."""

import time
from itertools import product
from typing import Any

import numpy as np
import pytest

from acgraph.errors import SearchError, UsageError
from acgraph.search import purify_search
from acgraph.search.purify import Counts


def make(seed: int, sizes: tuple[int, ...], useless: int) -> tuple[list[Any], Any]:
    """Units with harm nearly in order of importance; the least of each knob do none."""
    rng = np.random.default_rng(seed)
    importances = [np.sort(rng.gamma(2.0, 0.5, size)) for size in sizes]
    harm = [rng.uniform(0.5, 2.0) * values for values in importances]
    for values in harm:
        values[:useless] = 0.0

    def evaluate(removed: Counts) -> float:
        return 1.0 - 0.01 * sum(float(h[:r].sum()) for h, r in zip(harm, removed, strict=True))

    return importances, evaluate


@pytest.mark.parametrize("seed", range(5))
def test_removes_nearly_as_much_as_any_removal_could(seed: int) -> None:
    importances, evaluate = make(seed, (6, 8, 5), useless=2)
    result = purify_search(importances, evaluate, floor=0.97, evaluations=60)
    most = max(
        sum(removed)
        for removed in product(range(6), range(8), range(5))
        if evaluate(removed) >= 0.97
    )
    assert most - 1 <= sum(result.removed) <= most
    assert result.score == pytest.approx(evaluate(result.removed))
    assert result.score >= 0.97


@pytest.mark.parametrize("seed", range(5))
def test_nothing_more_can_go_from_any_knob(seed: int) -> None:
    importances, evaluate = make(seed, (16, 24, 12), useless=3)
    result = purify_search(importances, evaluate, floor=0.95, evaluations=200)
    for index, values in enumerate(importances):
        more = list(result.removed)
        more[index] += 1
        assert more[index] >= values.size or evaluate(tuple(more)) < 0.95


def test_useless_units_go_at_no_loss() -> None:
    importances = [np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 3.0, 1.0])]

    def evaluate(removed: Counts) -> float:
        return 1.0 if removed[0] <= 2 and removed[1] <= 1 else 0.5

    result = purify_search(importances, evaluate, floor=1.0)
    assert result.removed == (2, 1)
    assert result.score == 1.0


@pytest.mark.parametrize("evaluations", [1, 2, 3, 7, 20])
def test_evaluations_are_bounded_and_none_is_repeated(evaluations: int) -> None:
    importances, evaluate = make(0, (16, 24, 12), useless=3)
    calls: list[Counts] = []

    def counted(removed: Counts) -> float:
        calls.append(removed)
        return float(evaluate(removed))

    result = purify_search(importances, counted, floor=0.97, evaluations=evaluations)
    assert len(calls) == len(set(calls)) == result.evaluations <= evaluations
    assert result.score >= 0.97
    assert (result.removed, result.score) in result.history


def test_a_model_already_below_the_floor_loses_nothing() -> None:
    result = purify_search([np.ones(4)], lambda removed: 0.4, floor=0.5)
    assert result.removed == (0,)
    assert result.score == 0.4
    assert result.evaluations == 1


def test_all_but_one_unit_may_go_unless_limits_say_otherwise() -> None:
    importances = [np.arange(4.0), np.arange(6.0)]
    assert purify_search(importances, lambda r: 1.0, floor=0.0).removed == (3, 5)
    limited = purify_search(importances, lambda r: 1.0, floor=0.0, limits=[1, 6])
    assert limited.removed == (1, 6)


def test_candidates_are_the_thresholds_tried() -> None:
    importances = [np.array([0.1, 0.2, 0.3, 0.4])]
    result = purify_search(
        importances, lambda r: 1.0 - 0.1 * r[0], floor=0.75, candidates=[0.15, 0.9], evaluations=3
    )
    assert result.threshold == 0.15
    tried = [removed for removed, _ in result.history]
    assert tried == [(0,), (1,), (3,)] or tried == [(0,), (3,), (1,)]


def test_gains_say_who_goes_first() -> None:
    importances = [np.ones(5), np.ones(5)]

    def evaluate(removed: Counts) -> float:
        return 1.0 - 0.1 * sum(removed)

    def removed(gains: list[float]) -> Counts:
        found = purify_search(importances, evaluate, floor=0.65, gains=gains, evaluations=40)
        return found.removed

    assert removed([10.0, 1.0])[0] > removed([10.0, 1.0])[1]
    assert removed([1.0, 10.0])[1] > removed([1.0, 10.0])[0]


def test_deterministic() -> None:
    importances, evaluate = make(3, (16, 24, 12), useless=3)
    runs = [purify_search(importances, evaluate, floor=0.97) for _ in range(2)]
    assert runs[0].history == runs[1].history


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 evaluation"):
        purify_search([np.ones(3)], lambda r: 1.0, floor=0.5, evaluations=0)
    with pytest.raises(SearchError, match="one per knob"):
        purify_search([np.ones(3)], lambda r: 1.0, floor=0.5, limits=[1, 2])
    with pytest.raises(SearchError, match="evaluated to nan"):
        purify_search([np.ones(3)], lambda r: float("nan"), floor=0.5)


def test_evaluates_no_longer_than_it_may() -> None:
    importances, evaluate = make(1, (50, 50), useless=2)

    def slow(removed: Counts) -> float:
        time.sleep(0.02)
        return evaluate(removed)

    result = purify_search(importances, slow, floor=0.9, evaluations=200, time_budget_s=0.1)
    assert 1 < result.evaluations <= 6
    assert result.score >= 0.9
    none = purify_search(importances, slow, floor=0.9, evaluations=200, time_budget_s=1e-9)
    assert (none.evaluations, none.removed) == (1, (0, 0))
