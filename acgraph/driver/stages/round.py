"""One round: search of rates, ADMM, hard mask, masked retraining, shrinking."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from acgraph.admm.residuals import Residual
from acgraph.backends.interface import Trainer
from acgraph.driver.cost.point import CostMetric
from acgraph.driver.evaluation.images import measured_images, proxies, whole_images
from acgraph.driver.evaluation.proxy import masked_weights
from acgraph.driver.network import Network
from acgraph.driver.space.feature_order import EXAMPLES, order_features
from acgraph.driver.space.reconstruction import BATCH, IMAGES, WeightReconstruction, measure_layers
from acgraph.driver.space.sequential import LayerFit
from acgraph.driver.space.space import Space, open_space
from acgraph.driver.space.time_saving import time_saving_space
from acgraph.driver.stages.bisection import COUNTED_BAND, TargetBisection
from acgraph.driver.stages.goal import Goal, Round
from acgraph.driver.stages.refit import refit_cut
from acgraph.driver.stages.round_search import (
    evaluation_levels,
    left_s,
    ranked_units,
    search_points,
    search_s,
)
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State
from acgraph.driver.training.admm import Onto, train_towards
from acgraph.driver.training.curve import StagePass
from acgraph.driver.training.fit import fit_or_keep
from acgraph.driver.training.masks import dead_columns, training_masks
from acgraph.ir import Array
from acgraph.pruning.plan import Plan
from acgraph.pruning.shrink import Shrunk, shrink
from acgraph.search import (
    Evaluation,
    Point,
    Problem,
    project_to_budget,
)
from acgraph.search.halving import rerank

log = logging.getLogger(__name__)

#: Peak learning rate of retraining, relative to that of the final fine-tuning.
RETRAIN_RATE = 0.5
#: Shares of a search's time for ordering the features of attention heads, for measuring the inputs
#: of layers, and for ranking units.
ORDERING_SHARE, MEASURING_SHARE, RANKING_SHARE = 0.1, 0.4, 0.25
#: Smallest time limit for ranking: small networks need less, and lose much without it.
MIN_RANKING_S = 4.0
#: Training batches to recalibrate BatchNormalization on after the cut.
RECALIBRATION_BATCHES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult:
    """The result of a round.

    Attributes:
        shrunk: The shrunk graph with the retrained weights; removed columns are zero.
        network: The same graph with its analysis.
        accuracy: Accuracy on the selection split.
        epochs: Passes over the training data.
        seconds: Total duration.
        evaluations: Number of points that the search evaluated.
        history: These evaluations.
        searched: The point that the search chose.
        search_budget: The largest cost of a point.
        training: The passes over the training data.
        residuals: Residuals of ADMM.
        fits: Errors of the layers that were refitted in order.
        is_exhausted: Whether everything was cut that may be cut in one round.
    """

    shrunk: Shrunk
    network: Network
    accuracy: float
    epochs: float
    seconds: float
    evaluations: int
    history: tuple[Evaluation, ...]
    searched: Point
    search_budget: float
    training: tuple[StagePass, ...]
    residuals: tuple[Residual, ...]
    fits: tuple[LayerFit, ...]
    is_exhausted: bool


def run_round(
    context: Context, state: State, goal: Goal, warn: Callable[[str], None]
) -> RoundResult | None:
    """Run one round: cut to its budget, or as far as allowed; return None if nothing may be cut.

    Args:
        context: The context of the run.
        state: The state before the round.
        goal: The goal of the round.
        warn: Callback for warnings of the report.
    """
    start = time.perf_counter()
    task, config = Round(context, state, goal, warn), context.config
    space = open_space(state.network, config, context.functions.importance)
    if all(knob.floor == knob.size for knob in space.knobs):
        return None
    trainer = context.trainer(state.network, state.mode, round_number=goal.number)
    task.status(f"round {task.number}: training in {trainer.describe()}")
    if config.criterion == "reconstruction":
        if _order_features(task, space, trainer):
            network = state.network.trained(trainer.model())
            space = open_space(network, config, context.functions.importance)
        space = replace(space, reconstruction=_measure(task, space, trainer))
    metric: CostMetric = "params" if config.metric in ("params", "size") else "macs"
    if task.goal.point_cost is None:
        space = time_saving_space(space, metric, task.goal.budget)
    cost: Callable[[Point], float] = (
        partial(space.cost, metric=metric)
        if task.goal.point_cost is None
        else task.goal.point_cost(space)
    )
    # Before the reconstruction is serialised, because it caches the rankings.
    importances = ranked_units(task, space)
    seconds = left_s(task, start)
    whole = whole_images(config, task.data)
    levels = evaluation_levels(task, space, whole, seconds)
    scorers = proxies(config, trainer, space, task.data, whole, levels)
    problem = Problem(
        knobs=space.knobs,
        cost=cost,
        budget=task.goal.budget,
        evaluate=scorers[0][1],
    )
    problem = replace(problem, budget=max(task.goal.budget, problem.cost(problem.smallest)))
    found = search_points(task, space, trainer, problem, importances, whole, levels[0], seconds)
    if scorers[1:]:
        seconds = left_s(task, start)
        found = rerank(found, problem.budget, scorers[1:], time_budget_s=seconds)
    log.info(
        "round %d: best score without training %.4f, %d evaluations",
        task.number,
        found.score,
        found.evaluations,
    )
    point, plan, admm_epochs, residuals = _cut(task, space, trainer, problem, found.point)
    retrain_epochs = 0.0
    if task.schedule.retrain > 0 and not _is_enough(task, trainer):
        retrain_epochs = fit_or_keep(
            trainer,
            task.warn,
            f"round {task.number}: retrain",
            curve=task.curve,
            epochs=task.schedule.retrain,
            **task.context.healing(RETRAIN_RATE),
            masks=training_masks(space, plan, trainer.weights()),
        ).epochs
    shrunk = shrink(state.network.trained(trainer.model()).dependency, plan)
    accuracy = trainer.evaluate(task.data.select)
    return RoundResult(
        shrunk=shrunk,
        network=Network(shrunk.model, twin=task.measured.get(point)),
        accuracy=accuracy,
        epochs=admm_epochs + retrain_epochs,
        seconds=time.perf_counter() - start,
        evaluations=found.evaluations,
        history=found.history,
        searched=found.point,
        search_budget=problem.budget,
        training=task.curve.passes,
        residuals=tuple(residuals),
        fits=tuple(task.fits),
        # Compare costs, not points: several may cost as little as the smallest.
        is_exhausted=problem.cost(point) <= problem.cost(problem.smallest),
    )


def _is_enough(task: Round, trainer: Trainer) -> bool:
    return task.goal.enough is not None and trainer.evaluate(task.data.select) >= task.goal.enough


def _cut(
    task: Round, space: Space, trainer: Trainer, problem: Problem, point: Point
) -> tuple[Point, Plan, float, list[Residual]]:
    """Train towards a point by ADMM, then apply the hard mask and reconstruct, in the trainer.

    With the criterion ``magnitude``, ADMM decides what is kept: it projects onto all weights with
    the point's numbers of filters and columns. With measured layers, or a user's importance, units
    are ranked first, and the constraint is this one cut.

    Returns:
        The point within the budget, its plan, the epochs spent, and the residuals.
    """
    if space.reconstruction is None and space.importance is None:
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
        if epochs > 0 and space.reconstruction is not None:
            space = replace(space, reconstruction=_measure(task, space, trainer))
    if task.context.imitates and space.reconstruction is not None:
        refit_cut(task, space, trainer, plan)
    else:
        mask_hard(trainer, space, plan)
        trainer.recalibrate(RECALIBRATION_BATCHES)
    return point, plan, epochs, residuals


def mask_hard(trainer: Trainer, space: Space, plan: Plan) -> None:
    """Set the weights that a plan removes to zero, and reconstruct the others if the space can."""
    weights = trainer.weights()
    masks = training_masks(space, plan, weights)
    zeroed = {name: ~mask for name, mask in masks.items()}
    trainer.load_weights(masked_weights(space, weights, zeroed))


def _order_features(task: Round, space: Space, trainer: Trainer) -> bool:
    """Put the features of attention heads in order; return whether any weights changed."""
    seconds = search_s(task)
    changed = order_features(
        space.dependency, trainer, task.data.train, seed=task.config.seed,
        examples=measured_images(task.state.network.model, EXAMPLES),
        seconds=None if seconds is None else ORDERING_SHARE * seconds,
    )  # fmt: skip
    return bool(changed)


def _measure(task: Round, space: Space, trainer: Trainer) -> WeightReconstruction:
    seed = task.config.seed + task.number
    seconds = search_s(task)
    reconstruction = measure_layers(
        space.dependency, trainer, task.data.train, seed=seed,
        images=measured_images(task.state.network.model, IMAGES),
        batch=min(BATCH, trainer.images_at_once(task.data.train)),
        seconds=None if seconds is None else MEASURING_SHARE * seconds,
    )  # fmt: skip
    if seconds is not None:
        ranking_s = max(RANKING_SHARE * seconds, MIN_RANKING_S)
        reconstruction = replace(reconstruction, until=time.perf_counter() + ranking_s)
    if reconstruction.wide:
        task.status(
            f"round {task.number}: these layers are too wide for reconstruction and are cut "
            f"by magnitude: {', '.join(reconstruction.wide)}"
        )
    if reconstruction.unmeasured:
        task.warn(
            "these layers read values that are not finite and are cut by magnitude: "
            f"{', '.join(reconstruction.unmeasured)}"
        )
    return reconstruction


def _admm(
    task: Round, space: Space, trainer: Trainer, names: list[str], onto: Onto
) -> tuple[float, list[Residual]]:
    return train_towards(
        onto,
        names,
        trainer=trainer,
        config=task.config,
        images=len(task.data.train),
        epochs=task.schedule.admm,
        zeroed=dead_columns(space),
        round_number=task.number,
        warn=task.warn,
        curve=task.curve,
    )


def _final_plan(
    task: Round,
    space: Space,
    problem: Problem,
    point: Point,
    weights: Mapping[str, Array],
) -> tuple[Point, Plan]:
    """Make the hard mask; adjust the point until the written model meets the budget."""
    actual = task.goal.actual_cost
    if actual is None:
        return point, space.masked_plan(point, weights)

    def cost_of(found: Point) -> float:
        shrunk = shrink(space.dependency, space.masked_plan(found, weights)).model
        task.measured[found] = Network(shrunk)
        return actual(task.measured[found])

    def place(budget: float, start: Point = point) -> Point:
        within = replace(problem, budget=max(budget, least))
        return project_to_budget([float(kept) for kept in start], within)

    least = problem.cost(problem.smallest)
    bisection = TargetBisection(place=place, measure=cost_of, most=task.goal.budget, least=least)
    if task.goal.point_cost is None:
        bisection.band, bisection.repeats = COUNTED_BAND, 1
    point = bisection.run(point, problem.cost(point))
    return point, space.masked_plan(point, weights)
