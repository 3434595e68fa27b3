"""Gradient accumulation: split a batch into micro-batches that fit into memory."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.loader import Batch
from acgraph.backends.torch.losses import Mix
from acgraph.errors import BackendError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class MicroBatch:
    """The number of images that run at once; a trainer and its running fit share this object.

    Attributes:
        size: Largest number of images of a micro-batch; None does not split batches.
    """

    size: int | None = None

    def parts_of(self, count: int) -> list[slice]:
        """Split a number of images into micro-batches whose sizes differ by at most one.

        >>> MicroBatch(4).parts_of(10)
        [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
        """
        number = 1 if self.size is None else -(-count // self.size)
        small, larger = divmod(count, number)
        ends = [part * small + min(part, larger) for part in range(number + 1)]
        return [slice(start, end) for start, end in pairwise(ends)]

    def halve(self, count: int) -> None:
        """Halve the size, after a batch of ``count`` images did not fit into memory.

        Raises:
            BackendError: The size is already 1.
        """
        size = min(count, self.size or count)
        if size <= 1:
            raise BackendError(
                "a step on a single image does not fit into memory",
                hint="train on a device with more memory",
            )
        self.size = size // 2
        log.warning("out of memory with %d images at once: continuing with %d", size, self.size)


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs and labels on the device, after mixup if it is on.

    Attributes:
        x: Inputs of the network.
        y: Labels, if there are any.
        mix: The mixup, if it is on.
        batch: The batch that the examples were read from.
    """

    x: Inputs
    y: Tensor | None
    mix: Mix | None
    batch: Batch

    def cut(self, parts: list[slice]) -> Iterator["Examples"]:
        """Yield micro-batches, each with its share of the loss."""
        if len(parts) == 1:
            yield self
            return
        count = len(self.x)
        for rows in parts:
            size = rows.stop - rows.start
            batch = Batch(
                self.batch.examples.take(rows),
                self.batch.indices[rows],
                self.batch.share * size / count,
            )
            y = None if self.y is None else self.y[rows]
            mix = None if self.mix is None else self.mix.cut(rows)
            yield Examples(self.x[rows], y, mix, batch)


def can_run_out_of_memory(device: torch.device) -> bool:
    """Whether the device reports that it is out of memory; on a CPU the process is killed."""
    return device.type == "cuda"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error or one of its causes is an out-of-memory error of the device."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, torch.cuda.OutOfMemoryError):
            return True
        cause = cause.__cause__
    return False
