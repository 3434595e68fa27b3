"""Refit the layers of a cut network in order, for a run that learns from the original's outputs.

The reconstruction of a round fits every layer once, on the inputs of the uncut network, and the
statistics of BatchNormalization are estimated again. Fitting the layers in order is far more
accurate (docs/method.md). It keeps the statistics: they are part of what the layers are fitted to.
"""

import time

import numpy as np

from acgraph.backends.interface import Trainer
from acgraph.data import Unlabelled, batch_reader
from acgraph.diagnostics import counted
from acgraph.driver.evaluation.images import measured_images
from acgraph.driver.evaluation.proxy import masked_weights
from acgraph.driver.space.reconstruction import IMAGES
from acgraph.driver.space.sequential import Refit, refit_in_order
from acgraph.driver.space.space import Space
from acgraph.driver.stages.goal import Round
from acgraph.pruning.plan import Plan

#: Largest batch size, and smallest number of examples.
BATCH, MIN_EXAMPLES = 32, 64
#: Share of a time budget for refitting, and its cost for an example in evaluations of an example:
#: two networks run on it. The moments cost the same for any number of examples, because the number
#: of their rows is bounded.
REFIT_SHARE, REFIT_COST = 0.2, 3


def refit_cut(task: Round, space: Space, trainer: Trainer, plan: Plan) -> None:
    """Set the weights that a plan removes to zero, and refit the layers in order, in the trainer.

    Args:
        task: The round.
        space: The search space of the round.
        trainer: Holds the uncut network.
        plan: What is removed.
    """
    begin = time.perf_counter()
    model, backend, data = trainer.model(), task.context.backend, task.data.train
    seconds = _seconds(task)
    order = np.random.default_rng(task.config.seed + task.number).permutation(len(data))
    count = min(len(order), _affordable(task, seconds))
    size = backend.batch_of(model) or min(BATCH, trainer.images_at_once(data))
    read, parts = batch_reader(Unlabelled(data, order[:count].astype(np.int64)), size)
    run = backend.side_by_side(model, read, parts, seed=task.config.seed)
    weights, zeroed = trainer.weights(), space.zeroed(plan)
    found = refit_in_order(
        run, model, weights, zeroed, start=masked_weights(space, weights, zeroed),
        until_s=None if seconds is None else begin + seconds,
    )  # fmt: skip
    trainer.load_weights(found.weights)
    task.fits.extend(found.fits)
    task.status(_described(task, found, count, time.perf_counter() - begin))


def _seconds(task: Round) -> float | None:
    """Return the time limit of the fit in seconds; None without a time budget."""
    budget_s = task.config.time_budget
    rounds = max(len(task.schedule.rates), 1)
    return None if budget_s is None else REFIT_SHARE * budget_s / rounds


def _affordable(task: Round, seconds: float | None) -> int:
    """Return the number of examples that the MACs and the time limit allow."""
    most = measured_images(task.state.network.model, IMAGES)
    pace = task.state.pace
    if seconds is None or pace is None or not pace.image_s:
        return most
    return min(most, max(MIN_EXAMPLES, int(seconds / (REFIT_COST * pace.image_s))))


def _described(task: Round, found: Refit, count: int, seconds: float) -> str:
    left = f"; {counted(len(found.left), 'cut layer')} could not be refitted" if found.left else ""
    if found.late:
        left += f"; the time was over before {counted(len(found.late), 'other layer')}"
    return (
        f"round {task.number}: {counted(len(found.fits), 'layer')} refitted in order to the "
        f"original's outputs of each layer, on {counted(count, 'example')} in {seconds:.0f} s{left}"
    )
