"""What rounding makes of a network: the same inputs again, computed in other ways that are equal.

The reference runs again with its weights and inputs moved by one step of their type, at random up
or down, with and without ONNX Runtime's optimisations, which choose other kernels. How far its
results then spread is what no comparison of two forms of it can tell from equal.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from acgraph.backends.ort.compare import unlikeness
from acgraph.backends.ort.evidence import Trial
from acgraph.backends.ort.inside import layer_weights, showing
from acgraph.backends.ort.session import ModelSource, Session, SessionSettings
from acgraph.errors import BackendError
from acgraph.ir import Array, Model, clone_model
from acgraph.ir.later import change_constants

_log = logging.getLogger(__name__)

#: A difference is taken for rounding up to this many times the spread that was measured. In nine
#: networks that were pruned at half, compact and masked form differed by at most 2.3 times the
#: spread, in the outputs and inside.
FACTOR = 8.0
#: Rounding is measured on so many sets of inputs.
_TRIALS = 3


def measure_noise(
    reference: ModelSource,
    trials: Sequence[Trial],
    settings: SessionSettings,
    *,
    names: Collection[str],
    shown: Sequence[str] = (),
) -> dict[str, float]:
    """Measure how far the results of a model spread by rounding alone.

    Args:
        reference: The model.
        trials: What it was run on.
        settings: How it was run.
        names: The values to measure.
        shown: Values inside that the trials hold, for a model whose graph can be changed.

    Returns:
        By value: the largest ``unlikeness`` to what was expected.
    """
    moved = _with_moved_weights(reference, shown)
    found: dict[str, float] = {}
    for seed, changed in enumerate((settings, replace(settings, optimisation="none"))):
        try:
            _add_spread(found, Session(moved, changed), trials[:_TRIALS], names, seed)
        except BackendError as error:  # not every model runs without optimisations
            _log.info("rounding not measured with optimisation %s: %s", changed.optimisation, error)
    return found


def _add_spread(
    found: dict[str, float],
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
                spread = unlikeness(made[name], trial.expected[name]) if name in made else np.inf
                found[name] = max(found.get(name, 0.0), spread)


def _with_moved_weights(reference: ModelSource, shown: Sequence[str]) -> ModelSource:
    """Move the weights of layers; large ones whenever they are asked for, so that none is kept."""
    if not isinstance(reference, Model):
        return reference
    model = showing(reference, shown) if shown else clone_model(reference)
    change_constants(model, dict.fromkeys(layer_weights(model), _moved))
    return model


def _moved(values: Array) -> Array:
    """Move the values of a constant, in the same way each time; those that are no floats stay."""
    return move(values, np.random.default_rng(0)) if values.dtype.kind == "f" else values


def _moved_inputs(feeds: Mapping[str, Array], seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        name: move(value, rng) if value.dtype.kind == "f" else value
        for name, value in feeds.items()
    }


def move(values: Array, rng: np.random.Generator) -> Array:
    """Move numbers by one step of their type, up or down at random; zeros stay."""
    towards = np.where(
        rng.integers(0, 2, values.shape, dtype=np.bool_),
        np.array(np.inf, values.dtype),
        np.array(-np.inf, values.dtype),
    )
    with np.errstate(over="ignore"):
        moved = np.nextafter(values, towards)
    return np.where((values == 0) | ~np.isfinite(moved), values, moved)
