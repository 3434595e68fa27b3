"""A batch of examples: an array for each input of a network, by its name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.errors import DataError

Array = npt.NDArray[Any]
#: Batch axis of an input; None if all examples of a batch share one value.
Axis = int | None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A batch of examples.

    Attributes:
        inputs: Arrays by the names of the network's inputs, in the network's own layout.
        labels: Labels ``[n, ...]``, usually class numbers ``int64 [n]``; None if there are none.
        axes: Batch axis of each input for which it is not 0; None if the whole batch shares one
            value, such as a sampling rate.
    """

    inputs: Mapping[str, Array]
    labels: Array | None = None
    axes: Mapping[str, Axis] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of examples; 1 if all inputs are shared."""
        for name, value in self.inputs.items():
            axis = self.axis(name)
            if axis is not None:
                return int(value.shape[axis])
        return 1

    @property
    def x(self) -> Array:
        """The array of the first input; most networks have only one."""
        return next(iter(self.inputs.values()))

    def axis(self, name: str) -> Axis:
        """Return the batch axis of an input; None if the batch shares one value."""
        return self.axes.get(name, 0)

    def take(self, rows: slice | Sequence[int] | npt.NDArray[np.int64]) -> "Batch":
        """Return some of the examples.

        Args:
            rows: Their indices in this batch.
        """
        inputs = {
            name: take_along(value, self.axis(name), rows) for name, value in self.inputs.items()
        }
        labels = None if self.labels is None else self.labels[rows]
        return Batch(inputs, labels, self.axes)

    def filled(self, count: int) -> "Batch":
        """Return a batch of ``count`` examples, padded by repeating the last one."""
        return self.take(np.minimum(np.arange(count), len(self) - 1))

    def with_inputs(self, inputs: Mapping[str, Array]) -> "Batch":
        """Return the same examples with other arrays."""
        return Batch(inputs, self.labels, self.axes)

    def named(self, names: Sequence[str]) -> Iterator[tuple[str, Array, Axis]]:
        """Yield the name, the array and the batch axis of each input of a network.

        If both the network and the examples have a single input, their names may differ.

        Args:
            names: Names of the network's inputs, in order.

        Raises:
            DataError: There is no array for an input.
        """
        if len(names) == len(self.inputs) == 1:
            ((own, value),) = self.inputs.items()
            yield names[0], value, self.axis(own)
            return
        for name in names:
            if name not in self.inputs:
                raise DataError(
                    f"the examples have no array for input '{name}', only for "
                    f"{', '.join(self.inputs)}",
                    hint="give an array for each input of the model",
                )
            yield name, self.inputs[name], self.axis(name)

    @property
    def nbytes(self) -> int:
        """Size of all inputs in bytes."""
        return sum(value.nbytes for value in self.inputs.values())


def take_along(
    value: Array, axis: Axis, rows: slice | Sequence[int] | npt.NDArray[np.int64]
) -> Array:
    """Select examples along the batch axis; a shared value (``axis`` None) is returned as it is."""
    if axis is None:
        return value
    found: Array = value[(slice(None),) * axis + (rows,)]
    return found


def array_of(value: Any) -> Array:
    """Convert a value to an array; PyTorch tensors are detached and copied to the CPU."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)
