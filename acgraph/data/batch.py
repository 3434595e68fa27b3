"""Examples of a dataset as a network takes them: an array for each input, by its name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.errors import DataError

Array = npt.NDArray[Any]
#: Axis of the batch in an input; None where all examples of a batch share the value.
Axis = int | None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some examples.

    Attributes:
        inputs: The arrays by the names of the network's inputs, laid out as the network takes them.
        labels: Their labels, the examples along axis 0: class numbers ``int64 [n]`` mostly. None
            where there are none.
        axes: Which axis of an input the examples lie along, where that is not axis 0. None says
            that the whole batch shares the value, such as a sampling rate.
    """

    inputs: Mapping[str, Array]
    labels: Array | None = None
    axes: Mapping[str, Axis] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many examples there are; a value that is shared counts as one."""
        for name, value in self.inputs.items():
            axis = self.axis(name)
            if axis is not None:
                return int(value.shape[axis])
        return 1

    @property
    def x(self) -> Array:
        """The array of the first input, which is the only one of most networks."""
        return next(iter(self.inputs.values()))

    def axis(self, name: str) -> Axis:
        """Return which axis of an input the examples lie along; None where they share the value."""
        return self.axes.get(name, 0)

    def take(self, rows: slice | Sequence[int] | npt.NDArray[np.int64]) -> "Batch":
        """Return some of the examples, by their places in this batch."""
        inputs = {
            name: take_along(value, self.axis(name), rows) for name, value in self.inputs.items()
        }
        labels = None if self.labels is None else self.labels[rows]
        return Batch(inputs, labels, self.axes)

    def filled(self, count: int) -> "Batch":
        """Return a batch of so many examples, the last one repeated as often as it takes."""
        return self.take(np.minimum(np.arange(count), len(self) - 1))

    def with_inputs(self, inputs: Mapping[str, Array]) -> "Batch":
        """Return the same examples with other arrays."""
        return Batch(inputs, self.labels, self.axes)

    def named(self, names: Sequence[str]) -> Iterator[tuple[str, Array, Axis]]:
        """Yield, for every input of a network, its name, the array and its batch axis.

        The names do not matter where both the network and the examples have a single input.

        Args:
            names: Of the network's inputs, in order.

        Raises:
            DataError: there is no array for an input.
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
        """The bytes of all inputs."""
        return sum(value.nbytes for value in self.inputs.values())


def take_along(
    value: Array, axis: Axis, rows: slice | Sequence[int] | npt.NDArray[np.int64]
) -> Array:
    """Return the examples at some places of an axis; what they share is returned as it is."""
    if axis is None:
        return value
    found: Array = value[(slice(None),) * axis + (rows,)]
    return found


def array_of(value: Any) -> Array:
    """Take a value as an array; a tensor that belongs to a graph of gradients refuses to be."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)
