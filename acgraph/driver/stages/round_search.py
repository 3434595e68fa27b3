"""The search of a round: its time limit, and the evaluation of its points."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from acgraph.backends.interface import Trainer
from acgraph.config_sections import SearchConfig
from acgraph.diagnostics import counted
from acgraph.driver.evaluation.cluster import cluster_evaluators
from acgraph.driver.evaluation.images import MIN_POINTS, Images, affordable_evaluations, levels_of
from acgraph.driver.evaluation.workers import PointEvaluators, Task, evaluators, make_task
from acgraph.driver.schedule.pace import search_limit_s
from acgraph.driver.space.space import Space
from acgraph.driver.stages.goal import Round
from acgraph.pruning.importance import FloatArray
from acgraph.search import Problem, SearchResult, default_evaluations, search
from acgraph.search.halving import Level


def ranked_units(task: Round, space: Space) -> list[FloatArray]:
    """Rank the units of all knobs, and warn if there was not enough time."""
    found = space.importances()
    if space.reconstruction is not None and space.reconstruction.truncated_rankings:
        rankings = counted(space.reconstruction.truncated_rankings, "ranking")
        task.status(
            f"round {task.number}: the time limit ended {rankings} early; the remaining units are "
            "ranked by the loss that each of them causes alone"
        )
    return found


def left_s(task: Round, start: float) -> float | None:
    """Return the seconds left for a search that started at ``start``; None for no limit."""
    seconds = search_s(task)
    return None if seconds is None else max(seconds - (time.perf_counter() - start), 0.0)


def search_s(task: Round) -> float | None:
    """Return the total time limit of this round's search in seconds; None for no limit."""
    config, stages = task.config, task.schedule
    if stages.search_s is not None or not config.timing or config.search.evaluations is not None:
        return stages.search_s
    limit_s = search_limit_s(stages, task.state.pace)
    return limit_s / max(len(stages.rates) or stages.attempts, 1)


def evaluation_levels(
    task: Round, space: Space, whole: Images, seconds: float | None
) -> tuple[Level, ...]:
    """Plan on how many images points are evaluated, and report it if it is not all of them."""
    search = task.config.search
    evaluations = search.evaluations or default_evaluations(
        search.method, len(space.knobs), is_measured=space.reconstruction is not None
    )
    trained = task.schedule.total_epochs * len(task.data.train)
    affordable = affordable_evaluations(task.state.network.model, whole, trained)
    if seconds is not None and task.evaluation_s:
        affordable = min(affordable, seconds / task.evaluation_s)
    levels = levels_of(
        whole, evaluations, affordable=affordable, fewest=search.evaluations or MIN_POINTS
    )
    if len(levels) > 1:
        few = whole.shared(levels[0].share)
        task.status(
            f"round {task.number}: each candidate is evaluated on {few.select} examples, with "
            f"BatchNormalization statistics from {few.train}; the best candidates on up to "
            f"{whole.select}, with statistics from {whole.train}"
        )
    return levels


def search_points(
    task: Round,
    space: Space,
    trainer: Trainer,
    problem: Problem,
    importances: list[FloatArray],
    whole: Images,
    level: Level,
    seconds: float | None,
) -> SearchResult:
    """Search, in several processes or on a cluster if requested."""
    begin = time.perf_counter()
    config, images = task.config, whole.shared(level.share)
    data, anneal = task.data, config.search.anneal

    def packed() -> Task:
        return make_task(
            config, trainer, space, task.context.original.model, data.train, data.select,
            images.select, images.train, task.context.data.tasks,
        )  # fmt: skip

    with _evaluators(config.search, packed) as evaluators_of_points:
        left = None if seconds is None else seconds - (time.perf_counter() - begin)
        found = search(
            replace(problem, evaluate_many=evaluators_of_points.evaluate_many),
            config.search.method,
            evaluations=level.count,
            seed=config.seed + task.number,
            importances=importances,
            sensitivity=space.sensitivity if space.reconstruction is not None else None,
            config=replace(anneal, batch=max(anneal.batch, evaluators_of_points.at_once)),
            time_budget_s=left,
        )
    if seconds is not None and time.perf_counter() - begin >= seconds:
        task.status(
            f"round {task.number}: the time limit ended the search after {found.evaluations} "
            f"of up to {level.count} evaluations"
        )
    return found


def _evaluators(
    search: SearchConfig, make: Callable[[], Task]
) -> AbstractContextManager[PointEvaluators]:
    if search.cluster is not None:
        return cluster_evaluators(search.cluster, make)
    return evaluators(search.workers, make)
