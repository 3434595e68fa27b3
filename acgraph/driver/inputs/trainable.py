"""Prepare a network for training: untie constants, insert folded BatchNormalization again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from acgraph.backends.interface import TrainingBackend
from acgraph.data import Dataset, cut_indices
from acgraph.driver.inputs.time_limit import within_time
from acgraph.driver.passes import PREPARING, PassSettings
from acgraph.ir import Array, Model, clone_model
from acgraph.passes.store_weights import store_weights
from acgraph.passmanager import PassContext, PassRun
from acgraph.passmanager.base import Statistics

#: Images on which the statistics of an inserted BatchNormalization are measured.
CALIBRATION_IMAGES = 1024
BATCH = 128


@dataclass(frozen=True, slots=True)
class Trainable:
    """A network in the form that trains well.

    Attributes:
        model: The network.
        inserted: The BatchNormalization nodes that were inserted.
        is_changed: Whether the graph differs from the original one.
    """

    model: Model
    inserted: tuple[str, ...]
    is_changed: bool


def ready_to_train(
    model: Model,
    train: Dataset,
    backend: TrainingBackend,
    seconds: float | None = None,
    passes: PassSettings | None = None,
    computed: Mapping[str, Array] | None = None,
) -> Trainable:
    """Copy a model into the form that trains well.

    Constants that the exporter merged are untied, and Constant nodes become initializers. A deep
    network without BatchNormalization does not retrain well, so one is inserted after each
    convolution that has a bias and no BatchNormalization, such that the function is unchanged. The
    effective step size is then the learning rate divided by the squared norm of a filter, so
    filters are rescaled to the norm that common learning rates are meant for.

    Args:
        model: The model to copy.
        train: Training images, on some of which statistics are measured.
        backend: The training backend that measures them.
        seconds: Time limit for measuring; None for no limit.
        passes: How the passes are instrumented.
        computed: Values of weights that the graph computes from constants, by tensor name, such as
            standardised ones. They become constants: recomputed from cut constants, the weights
            that stay would change.
    """
    ready = clone_model(model)
    store_weights(ready, computed or {})
    before = {node.name for node in ready.graph.nodes}

    def statistics(found: Model, names: Sequence[str]) -> Statistics:
        count = min(len(train), CALIBRATION_IMAGES)
        order = np.linspace(0, len(train) - 1, count).astype(np.int64)
        batches = map(train.batch, cut_indices(train, order, BATCH))
        return backend.channel_statistics(found, names, within_time(batches, seconds))

    runs: list[PassRun] = (passes or PassSettings()).run_text(
        PREPARING, ready, PassContext(statistics=statistics)
    )
    return Trainable(
        model=ready,
        inserted=tuple(node.name for node in ready.graph.nodes if node.name not in before),
        is_changed=bool(computed) or any(run.result.modified for run in runs),
    )
