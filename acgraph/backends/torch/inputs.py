"""The inputs of a network for some examples, as tensors in the order of the graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acgraph.data import Array, Axis, Batch


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What a network runs on.

    Attributes:
        tensors: One for each input, in the order of the graph.
        axes: The axis of each along which the examples lie; None where they share the value.
    """

    tensors: tuple[Tensor, ...]
    axes: tuple[Axis, ...]

    @classmethod
    def single(cls, x: Tensor) -> "Inputs":
        """Take the tensor of the only input, the examples along axis 0."""
        return cls((x,), (0 if x.ndim else None,))

    @classmethod
    def of(cls, batch: Batch, names: Sequence[str], device: torch.device) -> "Inputs":
        """Put examples on a device.

        Args:
            batch: The examples.
            names: Of the inputs, in the order of the graph.
            device: Where they go.

        Raises:
            DataError: there is no array for an input.
        """
        found = list(batch.named(names))
        tensors = tuple(tensor_of(value).to(device) for _, value, _ in found)
        return cls(tensors, tuple(axis for _, _, axis in found))

    def __len__(self) -> int:
        """Return how many examples there are; what all share counts as one."""
        for tensor, axis in zip(self.tensors, self.axes, strict=True):
            if axis is not None:
                return tensor.shape[axis]
        return 1

    def __getitem__(self, rows: slice | Tensor) -> "Inputs":
        """Return some of the examples."""
        return self.mapped(lambda tensor, axis: take(tensor, axis, rows))

    def mapped(self, change: Callable[[Tensor, Axis], Tensor]) -> "Inputs":
        """Change each tensor, which is given with its batch axis."""
        pairs = zip(self.tensors, self.axes, strict=True)
        return Inputs(tuple(change(tensor, axis) for tensor, axis in pairs), self.axes)

    def example_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the sizes of each tensor, without the number of examples."""
        return tuple(
            tuple(size for i, size in enumerate(tensor.shape) if i != axis)
            for tensor, axis in zip(self.tensors, self.axes, strict=True)
        )

    @property
    def first(self) -> Tensor:
        """The tensor of the first input."""
        return self.tensors[0]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.first.device

    @property
    def is_cuda(self) -> bool:
        """Whether they are on a GPU."""
        return bool(self.first.is_cuda)

    @property
    def has_images(self) -> bool:
        """Whether a tensor may hold images, whose memory layout can be chosen."""
        return any(tensor.ndim == 4 for tensor in self.tensors)


def take(tensor: Tensor, axis: Axis, rows: slice | Tensor) -> Tensor:
    """Return the examples at some places of an axis; what they share is returned as it is."""
    if axis is None:
        return tensor
    return tensor[(slice(None),) * axis + (rows,)]


def tensor_of(array: Array) -> Tensor:
    """Take an array as a tensor, without a copy where its memory is contiguous."""
    # ascontiguousarray makes an axis of a single number
    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
