"""ADMM within a round: the schedule that fits its steps, and the training towards a set."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from acgraph.admm.config import AdmmConfig
from acgraph.admm.residuals import Residual
from acgraph.admm.solver import layer_scales, run_admm
from acgraph.backends.interface import Trainer
from acgraph.backends.training import Masks, Proximal
from acgraph.config import CompressConfig
from acgraph.driver.training.fit import fit_or_keep
from acgraph.ir import Array

#: Peak learning rate of ADMM, relative to that of the final fine-tuning.
ADMM_RATE = 0.2
#: What ``admm.rho`` is stated for: steps times learning rate of one update in the authors' CIFAR
#: template (20 epochs of 391 steps at 0.01, momentum 0.9). Shorter updates get a larger rho in
#: proportion, so that W moves as far towards Z - U; else U only winds up.
AUTHORS_UPDATE = 20 * 391 * 0.01 / (1 - 0.9)

#: Weights and the scales of their layers -> the nearest weights of a set.
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
) -> tuple[float, list[Residual]]:
    """Train towards a set.

    Args:
        onto: Projects weights onto it, given the scales of their layers.
        names: Of the weights that it constrains.
        trainer: Holds them.
        config: The schedule.
        images: For training.
        epochs: Of all updates together.
        zeroed: What stays zero all the while.
        round_number: For the progress line.
        warn: Who is told where training diverged.

    Returns:
        Epochs spent, and residuals.
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
    """Return the largest rho of a layer: with twice as much, one step would reach Z - U."""
    return 0.5 / learning_rate


def effective_admm(
    config: CompressConfig, epochs: float, learning_rate: float, images: int
) -> AdmmConfig:
    """Fit the schedule of ADMM to the steps that there are.

    Each update trains for at least one step, and rho grows as updates shrink: see
    ``AUTHORS_UPDATE``. Adaptive optimizers take steps of the size of the learning rate, so
    their momentum does not multiply it. Rho stays within ``max_rho``, and so must that of each
    layer: cut the scales, not rho, or one layer of tiny weights would hold back all the others.
    """
    train = config.train
    steps = max(1, round(epochs * math.ceil(images / train.batch_size)))
    updates = min(config.admm.updates, steps)
    gain = learning_rate / (1 - train.momentum) if train.optimizer == "sgd" else learning_rate
    factor = AUTHORS_UPDATE / (steps / updates * gain)
    admm = config.admm
    most = min(admm.rho_max * factor, max_rho(learning_rate))
    return replace(admm, updates=updates, rho=min(admm.rho * factor, most), rho_max=most)
