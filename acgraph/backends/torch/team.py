"""The group of processes that train together, on one or several hosts; usually a single process.

The launcher of the processes (``accelerate launch``, ``torchrun``, or that of a cluster) sets their
number in the environment. Hugging Face Accelerate connects them.
"""

import atexit
import functools
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from acgraph.errors import UsageError

log = logging.getLogger(__name__)

#: Timeout of communication: processes wait for the leader while it searches between fits.
TIMEOUT = timedelta(days=7)


class Team:
    """A group with a single process, and the interface of larger groups.

    Attributes:
        rank: Rank of this process; the leader has rank 0.
        size: Number of processes.
    """

    rank = 0
    size = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process is the leader, which runs everything besides training."""
        return self.rank == 0

    def broadcast(self, what: object) -> Any:
        """Return the leader's object in all processes."""
        return what

    def gather(self, what: object) -> list[Any]:
        """Return the objects of all processes, by rank."""
        return [what]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes, in place."""


class _Connected(Team):
    """A group of several processes, connected by Accelerate."""

    def __init__(self, state: Any) -> None:
        from accelerate.utils import broadcast_object_list, gather_object, reduce

        self.rank, self.size = state.process_index, state.num_processes
        self._broadcast, self._gather, self._reduce = broadcast_object_list, gather_object, reduce

    def broadcast(self, what: object) -> Any:
        return self._broadcast([what], from_process=0)[0]

    def gather(self, what: object) -> list[Any]:
        return list(self._gather([what]))

    @torch.no_grad()
    def add_up(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        # One message for all tensors, because a network has hundreds of small ones.
        flat = self._reduce(torch.cat([t.reshape(-1).float() for t in tensors]), reduction="sum")
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.reshape(tensor.shape))


def stated_size(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of processes, from ``WORLD_SIZE``.

    Raises:
        UsageError: ``WORLD_SIZE`` is not a positive integer.
    """
    text = environment.get("WORLD_SIZE", "1")
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"WORLD_SIZE is {text!r}", hint="start with accelerate launch or torchrun")
    return int(text)


@functools.cache
def team() -> Team:
    """Connect this process to the others, once, and return the group.

    Raises:
        UsageError: There are several processes, but Accelerate is not installed.
    """
    size = stated_size()
    if size == 1:
        return Team()
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise UsageError(
            f"training in {size} processes requires accelerate, which is not installed",
            hint="pip install 'acgraph[distributed]'",
        ) from error
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=TIMEOUT)
    # Threads of gloo that still run after Python's shutdown would abort the process.
    atexit.register(_destroy_process_group)
    log.info("process %d of %d on %s", state.process_index, state.num_processes, state.device)
    return _Connected(state)


def _destroy_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
