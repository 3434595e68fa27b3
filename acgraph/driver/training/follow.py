"""Follower processes of distributed training, which only join the training of the leader."""

from contextlib import AbstractContextManager

from acgraph.backends.select import training_backend
from acgraph.config import CompressConfig
from acgraph.driver.inputs.data import open_data


def is_follower() -> bool:
    """Return whether another process is the leader; imports torch.

    Raises:
        UsageError: Several processes were started, but the package that connects them is missing.
    """
    return not training_backend().is_leader


def follow(config: CompressConfig) -> None:
    """Join all training of the leader's ``compress``, which has the same configuration.

    Raises:
        AcgraphError: The data cannot be opened in this process.
    """
    training_backend().follow(lambda model: open_data(config, model).train)


def leading() -> AbstractContextManager[None]:
    """Context manager that ends the followers when ``compress`` ends, even by an error."""
    return training_backend().leading()
