"""The search methods, and the function that runs one of them."""

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
#: Default number of evaluations. dp also needs, for each knob, enough of them to measure its
#: sensitivity at three points, and as many for the weights of the tables.
EVALUATIONS = 32
_EVALUATIONS_PER_KNOB = 4
_MEASURED_SHARE = 0.5
"""Share of the evaluations with which dp measures sensitivities if none are given."""


def default_evaluations(method: Method, knobs: int, *, is_measured: bool) -> int:
    """Return the default number of evaluations of a search.

    Args:
        method: The method, as for ``search``.
        knobs: The number of knobs.
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
    """Search for a point with a high score within the budget.

    The result is deterministic without a time limit.

    Args:
        problem: The search problem.
        method: ``annealing`` starts from the best of the uniform, global and dp points, the latter
            two if importances and sensitivities are given; ``dp`` allocates by sensitivities and
            then searches their relative weights; ``global`` applies one threshold to all
            importances; ``random`` evaluates guided random points; ``uniform`` keeps the same share
            of all knobs.
        evaluations: Largest number of evaluated points, at least 1. ``global`` and ``uniform`` need
            one.
        seed: Seed of the random numbers.
        sensitivity: Loss of score if a single knob is cut; without it, ``dp`` measures it by
            evaluations.
        importances: The importance of every unit, one array for each knob; required by ``global``.
        time_budget_s: Seconds after which no evaluation starts; the result then depends on the
            speed of the machine.
        config: Parameters of annealing; ``random`` uses its guidance.

    Raises:
        SearchError: No point is within the budget, or an input of the method is missing.
        UsageError: The method is unknown, or no evaluation is allowed.
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
    _log.info(
        "search by %s: score %.4g after %d evaluations", method, result.score, result.evaluations
    )
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
