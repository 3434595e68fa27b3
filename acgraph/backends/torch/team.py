"""The processes that train together, on one host or several; mostly a team of one.

Who started the processes (``accelerate launch``, ``torchrun``, a cluster's own launcher) has said
in the environment how many there are. Hugging Face Accelerate connects them.
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

#: Others wait this long for the leader, which searches and measures between fits.
PATIENCE = timedelta(days=7)


class Team:
    """This process, where it is alone.

    Attributes:
        rank: Number of this process; 0 leads.
        size: How many there are.
    """

    rank = 0
    size = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process reads, chooses, measures and writes."""
        return self.rank == 0

    def tell(self, what: object) -> Any:
        """Return what the leader tells everyone."""
        return what

    def hear(self, what: object) -> list[Any]:
        """Return what each process says, by rank."""
        return [what]

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes, in place."""


class _Connected(Team):
    """One of several processes."""

    def __init__(self, state: Any) -> None:
        from accelerate.utils import broadcast_object_list, gather_object, reduce

        self.rank, self.size = state.process_index, state.num_processes
        self._broadcast, self._gather, self._reduce = broadcast_object_list, gather_object, reduce

    def tell(self, what: object) -> Any:
        return self._broadcast([what], from_process=0)[0]

    def hear(self, what: object) -> list[Any]:
        return list(self._gather([what]))

    @torch.no_grad()
    def add(self, tensors: Sequence[Tensor]) -> None:
        if not tensors:
            return
        # One message for all: a network has hundreds of small tensors.
        flat = self._reduce(torch.cat([t.reshape(-1).float() for t in tensors]), reduction="sum")
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.reshape(tensor.shape))


def stated_size(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many processes the launcher says there are.

    Raises:
        UsageError: it is no number.
    """
    text = environment.get("WORLD_SIZE", "1")
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"WORLD_SIZE is {text!r}", hint="start with accelerate launch or torchrun")
    return int(text)


@functools.cache
def team() -> Team:
    """Connect this process to the others, once; alone where no launcher says otherwise.

    Raises:
        UsageError: several processes, but Accelerate is not installed.
    """
    size = stated_size()
    if size == 1:
        return Team()
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise UsageError(
            f"{size} processes are to train together, but accelerate is not installed",
            hint="pip install 'acgraph[distributed]'",
        ) from error
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    # Before Python is gone: threads of gloo that still run would abort the process at its end.
    atexit.register(_leave)
    log.info("process %d of %d on %s", state.process_index, state.num_processes, state.device)
    return _Connected(state)


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
