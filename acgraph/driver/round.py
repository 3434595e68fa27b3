"""One round: search rates, ADMM, hard mask, masked retraining, physical shrink."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from acgraph.admm.config import AdmmConfig
from acgraph.admm.residuals import Residual
from acgraph.admm.solver import layer_scales, run_admm
from acgraph.analysis.dependency import analyse
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import Masks, ProgressSink, Proximal
from acgraph.config import CompressConfig, SearchConfig
from acgraph.driver.cluster import cluster_evaluators
from acgraph.driver.inputs import RunData
from acgraph.driver.mending import Mender, measure_layers
from acgraph.driver.proxy import Proxy, masked_weights
from acgraph.driver.settle import COUNTED_BAND, Settling
from acgraph.driver.space import Space, open_space
from acgraph.driver.space_cost import CostMetric
from acgraph.driver.stages import Stages
from acgraph.driver.thrift import thrifty_space
from acgraph.driver.workers import Judges, Task, evaluators, make_task
from acgraph.ir import Array, Model
from acgraph.pruning.plan import Bools, Plan, zeroed_elements
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

log = logging.getLogger(__name__)

#: Peak learning rates of ADMM and of retraining, relative to that of the final fine-tuning.
ADMM_RATE = 0.2
RETRAIN_RATE = 0.5
#: What ``admm.rho`` is stated for: steps times learning rate of one update in the authors' CIFAR
#: template (20 epochs of 391 steps at 0.01, momentum 0.9). Shorter updates get a larger rho in
#: proportion, so that W moves as far towards Z - U; else U only winds up.
AUTHORS_UPDATE = 20 * 391 * 0.01 / (1 - 0.9)
#: Images that one evaluation of the search uses.
PROXY_IMAGES = 1000
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
    """

    model: Model
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
    enough: float | None = None


