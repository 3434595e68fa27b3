"""What a process does that another one leads: train when told to, and nothing else."""

from contextlib import AbstractContextManager

from acgraph.backends.select import training_backend
from acgraph.config import CompressConfig
from acgraph.driver.inputs.data import open_data


def is_follower() -> bool:
    """Whether another process leads; loads torch.

    Raises:
        UsageError: several processes were started, but what connects them is not installed.
    """
    return not training_backend().is_leader


def follow(config: CompressConfig) -> None:
    """Join every fit of the leader's ``compress``, which has the same configuration.

    Raises:
        AcgraphError: the data cannot be opened here.
    """
    training_backend().follow(lambda model: open_data(config, model).train)


def leading() -> AbstractContextManager[None]:
    """Dismiss the followers when ``compress`` ends, however it ends."""
    return training_backend().leading()
