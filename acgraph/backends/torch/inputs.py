"""The inputs of a network for a batch of examples, as tensors in graph order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from acgraph.data import Array, Axis, Batch


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The inputs of a network, with their batch axes.

    Attributes:
        tensors: One tensor per input, in graph order.
        axes: Batch axis of each tensor; None if all examples share its value.
    """

    tensors: tuple[Tensor, ...]
    axes: tuple[Axis, ...]

    @classmethod
    def single(cls, x: Tensor) -> "Inputs":
        """Make the inputs of a network with one input, whose batch axis is 0."""
        return cls((x,), (0 if x.ndim else None,))

    @classmethod
    def of(cls, batch: Batch, names: Sequence[str], device: torch.device) -> "Inputs":
        """Copy the arrays of a batch to tensors on a device.

        Args:
            batch: The examples.
            names: Names of the inputs, in graph order.
            device: Device of the tensors.

        Raises:
            DataError: The batch has no array for an input.
        """
        found = list(batch.named(names))
        tensors = tuple(tensor_of(value).to(device) for _, value, _ in found)
        return cls(tensors, tuple(axis for _, _, axis in found))

    def __len__(self) -> int:
        """Return the number of examples; 1 if no tensor has a batch axis."""
        for tensor, axis in zip(self.tensors, self.axes, strict=True):
            if axis is not None:
                return tensor.shape[axis]
        return 1

    def __getitem__(self, rows: slice | Tensor) -> "Inputs":
        """Select examples."""
        return self.mapped(lambda tensor, axis: take(tensor, axis, rows))

    def mapped(self, change: Callable[[Tensor, Axis], Tensor]) -> "Inputs":
        """Apply a function of a tensor and its batch axis to each tensor."""
        pairs = zip(self.tensors, self.axes, strict=True)
        return Inputs(tuple(change(tensor, axis) for tensor, axis in pairs), self.axes)

    def example_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shape of each tensor without its batch axis."""
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
        """Device of the tensors."""
        return self.first.device

    @property
    def is_cuda(self) -> bool:
        """Whether the tensors are on a GPU."""
        return bool(self.first.is_cuda)

    @property
    def has_images(self) -> bool:
        """Whether a tensor has four axes, so that its memory layout can be chosen."""
        return any(tensor.ndim == 4 for tensor in self.tensors)


def take(tensor: Tensor, axis: Axis, rows: slice | Tensor) -> Tensor:
    """Select rows along the batch axis; a tensor without one is returned unchanged."""
    if axis is None:
        return tensor
    return tensor[(slice(None),) * axis + (rows,)]


def tensor_of(array: Array) -> Tensor:
    """Convert an array to a tensor, without a copy if it is contiguous."""
    # ascontiguousarray turns a scalar into an array with one axis
    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
