"""ADMM within a round: a schedule that suits the number of steps, and the training itself."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from acgraph.admm.config import AdmmConfig
from acgraph.admm.residuals import Residual
from acgraph.admm.solver import layer_scales, run_admm
from acgraph.backends.interface import Trainer
from acgraph.backends.training import Masks, Proximal
from acgraph.config import CompressConfig
from acgraph.driver.training.curve import Curve
from acgraph.driver.training.fit import fit_or_keep
from acgraph.ir import Array

#: Peak learning rate of ADMM, relative to that of the final fine-tuning.
ADMM_RATE = 0.2
#: The reference for ``admm.rho``: steps times learning rate of one update in the authors' CIFAR
#: template (20 epochs of 391 steps at 0.01, momentum 0.9). For shorter updates, rho is larger in
#: proportion, so that W moves as far towards Z - U; otherwise U only accumulates.
AUTHORS_UPDATE = 20 * 391 * 0.01 / (1 - 0.9)

#: Maps weights and the scales of their layers to the nearest weights of the constraint set.
Onto = Callable[[Mapping[str, Array], Mapping[str, float]], dict[str, Array]]


def train_towards(
    onto: Onto,
    names: list[str],
    *,
    trainer: Trainer,
    config: CompressConfig,
    images: int,
    epochs: float,
    zeroed: Masks,
    round_number: int,
    warn: Callable[[str], None],
    curve: Curve,
) -> tuple[float, list[Residual]]:
    """Train towards a constraint set by ADMM.

    Args:
        onto: Projects weights onto the set, given the scales of their layers.
        names: Names of the constrained weights.
        trainer: Holds the network.
        config: The options of the run.
        images: Number of training images.
        epochs: Epochs of all updates together.
        zeroed: Masks of the weights that stay zero.
        round_number: Number of the round, for the progress line.
        warn: Callback for a warning if training diverged.
        curve: Collects the passes over the training data.

    Returns:
        The epochs spent, and the residuals of each update.
    """
    if not names or epochs == 0:
        return 0.0, []
    rate = ADMM_RATE * config.train.learning_rate
    weights = trainer.weights()
    start = {name: weights[name] for name in names}
    schedule = effective_admm(config, epochs, rate, images)
    scales = layer_scales(start, max_rho(rate) / schedule.rho_at(schedule.updates - 1))
    each = epochs / schedule.updates
    spent = [0.0]

    def minimise(targets: Mapping[str, Array], rho: Mapping[str, float]) -> dict[str, Array]:
        fitted = fit_or_keep(
            trainer,
            warn,
            f"round {round_number}: ADMM",
            curve=curve,
            epochs=each,
            learning_rate=rate,
            schedule="constant",
            masks=zeroed,
            proximal=Proximal(targets=targets, rho=rho),
        )
        spent[0] += fitted.epochs
        current = trainer.weights()
        return {name: current[name] for name in names}

    def project(current: Mapping[str, Array]) -> dict[str, Array]:
        return onto(current, scales)

    result = run_admm(start, project, minimise, schedule, scales=scales)
    return spent[0], result.residuals


def max_rho(learning_rate: float) -> float:
    """Return the largest stable rho of a layer: with twice as much, one step reaches Z - U."""
    return 0.5 / learning_rate


def effective_admm(
    config: CompressConfig, epochs: float, learning_rate: float, images: int
) -> AdmmConfig:
    """Adapt the schedule of ADMM to the available number of steps.

    Each update trains for at least one step, and rho grows as updates get shorter: see
    ``AUTHORS_UPDATE``. Adaptive optimizers take steps of the size of the learning rate, so
    their momentum does not multiply it. Rho is limited to ``max_rho``, and so is that of each
    layer: there the scales are reduced, not rho, because one layer of tiny weights would otherwise
    slow down all the others.
    """
    train = config.train
    steps = max(1, round(epochs * math.ceil(images / train.batch_size)))
    updates = min(config.admm.updates, steps)
    gain = learning_rate / (1 - train.momentum) if train.optimizer == "sgd" else learning_rate
    factor = AUTHORS_UPDATE / (steps / updates * gain)
    admm = config.admm
    most = min(admm.rho_max * factor, max_rho(learning_rate))
    return replace(admm, updates=updates, rho=min(admm.rho * factor, most), rho_max=most)
