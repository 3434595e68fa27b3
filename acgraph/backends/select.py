"""Load the backend that trains."""

from acgraph.backends.interface import TrainingBackend


def training_backend() -> TrainingBackend:
    """Return the backend that networks are trained with; loads torch."""
    from acgraph.backends.torch.backend import TorchBackend

    return TorchBackend()
