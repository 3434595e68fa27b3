"""What memory a run will take, said before it is taken."""

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
#: those of a search, and two to fall back to.
COPIES = 8
#: Matrices as large as the widest layer's that an elimination works with.
WORKING = 5
_FLOAT64 = 8


def memory_bytes(
    config: CompressConfig, backend: TrainingBackend, model: Model, train: Dataset
) -> int:
    """Return how much memory a run takes at most, about.

    A step of training takes what its batch makes, up to a bound at which the batch is cut in parts,
    and judging takes less; what layers read is kept as one matrix for each.

    Args:
        config: Of the run.
        backend: What trains.
        model: The network, ready to train.
        train: Its images.
    """
    weights = sum(value.nbytes for value in model.constants().values())
    kept = _moments(model) if config.criterion == "reconstruction" else 0
    step = backend.step_bytes(model, train, config.train.batch_size)
    return peak_bytes() + COPIES * weights + kept + step


def _moments(model: Model) -> int:
    """Bytes of what is kept of the layers' inputs, and of what it takes to get and to use it."""
    found = reconstructible_layers(model)
    sums = {layer.weight: _FLOAT64 * layer.columns**2 for layer in found}
    widest = max(sums.values(), default=0)
    kept = sum({layer.weight: moment_bytes(layer) for layer in found}.values())
    summed = min(sum(sums.values()), max(MAX_SUMMED_BYTES, widest))
    return kept + max(summed, WORKING * widest)
