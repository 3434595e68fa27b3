"""Get a network ready for training: constants apart, folded BatchNormalization back."""

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from acgraph.backends.interface import TrainingBackend
from acgraph.data import Dataset
from acgraph.driver.inputs.timely import within_time
from acgraph.ir import Model, clone_model
from acgraph.ir.constants import lift_constants
from acgraph.passes.insert_batchnorm import insert_batchnorm, layers_without_batchnorm
from acgraph.passes.untie_constants import untie_constants

log = logging.getLogger(__name__)

#: Images that the statistics of a re-inserted BatchNormalization are measured on.
CALIBRATION_IMAGES = 1024
BATCH = 128
#: Norm of a filter where training starts after He et al. (ICCV 2015), whatever its size.
FILTER_NORM = math.sqrt(2)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trainable:
    """A network in the form that trains well.

    Attributes:
        model: The network.
        inserted: The BatchNormalization nodes that were put in.
        is_changed: Whether it is another graph than it was made of.
    """

    model: Model
    inserted: tuple[str, ...]
    is_changed: bool


def ready_to_train(
    model: Model, train: Dataset, backend: TrainingBackend, seconds: float | None = None
) -> Trainable:
    """Copy a model into the form that trains well.

    Constants that the exporter merged are made separate, and Constant nodes become initializers. A
    deep network without BatchNormalization does not retrain well, so each convolution with a bias
    and without one gets one, set so that the function is unchanged. Steps of training are then as
    large as the learning rate over the squared size of a filter, so filters get the size that
    learning rates are for.

    Args:
        model: What to copy.
        train: Training images, on some of which statistics are measured.
        backend: What measures them.
        seconds: For measuring; None for no limit.
    """
    ready = clone_model(model)
    untied = bool(untie_constants(ready))
    before = [node.name for node in ready.graph.nodes]
    lift_constants(ready)
    lifted = before != [node.name for node in ready.graph.nodes]
    outputs = bare_convolutions(ready)
    if not outputs:
        return Trainable(ready, (), is_changed=untied or lifted)
    count = min(len(train), CALIBRATION_IMAGES)
    order = np.linspace(0, len(train) - 1, count).astype(np.int64)
    batches = (train.batch(order[i : i + BATCH])[0] for i in range(0, count, BATCH))
    timely = within_time(batches, seconds)
    statistics = backend.channel_statistics(ready, list(outputs.values()), timely)
    factors = filter_factors(ready, outputs)
    inserted = insert_batchnorm(ready, statistics, layers=list(outputs), factors=factors)
    log.info("put BatchNormalization back after %d convolutions", len(inserted))
    return Trainable(ready, tuple(inserted), is_changed=True)


def filter_factors(model: Model, names: Collection[str]) -> dict[str, Floats]:
    """Return what gives the filters of convolutions ``FILTER_NORM``: ``float [filters]`` by name.

    One factor for all filters of a layer, in the root mean square: which is the largest
    stays so. Layers that are zero, or whose weights something else reads, have none.
    """
    factors = {}
    for node in model.graph.nodes:
        weight = node.inputs[1] if node.name in names else None
        if not isinstance(weight, gs.Constant) or len(weight.outputs) != 1:
            continue
        filters = np.asarray(weight.values, dtype=np.float64).reshape(weight.shape[0], -1)
        size = np.linalg.norm(filters) / math.sqrt(len(filters))
        if size > 0:
            factors[node.name] = np.full(len(filters), FILTER_NORM / size)
    return factors


def bare_convolutions(model: Model) -> dict[str, str]:
    """Name the convolutions that have a bias and no BatchNormalization, each with its output.

    None where the network still has any BatchNormalization: its author left the others bare.
    """
    if any(node.op == "BatchNormalization" for node in model.graph.nodes):
        return {}
    biased = {node.name for node in model.graph.nodes if len(node.inputs) > 2}
    return {k: v for k, v in layers_without_batchnorm(model).items() if k in biased}
