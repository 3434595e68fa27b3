"""Each method against enumeration, against the others, and each option against being ignored."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acgraph.errors import SearchError, UsageError
from acgraph.search import (
    AnnealConfig,
    Knob,
    Point,
    Problem,
    SearchResult,
    default_evaluations,
    project_to_budget,
    search,
)
from acgraph.search.dynamic import Table, allocate, grid, tables

METHODS = ("annealing", "dp", "global", "random", "uniform")


def importances_of(problem: Problem, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.gamma(2.0, 0.5, knob.size) for knob in problem.knobs]


def run(problem: Problem, method: Any = "annealing", **options: Any) -> SearchResult:
    return search(problem, method, importances=importances_of(problem), **options)


@pytest.mark.parametrize("seed", range(5))
def test_annealing_finds_the_best_of_three_knobs(toys: SimpleNamespace, seed: int) -> None:
    problem = toys.rugged(seed, (12, 20, 28), 3.0, ruggedness=0.0)
    result = search(problem, evaluations=60, seed=seed)
    assert result.score == pytest.approx(toys.best_of(problem))
    assert sum(1 for _ in toys.points_of(problem)) > 100 * result.evaluations


def test_annealing_leaves_local_optima(toys: SimpleNamespace) -> None:
    found = [
        search(toys.rugged(seed, (12, 20, 28), 3.0), evaluations=60, seed=seed).score
        for seed in range(6)
    ]
    best = [toys.best_full(toys.rugged(seed, (12, 20, 28), 3.0)) for seed in range(6)]
    assert np.mean(np.subtract(best, found)) < 0.002


def test_annealing_beats_random_at_equal_evaluations(toys: SimpleNamespace) -> None:
    annealed, drawn = [], []
    for seed in range(8):
        problem = toys.rugged(seed, (16, 16, 32, 32, 48, 48, 64, 64, 96, 128), 6.0)
        annealed.append(search(problem, evaluations=64, seed=seed).score)
        drawn.append(search(problem, "random", evaluations=64, seed=seed).score)
    assert np.mean(annealed) > np.mean(drawn) + 0.01
    assert sum(a > d for a, d in zip(annealed, drawn, strict=True)) >= 6


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("step", [1, 2])
def test_dp_equals_brute_force_where_loss_and_cost_add_up(
    toys: SimpleNamespace, seed: int, step: int
) -> None:
    problem = toys.additive(seed, (6, 5, 7, 6), 1.3 + 0.3 * seed, step)
    result = search(problem, "dp", evaluations=1, sensitivity=toys.alone(problem))
    assert result.score == pytest.approx(toys.best_of(problem))


def test_dp_without_sensitivities_measures_them(toys: SimpleNamespace) -> None:
    problem = toys.additive(3, (6, 5, 7, 6), 3.0)
    result = search(problem, "dp", evaluations=60)
    assert result.score == pytest.approx(toys.best_of(problem))
    assert result.evaluations <= 60
    over = [item for item in result.history if item.cost > problem.budget]
    assert over
    assert problem.cost(result.point) <= problem.budget


def test_dp_goes_on_to_weigh_the_tables(toys: SimpleNamespace) -> None:
    gains = []
    for seed in range(4):
        problem = toys.rugged(seed, (16, 16, 32, 32, 64, 64), 6.0)
        wrong = importances_of(problem, seed)[0]

        def misleading(index: int, kept: int, p: Problem = problem, w: Any = wrong) -> float:
            return float(toys.alone(p)(index, kept) * w[index])

        one = search(problem, "dp", evaluations=1, sensitivity=misleading).score
        many = search(problem, "dp", evaluations=40, sensitivity=misleading).score
        assert many >= one
        gains.append(many - one)
    assert np.mean(gains) > 0.005


def test_dp_corrects_a_table_that_is_far_off() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=20) for n in "ab")

    def evaluate(point: Point) -> float:
        return -sum((1.0 - kept / 20.0) ** 2 for kept in point)

    def inflated(index: int, kept: int) -> float:
        return (100.0 if index == 0 else 1.0) * (1.0 - kept / 20.0) ** 2

    problem = Problem(knobs=knobs, cost=sum, budget=20.0, evaluate=evaluate)
    assert search(problem, "dp", evaluations=1, sensitivity=inflated).point == (19, 1)
    result = search(problem, "dp", evaluations=19, sensitivity=inflated)
    assert result.point == (10, 10)


def test_dp_beats_uniform_on_a_network_like_cost(toys: SimpleNamespace) -> None:
    for seed in range(4):
        problem = toys.rugged(seed, (16, 16, 32, 32, 64, 64), 6.0)
        dp = search(problem, "dp", evaluations=1, sensitivity=toys.alone(problem))
        assert dp.score > search(problem, "uniform").score


def test_the_front_may_be_thinned_without_leaving_the_budget() -> None:
    rng = np.random.default_rng(0)
    knobs = tuple(Knob(name=str(i), kind="filters", size=40) for i in range(12))
    unit = rng.uniform(1.0, 3.0, 12)
    problem = Problem(
        knobs=knobs, cost=lambda p: float(unit @ np.array(p)), budget=200.0, evaluate=sum
    )
    pain = rng.uniform(0.5, 2.0, 12)
    found = tables(problem, lambda i, kept: pain[i] * (1.0 - kept / 40.0) ** 2, levels=40)
    point = allocate(problem, found)
    assert problem.cost(point) <= problem.budget
    loss = sum(p * (1.0 - k / 40.0) ** 2 for p, k in zip(pain, point, strict=True))
    # The continuous optimum by bisection on the price of cost bounds any allocation from below.
    low, high = 0.0, 10.0
    for _ in range(100):
        price = 0.5 * (low + high)
        kept = np.clip(40.0 * (1.0 - price * unit * 40.0 / (2.0 * pain)), 1.0, 40.0)
        low, high = (low, price) if unit @ kept < 200.0 else (price, high)
    bound = float((pain * (1.0 - kept / 40.0) ** 2).sum())
    assert bound <= loss <= 1.01 * bound


def test_allocation_obeys_the_weights_of_the_tables() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=2) for n in "ab")
    problem = Problem(knobs=knobs, cost=sum, budget=3.0, evaluate=sum)
    table = Table(kept=(1, 2), cost=np.array([0.0, 1.0]), loss=np.array([1.0, 0.0]))
    assert allocate(problem, [table, table], np.array([2.0, 1.0])) == (2, 1)
    assert allocate(problem, [table, table], np.array([1.0, 2.0])) == (1, 2)


@pytest.mark.parametrize("levels", [2, 5, 16, 100])
def test_grids_hold_allowed_counts_and_both_ends(levels: int) -> None:
    knob = Knob(name="k", kind="columns", size=75, min_keep=3, step=4)
    counts = grid(knob, levels)
    assert counts[0] == knob.floor
    assert counts[-1] == knob.size
    assert all(knob.snap(kept) == kept for kept in counts)
    assert list(counts) == sorted(set(counts))
    assert levels - 4 <= len(counts) <= levels or len(counts) == 19


def test_global_keeps_what_lies_above_one_threshold() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=4) for n in "ab")
    problem = Problem(knobs=knobs, cost=sum, budget=4.0, evaluate=lambda p: 0.0)
    importances = [np.array([0.1, 0.9, 0.2, 0.8]), np.array([0.7, 0.3, 0.5, 0.6])]
    assert search(problem, "global", importances=importances).point == (2, 2)
    importances[1] = importances[1] / 10.0
    assert search(problem, "global", importances=importances).point == (3, 1)


def test_global_gives_what_is_left_to_the_most_important() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=3) for n in "abc")
    problem = Problem(
        knobs=knobs, cost=lambda p: p[0] + 5 * p[1] + p[2], budget=8.0, evaluate=lambda p: 0.0
    )
    importances = [np.array(v) for v in ([1.0, 0.3, 0.1], [0.9, 0.5, 0.1], [0.8, 0.4, 0.1])]
    assert search(problem, "global", importances=importances).point == (1, 1, 2)


def test_global_is_the_largest_within_the_budget(toys: SimpleNamespace) -> None:
    problem = toys.chain((20, 30, 40), 5.0)
    importances = importances_of(problem)
    point = search(problem, "global", importances=importances).point
    kept = [np.sort(v)[v.size - k :] for v, k in zip(importances, point, strict=True)]
    gone = [np.sort(v)[: v.size - k] for v, k in zip(importances, point, strict=True)]
    # At most what the rounding gave back lies on the wrong side of the common threshold.
    threshold = max(float(values[0]) for values in kept)
    assert sum(int((values >= threshold).sum()) for values in gone) <= 1
    assert problem.cost(point) <= problem.budget < problem.cost(tuple(k + 1 for k in point))


def test_uniform_keeps_one_share() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=s) for n, s in (("a", 40), ("b", 80)))
    problem = Problem(knobs=knobs, cost=sum, budget=30.0, evaluate=lambda p: 0.0)
    result = search(problem, "uniform")
    assert result.point == (10, 20)
    assert result.evaluations == 1


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_result_and_all_within_the_budget(
    toys: SimpleNamespace, method: str
) -> None:
    problem = toys.rugged(1, (16, 24, 32, 48), 5.0)

    def points(seed: int) -> list[Point]:
        return [item.point for item in run(problem, method, evaluations=30, seed=seed).history]

    assert points(7) == points(7)
    if method in ("annealing", "random"):
        assert points(7) != points(8)
    result = run(problem, method, evaluations=30, seed=7)
    assert problem.cost(result.point) <= problem.budget
    feasible = [item for item in result.history if item.cost <= problem.budget]
    assert result.score == max(item.score for item in feasible)
    assert len({item.point for item in result.history}) == result.evaluations <= 30


@pytest.mark.parametrize("method", METHODS)
def test_an_impossible_budget_is_refused_by_all(toys: SimpleNamespace, method: str) -> None:
    problem = toys.chain((16, 24), 2.0, min_keep=8)
    with pytest.raises(SearchError, match="can be reached"):
        run(replace(problem, budget=10.0), method)


@pytest.mark.parametrize("evaluations", [1, 2, 5, 17])
@pytest.mark.parametrize("method", ["annealing", "random"])
def test_evaluations_are_used_and_never_exceeded(
    toys: SimpleNamespace, method: str, evaluations: int
) -> None:
    calls: list[Point] = []
    rugged = toys.rugged(0, (16, 24, 32, 48), 5.0)

    def evaluate(point: Point) -> float:
        calls.append(point)
        return float(rugged.evaluate(point))

    result = run(replace(rugged, evaluate=evaluate), method, evaluations=evaluations)
    assert len(calls) == len(set(calls)) == result.evaluations == evaluations


def test_an_exhausted_space_ends_the_search(toys: SimpleNamespace) -> None:
    problem = toys.rugged(0, (2, 3), 2.0)
    for method in ("annealing", "random", "dp"):
        sensitivity = toys.alone(problem)
        result = search(problem, method, evaluations=10_000, sensitivity=sensitivity)
        assert result.evaluations < 10
        if method != "dp":
            assert result.score == pytest.approx(toys.best_of(problem))


def test_annealing_is_never_worse_than_where_it_may_start(toys: SimpleNamespace) -> None:
    for seed in range(4):
        problem = toys.rugged(seed, (16, 16, 32, 32, 64, 64), 8.0)
        options = {"sensitivity": toys.alone(problem), "evaluations": 6, "seed": seed}
        score = run(problem, "annealing", **options).score
        for other in ("uniform", "global"):
            assert score >= run(problem, other).score
        assert score >= run(problem, "dp", sensitivity=toys.alone(problem), evaluations=1).score


def test_annealing_starts_from_the_best_of_what_it_is_given() -> None:
    knobs = tuple(Knob(name=n, kind="filters", size=40) for n in "ab")
    problem = Problem(knobs=knobs, cost=sum, budget=40.0, evaluate=lambda p: float(p[0]))
    important = [np.linspace(1.0, 2.0, 40), np.linspace(0.01, 0.02, 40)]

    def sensitivity(index: int, kept: int) -> float:
        return (40.0 - kept) * (index == 0)

    assert search(problem, evaluations=2, importances=important).point == (39, 1)
    assert search(problem, evaluations=2, sensitivity=sensitivity).point == (39, 1)
    assert search(problem, evaluations=1).point == (20, 20)


def test_a_time_budget_ends_the_search(toys: SimpleNamespace) -> None:
    def evaluate(point: Point) -> float:
        time.sleep(0.01)
        return float(sum(point))

    problem = replace(toys.chain((64, 64, 64, 64), 5.0), evaluate=evaluate)
    for method in ("annealing", "random"):
        result = run(problem, method, evaluations=1000, time_budget_s=0.15)
        assert 1 <= result.evaluations <= 16
        assert all(item.seconds >= 0.01 for item in result.history)
    assert run(problem, time_budget_s=0.0, evaluations=9).evaluations == 1


def test_evaluate_many_is_asked_in_batches(toys: SimpleNamespace) -> None:
    problem = toys.rugged(0, (16, 24, 32, 48), 5.0)
    batches: list[int] = []

    def evaluate_many(points: Sequence[Point]) -> list[float]:
        batches.append(len(points))
        return [problem.evaluate(point) for point in points]

    def never(point: Point) -> float:
        raise AssertionError("evaluated one by one")

    many = replace(problem, evaluate=never, evaluate_many=evaluate_many)
    for method in ("annealing", "random"):
        batches.clear()
        result = run(many, method, evaluations=30, config=AnnealConfig(batch=4))
        assert result.evaluations == sum(batches) == 30
        assert batches.count(4) > 2
    plain = run(problem, evaluations=30, config=AnnealConfig(batch=4))
    assert plain.point == run(many, evaluations=30, config=AnnealConfig(batch=4)).point


def annealed_history(toys: SimpleNamespace, **config: Any) -> SearchResult:
    problem = toys.rugged(2, (16, 16, 32, 32, 64, 64), 6.0, ruggedness=0.1)
    return search(problem, evaluations=80, seed=3, config=AnnealConfig(**config))


def temperatures(result: SearchResult) -> list[float]:
    return [item.temperature for item in result.history if item.temperature > 0.0]


def test_temperature_is_in_units_of_the_score_and_falls(toys: SimpleNamespace) -> None:
    problem = toys.rugged(2, (16, 16, 32, 32, 64, 64), 6.0)
    percent = replace(problem, evaluate=lambda p: 100.0 * problem.evaluate(p))
    ones, hundreds = search(problem, seed=1), search(percent, seed=1)
    assert [i.point for i in ones.history] == [i.point for i in hundreds.history]
    assert temperatures(hundreds) == pytest.approx([100.0 * t for t in temperatures(ones)])
    cooling = temperatures(ones)
    assert cooling == sorted(cooling, reverse=True)
    assert cooling[-1] < 0.05 * cooling[0]


def test_initial_acceptance_sets_the_first_temperature(toys: SimpleNamespace) -> None:
    cold = temperatures(annealed_history(toys, initial_acceptance=0.01))
    hot = temperatures(annealed_history(toys, initial_acceptance=0.9))
    assert hot[0] / cold[0] == pytest.approx(math.log(0.01) / math.log(0.9))


def test_a_hot_walk_accepts_more(toys: SimpleNamespace) -> None:
    def accepted(acceptance: float) -> int:
        result = annealed_history(toys, initial_acceptance=acceptance, final_share=1.0)
        return sum(item.accepted for item in result.history)

    assert accepted(0.99) > 1.5 * accepted(0.001)


def test_final_share_sets_the_last_temperature(toys: SimpleNamespace) -> None:
    steady = temperatures(annealed_history(toys, final_share=1.0))
    assert steady[0] == pytest.approx(steady[-1])
    falling = temperatures(annealed_history(toys, final_share=1e-3))
    assert falling[-1] == pytest.approx(1e-3 * falling[0], rel=0.2)


def reach(result: SearchResult, part: slice) -> float:
    """How far evaluated points lie from the best at their time, in log shares."""
    history = list(result.history)[1:][part]
    logs = np.log([item.point for item in history])
    return float(np.abs(np.diff(logs, axis=0)).mean())


def test_magnitudes_set_how_far_proposals_go(toys: SimpleNamespace) -> None:
    wide = annealed_history(toys, magnitude=1.5, final_magnitude=0.05)
    narrow = annealed_history(toys, magnitude=0.1, final_magnitude=0.05)
    assert reach(wide, slice(0, 12)) > 1.5 * reach(narrow, slice(0, 12))
    steady = annealed_history(toys, magnitude=1.5, final_magnitude=1.5)
    assert reach(steady, slice(-30, None)) > 1.5 * reach(wide, slice(-30, None))


def test_calibration_is_measured_on_that_many_actions(toys: SimpleNamespace) -> None:
    for count in (3, 10):
        result = annealed_history(toys, calibration=count)
        cold = [item for item in result.history if item.temperature == 0.0]
        assert len(cold) == 1 + count


def test_guidance_cuts_heavy_knobs_harder(toys: SimpleNamespace) -> None:
    sizes = (16, 32, 64, 96, 128)
    problem = toys.rugged(0, sizes, 5.0)

    def slope(guidance: float) -> float:
        config = AnnealConfig(guidance=guidance)
        history = search(problem, "random", evaluations=40, config=config).history
        shares = np.array([item.point for item in history]) / np.array(sizes)
        return float(np.mean([np.corrcoef(row, sizes)[0, 1] for row in shares]))

    assert slope(1.0) < -0.7
    assert abs(slope(0.0)) < 0.3


def test_guidance_helps_where_heavy_layers_lose_less(toys: SimpleNamespace) -> None:
    def mean(guidance: float) -> float:
        config = AnnealConfig(guidance=guidance)
        scores = []
        for seed in range(6):
            problem = toys.rugged(seed, (16, 16, 32, 32, 48, 48, 64, 64, 96, 128), 6.0)
            scores.append(search(problem, evaluations=24, seed=seed, config=config).score)
        return float(np.mean(scores))

    assert mean(0.5) > mean(0.0)


def test_kinds_are_guided_apart() -> None:
    knobs = (
        Knob(name="f0", kind="filters", size=50, weight=1.0),
        Knob(name="c0", kind="columns", size=50, weight=100.0),
        Knob(name="f1", kind="filters", size=50, weight=2.0),
        Knob(name="c1", kind="columns", size=50, weight=200.0),
    )
    problem = Problem(knobs=knobs, cost=sum, budget=80.0, evaluate=lambda p: float(p[0]))
    config = AnnealConfig(guidance=1.0)
    history = search(problem, "random", evaluations=30, config=config).history
    for item in history:
        assert item.point[0] >= item.point[2] - 1
        assert item.point[1] >= item.point[3] - 1
    assert any(item.point[1] > item.point[0] for item in history)


def test_a_score_that_is_not_a_number_is_refused(toys: SimpleNamespace) -> None:
    problem = replace(toys.chain((8, 8), 2.0), evaluate=lambda p: math.nan)
    with pytest.raises(SearchError, match="evaluated to nan"):
        search(problem)


def test_missing_arguments_are_refused(toys: SimpleNamespace) -> None:
    problem = toys.rugged(0, (8, 8), 2.0)
    with pytest.raises(SearchError, match="needs importances"):
        search(problem, "global")
    with pytest.raises(SearchError, match="one number per unit"):
        search(problem, "global", importances=[np.ones(8)])
    with pytest.raises(SearchError, match="dp needs 4 evaluations"):
        search(problem, "dp", evaluations=3)
    with pytest.raises(UsageError, match="at least 1 evaluation"):
        search(problem, evaluations=0)
    unknown: Any = "genetic"
    with pytest.raises(UsageError, match="choose from annealing, dp"):
        search(problem, unknown)


@pytest.mark.parametrize(
    "options",
    [
        {"initial_acceptance": 1.0},
        {"final_share": 0.0},
        {"magnitude": 0.1, "final_magnitude": 0.2},
        {"guidance": 1.5},
        {"batch": 0},
    ],
)
def test_impossible_annealings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="annealing: "):
        AnnealConfig(**options)


def test_dp_allows_itself_what_it_needs_by_default() -> None:
    knobs = tuple(Knob(name=f"k{i}", kind="filters", size=8) for i in range(60))
    problem = Problem(
        knobs=knobs, cost=lambda p: float(sum(p)), budget=240.0, evaluate=lambda p: float(sum(p))
    )
    evaluations = default_evaluations("dp", len(knobs), is_measured=False)
    result = search(problem, "dp", evaluations=evaluations)
    assert sum(result.point) == 240
    assert default_evaluations("dp", len(knobs), is_measured=True) < len(knobs)


def test_no_knob_is_cut_that_is_cheaper_whole() -> None:
    # Nine of ten cost more than all ten: what is left has to be named.
    def cost(point: Point) -> float:
        return float(sum(kept + 3 * (kept < 10) for kept in point))

    knobs = tuple(Knob(name=f"k{i}", kind="columns", size=10) for i in range(3))
    problem = Problem(knobs=knobs, cost=cost, budget=30.0, evaluate=lambda p: float(min(p)))
    assert project_to_budget((9.0, 9.0, 9.0), problem) == (10, 10, 10)
    assert project_to_budget((9.0, 9.0, 1.0), replace(problem, budget=25.0)) == (10, 10, 2)
