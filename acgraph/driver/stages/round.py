"""One round: search rates, ADMM, hard mask, masked retraining, physical shrink."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from acgraph.admm.residuals import Residual
from acgraph.analysis.dependency import analyse
from acgraph.backends.interface import Trainer, TrainingBackend
from acgraph.backends.training import ProgressSink
from acgraph.config import CompressConfig
from acgraph.config_sections import SearchConfig
from acgraph.diagnostics import counted
from acgraph.driver.cost.terms import CostMetric
from acgraph.driver.inputs.data import RunData
from acgraph.driver.judging.cluster import cluster_evaluators
from acgraph.driver.judging.images import Images, levels_of, measured_images, proxies, whole_images
from acgraph.driver.judging.proxy import masked_weights
from acgraph.driver.judging.workers import Judges, Task, evaluators, make_task
from acgraph.driver.schedule.plan import Stages
from acgraph.driver.space.reconstruction import BATCH, IMAGES, Mender, measure_layers
from acgraph.driver.space.space import Space, open_space
from acgraph.driver.space.time_saving import thrifty_space
from acgraph.driver.stages.bisection import COUNTED_BAND, Settling
from acgraph.driver.training.admm import Onto, train_towards
from acgraph.driver.training.fit import fit_or_keep
from acgraph.driver.training.masks import dead_columns, training_masks
from acgraph.ir import Array, Model
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.plan import Plan
from acgraph.pruning.shrink import Shrunk, shrink
from acgraph.search import (
    Evaluation,
    Point,
    Problem,
    SearchResult,
    default_evaluations,
    project_to_budget,
    search,
)
from acgraph.search.halving import Level, judge_again

log = logging.getLogger(__name__)

#: Peak learning rate of retraining, relative to that of the final fine-tuning.
RETRAIN_RATE = 0.5
#: Shares of the time for a search that go into measuring what layers read, and into ranking units.
MEASURING_SHARE, RANKING_SHARE = 0.4, 0.25
#: The most seconds of the searches of all rounds where there is no time budget, but things may
#: depend on time and the user does not say how many points to try.
MOST_SEARCH_S = 840.0
#: Training batches for BatchNormalization after the cut.
RECALIBRATION_BATCHES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """What a round did.

    Attributes:
        shrunk: The shrunk graph with the retrained weights, its removed columns zero.
        accuracy: On the selection split.
        epochs: Passes over the training data.
        seconds: In all.
        evaluations: How many points the search evaluated.
        history: Those evaluations.
        residuals: Of ADMM.
        is_exhausted: Whether all that may be cut in one round was cut.
    """

    shrunk: Shrunk
    accuracy: float
    epochs: float
    seconds: float
    evaluations: int
    history: tuple[Evaluation, ...]
    residuals: tuple[Residual, ...]
    is_exhausted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTask:
    """What a round is given.

    Attributes:
        model: The graph as the last round left it.
        backend: What trains.
        teacher: The original model.
        budget: The most params or MACs after the round.
        point_cost: Makes the cost of the points of a space, in the unit of the budget; None where
            params or MACs are counted.
        enough: Accuracy on the selection split at which retraining is spared; None spares none.
        actual_cost: Cost of a shrunk model as it would be written, for the last round: the plan is
            moved until this is at the budget. None in rounds that need not be exact.
            Where points have a ``point_cost``, this one is measured, with noise.
        progress: Who shows how far training is.
        say: Who prints how training runs.
        warn: Who is told what the reader of the report must know.
        evaluation_s: Seconds in which a search judges one point, where they were measured and time
            matters.
    """

    model: Model
    backend: TrainingBackend
    teacher: Model
    data: RunData
    config: CompressConfig
    stages: Stages
    number: int
    budget: float
    actual_cost: Callable[[Model], float] | None
    point_cost: Callable[[Space], Callable[[Point], float]] | None
    progress: ProgressSink | None
    say: Callable[[str], None] = log.info
    warn: Callable[[str], None] = log.warning
    enough: float | None = None
    evaluation_s: float | None = None


def run_round(task: RoundTask) -> RoundResult | None:
    """Run one round as far as its budget, or as far as cuts are allowed; None where none is."""
    start = time.perf_counter()
    config = task.config
    space = open_space(task.model, config)
    if all(knob.floor == knob.size for knob in space.knobs):
        return None
    trainer = task.backend.trainer(
        task.model,
        task.data.train,
        teacher=task.teacher,
        config=replace(config.train, seed=config.train.seed + task.number),
        progress=task.progress,
    )
    task.say(f"round {task.number}: training in {trainer.describe()}")
    if config.criterion == "reconstruction":
        space = replace(space, mender=_measure(task, space, trainer))
    metric: CostMetric = "params" if config.metric in ("params", "size") else "macs"
    if task.point_cost is None:
        space = thrifty_space(space, metric, task.budget)
    cost: Callable[[Point], float] = (
        partial(space.cost, metric=metric) if task.point_cost is None else task.point_cost(space)
    )
    importances = _importances(task, space)  # before the mender is packed, which remembers them
    left_s = _left_s(task, start)
    whole = whole_images(config, task.data)
    levels = _levels(task, space, whole, left_s)
    judges = proxies(config, trainer, space, task.data, whole, levels)
    problem = Problem(
        knobs=space.knobs,
        cost=cost,
        budget=task.budget,
        evaluate=judges[0][1],
    )
    problem = replace(problem, budget=max(task.budget, problem.cost(problem.smallest)))
    found = _search(task, space, trainer, problem, importances, whole, levels[0], left_s)
    if judges[1:]:
        left_s = _left_s(task, start)
        found = judge_again(found, problem.budget, judges[1:], time_budget_s=left_s)
    log.info("round %d: proxy %.4f, %d evaluations", task.number, found.score, found.evaluations)
    point, plan, admm_epochs, residuals = _cut(task, space, trainer, problem, found.point)
    retrain_epochs = 0.0
    if task.stages.retrain > 0 and not _is_enough(task, trainer):
        retrain_epochs = fit_or_keep(
            trainer,
            task.warn,
            f"round {task.number}: retrain",
            epochs=task.stages.retrain,
            learning_rate=RETRAIN_RATE * config.train.learning_rate,
            masks=training_masks(space, plan, trainer.weights()),
        ).epochs
    shrunk = shrink(analyse(trainer.model()), plan)
    accuracy = trainer.evaluate(task.data.select)
    return RoundResult(
        shrunk=shrunk,
        accuracy=accuracy,
        epochs=admm_epochs + retrain_epochs,
        seconds=time.perf_counter() - start,
        evaluations=found.evaluations,
        history=found.history,
        residuals=tuple(residuals),
        # Not the point: several may cost as little as the smallest.
        is_exhausted=problem.cost(point) <= problem.cost(problem.smallest),
    )


def _importances(task: RoundTask, space: Space) -> list[FloatArray]:
    """Order the units of all knobs, and say where there was no time to do it well."""
    found = space.importances()
    if space.mender is not None and space.mender.hurried:
        rankings = counted(space.mender.hurried, "ranking")
        task.say(
            f"round {task.number}: search cut short: {rankings} of units ended early, by what each "
            "unit alone loses"
        )
    return found


def _left_s(task: RoundTask, start: float) -> float | None:
    """Seconds that are left for the search of a round that began at a time; None for no limit."""
    search_s = _search_s(task)
    return None if search_s is None else max(search_s - (time.perf_counter() - start), 0.0)


def _search_s(task: RoundTask) -> float | None:
    """Seconds that the search of this round may take, all in all; None for no limit."""
    config, stages = task.config, task.stages
    if stages.search_s is not None or not config.timing or config.search.evaluations is not None:
        return stages.search_s
    return MOST_SEARCH_S / max(len(stages.rates) or stages.attempts, 1)


def _levels(
    task: RoundTask, space: Space, whole: Images, left_s: float | None
) -> tuple[Level, ...]:
    """Plan by how many images points are judged, and say so where it is not by all."""
    search = task.config.search
    evaluations = search.evaluations or default_evaluations(
        search.method, len(space.knobs), is_measured=space.mender is not None
    )
    levels = levels_of(
        task.model, whole, evaluations, left_s=left_s, evaluation_s=task.evaluation_s
    )
    if len(levels) > 1:
        few = whole.shared(levels[0].share)
        task.say(
            f"round {task.number}: each point is judged by {few.select} examples and "
            f"BatchNormalization's statistics of {few.train}, the best by up to {whole.select} and "
            f"{whole.train}"
        )
    return levels


def _search(
    task: RoundTask,
    space: Space,
    trainer: Trainer,
    problem: Problem,
    importances: list[FloatArray],
    whole: Images,
    level: Level,
    seconds: float | None,
) -> SearchResult:
    """Search, in several processes or on a cluster where that was asked for."""
    begin = time.perf_counter()
    config, images = task.config, whole.shared(level.share)
    data, anneal = task.data, config.search.anneal

    def packed() -> Task:
        return make_task(
            config, trainer, space, task.teacher, data.train, data.select, images.select,
            images.train,
        )  # fmt: skip

    with _judges(config.search, packed) as judges:
        left_s = None if seconds is None else seconds - (time.perf_counter() - begin)
        found = search(
            replace(problem, evaluate_many=judges.evaluate_many),
            config.search.method,
            evaluations=level.count,
            seed=config.seed + task.number,
            importances=importances,
            sensitivity=space.sensitivity if space.mender is not None else None,
            config=replace(anneal, batch=max(anneal.batch, judges.at_once)),
            time_budget_s=left_s,
        )
    if seconds is not None and time.perf_counter() - begin >= seconds:
        task.say(
            f"round {task.number}: search cut short after {found.evaluations} of up to "
            f"{level.count} evaluations"
        )
    return found


def _judges(search: SearchConfig, make: Callable[[], Task]) -> AbstractContextManager[Judges]:
    if search.cluster is not None:
        return cluster_evaluators(search.cluster, make)
    return evaluators(search.workers, make)


def _is_enough(task: RoundTask, trainer: Trainer) -> bool:
    return task.enough is not None and trainer.evaluate(task.data.select) >= task.enough


def _cut(
    task: RoundTask, space: Space, trainer: Trainer, problem: Problem, point: Point
) -> tuple[Point, Plan, float, list[Residual]]:
    """Train towards a point by ADMM, then mask hard and mend; the trainer holds the result.

    By magnitude ADMM decides what stays: its set is everything with so many filters and columns.
    Where readers are measured the measurement decides first, and its set is that one cut.

    Returns:
        The point within the budget, its plan, epochs spent, residuals.
    """
    if space.mender is None:
        constraint = space.constraint(point)
        names = space.constrained(constraint)
        epochs, residuals = _admm(
            task, space, trainer, names, lambda w, scales: constraint.project(w, scales).weights
        )
        point, plan = _final_plan(task, space, problem, point, trainer.weights())
    else:
        point, plan = _final_plan(task, space, problem, point, trainer.weights())
        masks = training_masks(space, plan, trainer.weights())
        names = sorted(name for name in masks if space.weights[name].ndim > 1)
        epochs, residuals = _admm(
            task,
            space,
            trainer,
            names,
            lambda w, _: {k: np.where(masks[k], v, 0) for k, v in w.items()},
        )
        if epochs > 0:
            space = replace(space, mender=_measure(task, space, trainer))
    mask_hard(trainer, space, plan)
    trainer.recalibrate(RECALIBRATION_BATCHES)
    return point, plan, epochs, residuals


def mask_hard(trainer: Trainer, space: Space, plan: Plan) -> None:
    """Zero in a trainer what a plan removes, and mend what is left where the space can."""
    weights = trainer.weights()
    masks = training_masks(space, plan, weights)
    zeroed = {name: ~mask for name, mask in masks.items()}
    trainer.load_weights(masked_weights(space, weights, zeroed))


def _measure(task: RoundTask, space: Space, trainer: Trainer) -> Mender:
    seed = task.config.seed + task.number
    seconds, begin = _search_s(task), time.perf_counter()
    mender = measure_layers(
        space.dependency, trainer, task.data.train, seed=seed,
        images=measured_images(task.model, IMAGES),
        batch=min(BATCH, trainer.images_at_once(task.data.train)),
        seconds=None if seconds is None else MEASURING_SHARE * seconds,
    )  # fmt: skip
    if seconds is not None:
        until = begin + (MEASURING_SHARE + RANKING_SHARE) * seconds
        mender = replace(mender, until=until)
    if mender.wide:
        task.say(
            f"round {task.number}: too wide to be measured, so cut by magnitude and not mended: "
            f"{', '.join(mender.wide)}"
        )
    if mender.unmeasured:
        task.warn(
            "layers that read numbers that are not finite are cut by magnitude and not mended: "
            f"{', '.join(mender.unmeasured)}"
        )
    return mender


def _admm(
    task: RoundTask, space: Space, trainer: Trainer, names: list[str], onto: Onto
) -> tuple[float, list[Residual]]:
    return train_towards(
        onto,
        names,
        trainer=trainer,
        config=task.config,
        images=len(task.data.train),
        epochs=task.stages.admm,
        held=dead_columns(space),
        round_number=task.number,
        warn=task.warn,
    )


def _final_plan(
    task: RoundTask,
    space: Space,
    problem: Problem,
    point: Point,
    weights: Mapping[str, Array],
) -> tuple[Point, Plan]:
    """Make the hard mask; move the point until the model as written is at the budget."""
    actual = task.actual_cost
    if actual is None:
        return point, space.masked_plan(point, weights)

    def cost_of(found: Point) -> float:
        return actual(shrink(space.dependency, space.masked_plan(found, weights)).model)

    def place(budget: float, start: Point = point) -> Point:
        within = replace(problem, budget=max(budget, least))
        return project_to_budget([float(kept) for kept in start], within)

    least = problem.cost(problem.smallest)
    settling = Settling(place=place, measure=cost_of, most=task.budget, least=least)
    if task.point_cost is None:
        settling.band, settling.repeats = COUNTED_BAND, 1
    point = settling.run(point, problem.cost(point))
    return point, space.masked_plan(point, weights)
