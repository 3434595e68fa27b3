"""Estimate the memory of a run in advance."""

from acgraph.backends.interface import TrainingBackend
from acgraph.backends.ort.footprint_probe import peak_bytes
from acgraph.config import CompressConfig
from acgraph.data import Dataset
from acgraph.driver.space.reconstruction import (
    MAX_SUMMED_BYTES,
    moment_bytes,
    reconstructible_layers,
)
from acgraph.ir import Model

#: Copies of the weights during training: the graph, the network, its teacher, gradients, momentum,
#: one for a search, and two to restore.
COPIES = 8
#: Number of matrices of the widest layer's size that an elimination needs at the same time.
WORKING = 5
_FLOAT64 = 8


def memory_bytes(
    config: CompressConfig, backend: TrainingBackend, model: Model, train: Dataset
) -> int:
    """Estimate the peak memory of a run in bytes.

    A training step needs the activations of its batch, up to a bound above which the batch is split
    into micro-batches; an evaluation needs less. The measured inputs of layers take a matrix each.

    Args:
        config: The options of the run.
        backend: The training backend.
        model: The trainable network.
        train: The training images.
    """
    weights = sum(value.nbytes for value in model.constants().values())
    kept = _moments(model) if config.criterion == "reconstruction" else 0
    step = backend.step_bytes(model, train, config.train.batch_size)
    return peak_bytes() + COPIES * weights + kept + step


def _moments(model: Model) -> int:
    """Return the bytes of the moments of the layers' inputs, and of computing and using them."""
    found = reconstructible_layers(model)
    sums = {layer.weight: _FLOAT64 * layer.columns**2 for layer in found}
    widest = max(sums.values(), default=0)
    kept = sum({layer.weight: moment_bytes(layer) for layer in found}.values())
    summed = min(sum(sums.values()), max(MAX_SUMMED_BYTES, widest))
    return kept + max(summed, WORKING * widest)
