"""Load the backend that trains."""

from collections.abc import Callable
from typing import Any

from acgraph.backends.interface import TrainingBackend
from acgraph.backends.training import Evaluate


def training_backend(
    loss: Callable[..., Any] | None = None, evaluate: Evaluate | None = None
) -> TrainingBackend:
    """Return the backend that networks are trained with; loads torch.

    Args:
        loss: Replaces the loss of all trainers, in tensors of the backend: outputs of the network,
            labels or None, outputs of the teacher or None -> a scalar.
        evaluate: Replaces the metric of all trainers.
    """
    from acgraph.backends.torch.backend import TorchBackend

    return TorchBackend(loss, evaluate)