def run_round(task: RoundTask) -> RoundResult | None:
    """Run one round as far as its budget, or as far as cuts are allowed; None where none is."""
    start = time.perf_counter()
    config = task.config
    space = open_space(task.model, config)
    if all(knob.floor == knob.size for knob in space.knobs):
        return None
    trainer = TorchTrainer(
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
    proxy = Proxy(
        trainer, space, task.data.select, limit=PROXY_IMAGES, batches=config.search.recalibrate
    )
    problem = Problem(
        knobs=space.knobs,
        cost=cost,
        budget=task.budget,
        evaluate=proxy,
    )
    problem = replace(problem, budget=max(task.budget, problem.cost(problem.smallest)))
    found = _search(task, space, trainer, problem)
    log.info("round %d: proxy %.4f, %d evaluations", task.number, found.score, found.evaluations)
    point, plan, admm_epochs, residuals = _cut(task, space, trainer, problem, found.point)
    retrain_epochs = 0.0
    if task.stages.retrain > 0 and not _is_enough(task, trainer):
        retrain_epochs = trainer.fit(
            epochs=task.stages.retrain,
            learning_rate=RETRAIN_RATE * config.train.learning_rate,
            masks=training_masks(space, plan, trainer.weights()),
            description=f"round {task.number}: retrain",
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


def _search(task: RoundTask, space: Space, trainer: TorchTrainer, problem: Problem) -> SearchResult:
    """Search, in several processes or on a cluster where that was asked for."""
    config = task.config
    importances = space.importances()  # before the mender is packed, which remembers them
    data, anneal = task.data, config.search.anneal

    def packed() -> Task:
        return make_task(
            config, trainer, space, task.teacher, data.train, data.select, PROXY_IMAGES
        )

    with _judges(config.search, packed) as judges:
        return search(
            replace(problem, evaluate_many=judges.evaluate_many),
            config.search.method,
            evaluations=config.search.evaluations
            or default_evaluations(
                config.search.method, len(space.knobs), is_measured=space.mender is not None
            ),
            seed=config.seed + task.number,
            importances=importances,
            sensitivity=space.sensitivity if space.mender is not None else None,
            config=replace(anneal, batch=max(anneal.batch, judges.at_once)),
            time_budget_s=task.stages.search_s,
        )


def _judges(search: SearchConfig, make: Callable[[], Task]) -> AbstractContextManager[Judges]:
    if search.cluster is not None:
        return cluster_evaluators(search.cluster, make)
    return evaluators(search.workers, make)


def _is_enough(task: RoundTask, trainer: TorchTrainer) -> bool:
    return task.enough is not None and trainer.evaluate(task.data.select) >= task.enough


def _dead_columns(space: Space) -> dict[str, Bools]:
    """Masks that keep columns removed by earlier rounds at zero."""
    return {name: alive[None] for name, alive in space.alive.items() if not alive.all()}


def training_masks(space: Space, plan: Plan, weights: Mapping[str, Array]) -> Masks:
    """Return the keep-flags of every trained weight that a plan, or an earlier round, cuts."""
    families = {f.name: f for f in space.dependency.families}
    zeroed = zeroed_elements(families, plan, space.dependency.facts.shapes)
    masks = {name: ~mask for name, mask in zeroed.items() if name in weights}
    for name, alive in _dead_columns(space).items():
        masks[name] = masks[name] & alive if name in masks else alive
    return masks


def _cut(
    task: RoundTask, space: Space, trainer: TorchTrainer, problem: Problem, point: Point
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
    weights = trainer.weights()
    masks = training_masks(space, plan, weights)
    zeroed = {name: ~mask for name, mask in masks.items()}
    trainer.load_weights(masked_weights(space, weights, zeroed))
    trainer.recalibrate(RECALIBRATION_BATCHES)
    return point, plan, epochs, residuals


def _measure(task: RoundTask, space: Space, trainer: TorchTrainer) -> Mender:
    seed = task.config.seed + task.number
    return measure_layers(space.dependency, trainer.module, task.data.train, seed=seed)


def _admm(
    task: RoundTask,
    space: Space,
    trainer: TorchTrainer,
    names: list[str],
    onto: Callable[[Mapping[str, Array], Mapping[str, float]], dict[str, Array]],
) -> tuple[float, list[Residual]]:
    """Train towards a set that ``onto`` projects onto; return epochs spent and residuals."""
    dead = _dead_columns(space)
    epochs = task.stages.admm
    if not names or epochs == 0:
        return 0.0, []
    rate = ADMM_RATE * task.config.train.learning_rate
    weights = trainer.weights()
    start = {name: weights[name] for name in names}
    config = effective_admm(task.config, epochs, rate, len(task.data.train))
    scales = layer_scales(start, most_rho(rate) / config.rho_at(config.updates - 1))
    each = epochs / config.updates
    spent = [0.0]

    def minimise(targets: Mapping[str, Array], rho: Mapping[str, float]) -> dict[str, Array]:
        fitted = trainer.fit(
            epochs=each,
            learning_rate=rate,
            schedule="constant",
            masks=dead,
            proximal=Proximal(targets=targets, rho=rho),
            description=f"round {task.number}: ADMM",
        )
        spent[0] += fitted.epochs
        current = trainer.weights()
        return {name: current[name] for name in names}

    def project(current: Mapping[str, Array]) -> dict[str, Array]:
        return onto(current, scales)

    result = run_admm(start, project, minimise, config, scales=scales)
    return spent[0], result.residuals


def most_rho(learning_rate: float) -> float:
    """Return the largest rho of a layer: with twice as much, one step would reach Z - U."""
    return 0.5 / learning_rate


def effective_admm(
    config: CompressConfig, epochs: float, learning_rate: float, images: int
) -> AdmmConfig:
    """Fit the schedule of ADMM to the steps that there are.

    Each update trains for at least one step, and rho grows as updates shrink: see
    ``AUTHORS_UPDATE``. Adaptive optimizers take steps of the size of the learning rate, so
    their momentum does not multiply it. Rho stays within ``most_rho``, and so must that of each
    layer: cut the scales, not rho, or one layer of tiny weights would hold back all the others.
    """
    train = config.train
    steps = max(1, round(epochs * math.ceil(images / train.batch_size)))
    updates = min(config.admm.updates, steps)
    gain = learning_rate / (1 - train.momentum) if train.optimizer == "sgd" else learning_rate
    factor = AUTHORS_UPDATE / (steps / updates * gain)
    admm = config.admm
    most = min(admm.rho_max * factor, most_rho(learning_rate))
    return replace(admm, updates=updates, rho=min(admm.rho * factor, most), rho_max=most)


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


__all__ = ["RoundResult", "RoundTask", "run_round", "training_masks"]
