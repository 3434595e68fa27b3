"""What a round does before any training: choose, mask, reconstruct."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from acgraph.config import CompressConfig
from acgraph.driver.schedule.plan import plan_schedule
from acgraph.driver.stages import round_search
from acgraph.driver.stages.goal import Goal
from acgraph.driver.stages.round import RoundResult, run_round
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State
from acgraph.ir import count_params, proto_from_model
from acgraph.search import Method, Problem, SearchResult

log = logging.getLogger(__name__)


@pytest.fixture
def run_one(
    configure: Callable[..., CompressConfig], begin: Callable[..., tuple[Context, State]]
) -> Callable[..., RoundResult]:
    def run(*settings: str, admm: float = 0.0, rate: float = 2.0, **options: Any) -> RoundResult:
        config = configure("search.method=uniform", *settings, **options)
        context, state = begin(config)
        assert state.inserted  # the demo's BatchNormalization is folded
        stages = replace(plan_schedule(config.target_rate), admm=admm, retrain=0.0)
        budget = count_params(proto_from_model(state.network.model)) / rate
        goal = Goal(number=1, budget=budget)
        result = run_round(context, replace(state, schedule=stages), goal, log.warning)
        assert result is not None
        return result

    return run


@pytest.mark.parametrize("method", get_args(Method))
def test_the_method_that_was_asked_for_searches(
    run_one: Callable[..., RoundResult], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    asked: list[str] = []
    search = round_search.search

    def noted(problem: Problem, method: Method, **options: Any) -> SearchResult:
        asked.append(method)
        return search(problem, method, **options)

    monkeypatch.setattr(round_search, "search", noted)
    run_one(f"search.method={method}")
    assert asked == [method]


def test_the_seed_decides_what_a_search_tries(run_one: Callable[..., RoundResult]) -> None:
    first, again, other = (
        [tried.point for tried in run_one("search.method=random", f"seed={seed}").history]
        for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_mending_keeps_what_magnitude_loses(run_one: Callable[..., RoundResult]) -> None:
    reconstructed = run_one(rate=5.0)
    by_magnitude = run_one("criterion=magnitude", rate=5.0)
    assert reconstructed.epochs == by_magnitude.epochs == 0.0
    assert reconstructed.accuracy > by_magnitude.accuracy + 0.1


def test_a_round_without_training_ends_near_its_proxy(run_one: Callable[..., RoundResult]) -> None:
    result = run_one(rate=8.0)
    assert result.accuracy == pytest.approx(result.history[0].score, abs=0.1)


def test_admm_trains_towards_the_measured_choice(run_one: Callable[..., RoundResult]) -> None:
    plain = run_one().shrunk.model.constants()
    result = run_one(admm=1.0)
    assert result.epochs == pytest.approx(1.0)
    assert [r.update for r in result.residuals] == [1, 2]
    trained = result.shrunk.model.constants()
    assert trained.keys() == plain.keys()
    for name, value in plain.items():
        if value.ndim == 4:
            columns = np.abs(value).max(axis=0) > 0
            assert np.array_equal(np.abs(trained[name]).max(axis=0) > 0, columns), name
            assert not np.array_equal(trained[name], value)


def test_recalibration_shows_what_a_cut_is_worth(run_one: Callable[..., RoundResult]) -> None:
    with_it = run_one("criterion=magnitude", rate=5.0).history[0]
    without = run_one("criterion=magnitude", "search.recalibrate=0", rate=5.0).history[0]
    assert with_it.point == without.point
    assert with_it.score > without.score + 0.05


def test_without_labels_layers_are_refitted_in_order(
    run_one: Callable[..., RoundResult], images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlabelled: dict[str, Any] = {
        "data": f"{images}#x_train", "eval_data": f"{images}#x_test", "task": {"": "imitate"},
    }  # fmt: skip
    in_order = run_one(rate=6.0, **unlabelled)
    monkeypatch.setattr(Context, "imitates", False)
    at_once = run_one(rate=6.0, **unlabelled)
    assert in_order.epochs == at_once.epochs == 0.0
    lost, kept = (1 - result.accuracy for result in (at_once, in_order))  # unexplained variance
    assert kept < 0.8 * lost
    assert at_once.fits == ()
    assert in_order.fits
    assert sum(fit.after for fit in in_order.fits) < sum(fit.before for fit in in_order.fits)
