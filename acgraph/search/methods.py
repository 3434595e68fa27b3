"""The ways to search for a point, behind one door."""

import logging
from typing import Literal, get_args

import numpy as np

from acgraph.errors import SearchError, UsageError
from acgraph.search.annealing import AnnealConfig, anneal
from acgraph.search.budget import check_budget
from acgraph.search.dynamic import (
    Sensitivity,
    allocate,
    refine,
    sensitivity_by_evaluation,
    tables,
)
from acgraph.search.evaluator import Evaluator
from acgraph.search.problem import Point, Problem, SearchResult
from acgraph.search.starts import Importances, global_point, random_point, uniform_point

Method = Literal["annealing", "dp", "global", "random", "uniform"]

_log = logging.getLogger(__name__)
#: Evaluations of a search where the user states none; dp needs as many for each knob as give its
#: sensitivity at three points and leave as many for the weights of the tables.
EVALUATIONS = 32
_EVALUATIONS_PER_KNOB = 4
_MEASURED_SHARE = 0.5
"""Of a dp search's evaluations, what goes into measuring sensitivities that it was not given."""


def default_evaluations(method: Method, knobs: int, *, is_measured: bool) -> int:
    """Evaluations of a search where none are stated.

    Args:
        method: As for ``search``.
        knobs: How many there are.
        is_measured: Whether sensitivities are given.
    """
    if method == "dp" and not is_measured:
        return max(EVALUATIONS, _EVALUATIONS_PER_KNOB * knobs)
    return EVALUATIONS


def search(
    problem: Problem,
    method: Method = "annealing",
    *,
    evaluations: int = 64,
    seed: int = 0,
    sensitivity: Sensitivity | None = None,
    importances: Importances | None = None,
    time_budget_s: float | None = None,
    config: AnnealConfig | None = None,
) -> SearchResult:
    """Find a point of high score within the budget. Same arguments, same result.

    Args:
        problem: What to search.
        method: ``annealing`` starts from the best of uniform, global and dp points, as far as it
            is given what they need; ``dp`` allocates by sensitivities and then searches their
            mutual weights; ``global`` puts one threshold on all importances; ``random`` evaluates
            guided random points; ``uniform`` keeps one share of all.
        evaluations: The most points to evaluate, at least 1. ``global`` and ``uniform`` need one.
        seed: Of all chance.
        sensitivity: Loss of score of cutting a single knob; ``dp`` measures it by evaluation
            where it is not given.
        importances: One array per knob with the importance of every unit; ``global`` needs it.
        time_budget_s: Stop evaluating after this long; the result then depends on the machine.
        config: How to anneal, and the guidance of ``random``.

    Raises:
        SearchError: Where no point meets the budget, or a method lacks what it needs.
        UsageError: Where the method is unknown or there are no evaluations.
    """
    if method not in get_args(Method):
        choices = ", ".join(get_args(Method))
        raise UsageError(f"unknown search method '{method}'", hint=f"choose from {choices}")
    if evaluations < 1:
        raise UsageError(f"a search needs at least 1 evaluation, not {evaluations}")
    if method == "global" and importances is None:
        raise SearchError("the global method needs importances")
    problem = problem.with_cost_cache()
    check_budget(problem)
    evaluator = Evaluator(problem, evaluations, time_budget_s)
    settings = config or AnnealConfig()
    rng = np.random.default_rng(seed)
    match method:
        case "annealing":
            starts = _starts(problem, sensitivity, importances)
            anneal(problem, evaluator, starts, settings, rng)
        case "dp":
            _dynamic(problem, evaluator, sensitivity, rng)
        case "random":
            _random(problem, evaluator, settings, rng)
        case "global":
            evaluator.scores([global_point(problem, importances or ())])
        case "uniform":
            evaluator.scores([uniform_point(problem)])
    result = evaluator.result()
    _log.info("search by %s: score %.4g after %d", method, result.score, result.evaluations)
    return result


def _starts(
    problem: Problem, sensitivity: Sensitivity | None, importances: Importances | None
) -> list[Point]:
    starts = []
    if sensitivity is not None:
        starts.append(allocate(problem, tables(problem, sensitivity)))
    if importances is not None:
        starts.append(global_point(problem, importances))
    return [*starts, uniform_point(problem)]


def _dynamic(
    problem: Problem,
    evaluator: Evaluator,
    sensitivity: Sensitivity | None,
    rng: np.random.Generator,
) -> None:
    if sensitivity is None:
        if evaluator.remaining < len(problem.knobs) + 2:
            raise SearchError(
                f"dp needs {len(problem.knobs) + 2} evaluations to measure sensitivities, "
                f"not {evaluator.remaining}",
                hint="allow more evaluations or give sensitivities",
            )
        sensitivity = sensitivity_by_evaluation(problem, evaluator, _MEASURED_SHARE)
    refine(problem, evaluator, tables(problem, sensitivity), rng)


def _random(
    problem: Problem, evaluator: Evaluator, config: AnnealConfig, rng: np.random.Generator
) -> None:
    repeats = 0
    while evaluator.remaining > 0 and repeats < 100:
        points = [random_point(problem, rng, config.guidance) for _ in range(config.batch)]
        repeats = repeats + 1 if all(map(evaluator.is_known, points)) else 0
        evaluator.scores(points)
