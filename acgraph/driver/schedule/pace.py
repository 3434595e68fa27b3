"""Measure how fast this host trains and evaluates, and estimate the duration of a run."""

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from acgraph.analysis.layers import Layer
from acgraph.backends.interface import Trainer, TrainingBackend
from acgraph.backends.training import PROBE_SECONDS, steps_per_pass
from acgraph.config import CompressConfig
from acgraph.data import Dataset
from acgraph.driver.evaluation.images import PROXY_IMAGES, SEARCH_TO_TRAINING, measured_images
from acgraph.driver.inputs.data import RunData
from acgraph.driver.schedule.plan import (
    MAX_SEARCH_S,
    MIN_SEARCH_S,
    PURIFY_EVALUATIONS,
    Pace,
    RunSchedule,
)
from acgraph.driver.space.reconstruction import IMAGES, reconstructible_layers
from acgraph.ir import Model
from acgraph.pruning.reconstruct import refit
from acgraph.search.methods import EVALUATIONS

log = logging.getLogger(__name__)

#: Steps of one timed training, and its repetitions: torch is slow at first, so the fastest counts.
TIMED_STEPS = 8
TIMED_FITS = 4
#: Seconds after which no further timed training starts, and limit of each of them.
MAX_SECONDS = 2.0
#: Images of a first evaluation to see how long one takes; a training step costs this many times it.
_FEW_IMAGES = 8
_STEP_COST = 3
#: Cost of measuring the layers' inputs for an image, in evaluations of an image; and of ranking the
#: units of a layer, in reconstructions of the layer.
_MEASURED_COST, _RANKING_COST = 3, 8
#: Share of a time budget for choosing the training mode, and the number of steps timed for it.
MODE_SHARE = 0.05
_TIMED_MODES = 20
#: Learning rate of the timed copy, so small that it cannot diverge.
_LEARNING_RATE = 1e-6
#: Columns of a layer whose reconstruction is timed; the time grows with the cube of the width.
_TIMED_COLUMNS = 384
#: Repetitions, of which the fastest counts: each is so short that other load delays some.
_TIMED_RECONSTRUCTIONS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Estimated duration of a run, without reading, writing and measuring.

    Attributes:
        train_s: Seconds of training at the speed of the dense network: an upper bound, because the
            network shrinks.
        search_s: Seconds of the searches for evaluating points.
    """

    train_s: float
    search_s: float

    def describe(self) -> str:
        """Return the estimate as one line of text."""
        return (
            f"at most about {about(self.train_s)} of training (less as the network shrinks) "
            f"and about {about(self.search_s)} of search"
        )


def with_mode(
    config: CompressConfig, backend: TrainingBackend, model: Model, teacher: Model, data: RunData
) -> CompressConfig:
    """Set the training mode that is fastest on this host, so that no later trainer has to time it.

    The mode is chosen for the dense network; that for cut networks rarely differs.

    Args:
        config: The options with a time budget, of which a small share is used here.
        backend: The training backend.
        model: The network.
        teacher: The teacher of knowledge distillation.
        data: The data of the run.
    """
    probe_s = min(PROBE_SECONDS, MODE_SHARE * (config.time_budget or math.inf) / _TIMED_MODES)
    trainer = backend.trainer(
        model, data.train, teacher=teacher, config=config.train, probe_s=probe_s
    )
    mode = trainer.choose_mode()
    train = replace(
        config.train,
        precision=mode.precision,
        channels_last=mode.channels_last,
        threads=config.train.threads or mode.threads,
    )
    return config.model_copy(update={"train": train})


def measure_pace(
    config: CompressConfig, backend: TrainingBackend, model: Model, teacher: Model, data: RunData
) -> Pace:
    """Time a few training steps of a copy, after some warm-up steps, and an evaluation.

    Batches are smaller than those of training if one of these would take too long.
    """
    evaluator = backend.trainer(model, data.train, teacher=teacher, config=config.train)
    image_s = image_seconds(evaluator, data.select, config.train.batch_size)
    size = min(config.train.batch_size, max(2, int(MAX_SECONDS / (_STEP_COST * image_s))))
    timed = replace(config.train, batch_size=size)
    trainer = backend.trainer(model, data.train, teacher=teacher, config=timed)
    trainer.choose_mode()
    passes = TIMED_STEPS / steps_per_pass(len(data.train), size)
    until = time.perf_counter() + MAX_SECONDS
    speeds: list[float] = []
    while not speeds or (len(speeds) < TIMED_FITS and time.perf_counter() < until):
        fitted = trainer.fit(
            epochs=passes,
            learning_rate=_LEARNING_RATE,
            time_budget_s=MAX_SECONDS,
            description="timing",
        )
        speeds.append(fitted.images_per_second)
    evaluation_s = _evaluation_s(config, data, image_s)
    preparing_s = 0.0
    if config.criterion == "reconstruction":
        reconstruction_s = _reconstruction_s(reconstructible_layers(model))
        evaluation_s += reconstruction_s
        images = min(len(data.train), measured_images(model, IMAGES))
        preparing_s = _MEASURED_COST * image_s * images + _RANKING_COST * reconstruction_s
    return Pace(
        pass_s=len(data.train) / max(speeds),
        evaluation_s=evaluation_s,
        image_s=image_s,
        preparing_s=preparing_s,
    )


def image_seconds(evaluator: Trainer, data: Dataset, batch_size: int) -> float:
    """Return the seconds to evaluate one image, timed by a batch, or by a few images if slow.

    The first run of a network is not timed, because it includes the initialisation.
    """
    count = min(len(data), _FEW_IMAGES)
    evaluator.evaluate(data, 1, fast=True)
    while True:
        start = time.perf_counter()
        evaluator.evaluate(data, count, fast=True)
        seconds = time.perf_counter() - start
        whole = min(len(data), batch_size)
        if count >= whole or seconds * whole / count > MAX_SECONDS:
            return max(seconds, 1e-9) / count
        count = whole


def _evaluation_s(config: CompressConfig, data: RunData, image_s: float) -> float:
    """Return the seconds to evaluate a point, without reconstruction."""
    recalibration = min(len(data.train), config.search.recalibrate * config.train.batch_size)
    return image_s * (recalibration + min(len(data.select), PROXY_IMAGES))


def _reconstruction_s(found: Iterable[Layer]) -> float:
    """Return the seconds to reconstruct all layers once, extrapolated from one that is half cut."""
    columns = [layer.columns for layer in found]
    if not columns:
        return 0.0
    size = min(max(columns), _TIMED_COLUMNS)
    kept = np.arange(size) % 2 == 0
    matrix, moments = np.ones((size, size), np.float32), np.eye(size)
    seconds = []
    for _ in range(_TIMED_RECONSTRUCTIONS):
        start = time.perf_counter()
        refit(matrix, moments, kept)
        seconds.append(time.perf_counter() - start)
    return min(seconds) * sum((count / size) ** 3 for count in columns)


def estimate(
    config: CompressConfig, stages: RunSchedule, pace: Pace, affordable: float = math.inf
) -> Estimate:
    """Estimate the duration of a schedule at a measured pace.

    Args:
        config: The options of the run.
        stages: The schedule.
        pace: The pace of the dense network.
        affordable: Number of full evaluations that fit into the budget of one search.
    """
    rounds = len(stages.rates) or stages.attempts
    evaluations = min(config.search.evaluations or EVALUATIONS, affordable)
    search_s = rounds * (evaluations * pace.evaluation_s + pace.preparing_s)
    if config.search.evaluations is None:
        search_s = min(search_s, search_limit_s(stages, pace))
    if config.purify and stages.round_epochs > 0:
        search_s += PURIFY_EVALUATIONS * pace.evaluation_s
    return Estimate(
        train_s=pace.pass_s * (rounds * stages.round_epochs + stages.finish),
        search_s=search_s,
    )


def search_limit_s(stages: RunSchedule, pace: Pace | None) -> float:
    """Return the time limit of all searches in seconds, if nothing else limits them.

    A search may take three times as long as the training, but at least a minute and at most 14.
    """
    if pace is None:
        return MAX_SEARCH_S
    training_s = pace.pass_s * stages.total_epochs
    return min(MAX_SEARCH_S, max(MIN_SEARCH_S, SEARCH_TO_TRAINING * training_s))


def about(seconds: float) -> str:
    """Format a duration in seconds, rounded to its precision.

    >>> about(3.4), about(47), about(754), about(5500)
    ('3 s', '50 s', '13 min', '1.5 h')
    """
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 90:
        return f"{10 * round(seconds / 10)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.2g} h"
