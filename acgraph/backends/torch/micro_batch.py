"""A batch in parts that fit into memory; the gradients of the parts are added up."""

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
    """How many images run at once; shared by a trainer and its fit under way.

    Attributes:
        size: The most images of a part; None where batches stay whole.
    """

    size: int | None = None

    def parts_of(self, count: int) -> list[slice]:
        """Cut so many images into parts whose sizes differ by at most one.

        >>> MicroBatch(4).parts_of(10)
        [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
        """
        number = 1 if self.size is None else -(-count // self.size)
        small, larger = divmod(count, number)
        ends = [part * small + min(part, larger) for part in range(number + 1)]
        return [slice(start, end) for start, end in pairwise(ends)]

    def halve(self, count: int) -> None:
        """Make parts of half the size, after one of ``count`` images did not fit into memory.

        Raises:
            BackendError: it was a single image.
        """
        size = min(count, self.size or count)
        if size <= 1:
            raise BackendError(
                "a step on a single image does not fit into memory",
                hint="train on a device with more memory",
            )
        self.size = size // 2
        log.warning("out of memory with %d images at once: going on with %d", size, self.size)


@dataclass(frozen=True, slots=True)
class Examples:
    """Images and labels on the device, mixed where they are to be.

    Attributes:
        x: The inputs of the network.
        y: Labels, where there are any.
        mix: How they were mixed.
        batch: Where they come from.
    """

    x: Inputs
    y: Tensor | None
    mix: Mix | None
    batch: Batch

    def cut(self, parts: list[slice]) -> Iterator["Examples"]:
        """Yield parts, whose shares are those of their images."""
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
    """Tell whether a device that has no memory left says so; on the CPU the system ends us."""
    return device.type == "cuda"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, is that a device has no memory left."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, torch.cuda.OutOfMemoryError):
            return True
        cause = cause.__cause__
    return False
