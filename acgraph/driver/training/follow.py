"""What a process does that another one leads: train when told to, and nothing else."""

from contextlib import AbstractContextManager

from acgraph.backends.torch import follow as backend
from acgraph.backends.torch.team import team
from acgraph.config import CompressConfig
from acgraph.driver.inputs.data import open_data


def is_follower() -> bool:
    """Whether another process leads; loads torch.

    Raises:
        UsageError: several processes were started, but what connects them is not installed.
    """
    return not team().is_leader


def follow(config: CompressConfig) -> None:
    """Join every fit of the leader's ``compress``, which has the same configuration.

    Raises:
        AcgraphError: the data cannot be opened here.
    """
    backend.follow(lambda model: open_data(config, model).train)


def leading() -> AbstractContextManager[None]:
    """Dismiss the followers when ``compress`` ends, however it ends."""
    return backend.leading()
