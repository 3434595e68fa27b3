"""Measure how much rounding errors change the outputs of a network.

The reference runs again with weights and inputs that are randomly moved to the next higher or lower
floating-point number, with and without ONNX Runtime's graph optimisations, which select other
kernels. Differences between two models that are not larger than these changes can be rounding.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from acgraph.backends.ort.compare import distance
from acgraph.backends.ort.evidence import Trial
from acgraph.backends.ort.inside import layer_weights, with_outputs
from acgraph.backends.ort.session import ModelSource, Session, SessionSettings
from acgraph.errors import BackendError
from acgraph.ir import Array, Model, clone_model
from acgraph.ir.deferred import change_constants

_log = logging.getLogger(__name__)

#: A difference counts as rounding up to this many times the measured change. For nine networks that
#: were pruned to half, the compact and masked models differed by at most 2.3 times the change, in
#: outputs and intermediate tensors.
FACTOR = 8.0
#: Number of sets of inputs on which rounding is measured in any case.
TRIALS = 3
#: By tensor and number of the set of inputs: the relative change that rounding causes.
Noise = dict[str, dict[int, float]]


def measure_noise(
    reference: ModelSource,
    trials: Sequence[Trial],
    settings: SessionSettings,
    *,
    names: Collection[str],
    shown: Sequence[str] = (),
) -> Noise:
    """Measure how much rounding alone changes tensors of a model.

    Args:
        reference: The model.
        trials: Sets of inputs with the tensors that the model computed.
        settings: Settings of the session that computed them.
        names: The tensors to measure.
        shown: Intermediate tensors of the trials, for a model whose graph can be changed.

    Returns:
        For each tensor and trial, the largest ``distance`` from the trial.
    """
    moved = _with_moved_weights(reference, shown)
    found: Noise = {}
    for seed, changed in enumerate((settings, replace(settings, optimisation="none"))):
        try:
            _add_spread(found, Session(moved, changed), trials, names, seed)
        except BackendError as error:  # not every model runs without optimisations
            _log.info("rounding not measured with optimisation %s: %s", changed.optimisation, error)
    return found


def _add_spread(
    found: Noise,
    session: Session,
    trials: Sequence[Trial],
    names: Collection[str],
    seed: int,
) -> None:
    # A tensor of a sequence is called NAME[0].
    wanted = {*names, *(name.split("[")[0] for name in names)}
    for trial in trials:
        made = session.run(_moved_inputs(trial.feeds, seed), only=wanted)
        for name in names:
            if name in trial.expected:
                spread = distance(made[name], trial.expected[name]) if name in made else np.inf
                record_change(found, name, trial, spread)


def record_change(noise: Noise, name: str, trial: Trial, change: float) -> None:
    """Record a change of a tensor by rounding; the largest one of each trial counts."""
    known = noise.setdefault(name, {})
    known[trial.index] = max(known.get(trial.index, 0.0), change)


def _with_moved_weights(reference: ModelSource, shown: Sequence[str]) -> ModelSource:
    """Move the weights of layers; each one is computed when it is read, to save memory."""
    if not isinstance(reference, Model):
        return reference
    model = with_outputs(reference, shown) if shown else clone_model(reference)
    change_constants(model, dict.fromkeys(layer_weights(model), _moved))
    return model


def _moved(values: Array) -> Array:
    """Move the values of a float constant, in the same way each time."""
    return move(values, np.random.default_rng(0)) if values.dtype.kind == "f" else values


def _moved_inputs(feeds: Mapping[str, Array], seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        name: move(value, rng) if value.dtype.kind == "f" else value
        for name, value in feeds.items()
    }


def move(values: Array, rng: np.random.Generator) -> Array:
    """Move numbers at random to the next higher or lower number of their type, except zeros."""
    towards = np.where(
        rng.integers(0, 2, values.shape, dtype=np.bool_),
        np.array(np.inf, values.dtype),
        np.array(-np.inf, values.dtype),
    )
    with np.errstate(over="ignore"):
        moved = np.nextafter(values, towards)
    return np.where((values == 0) | ~np.isfinite(moved), values, moved)
