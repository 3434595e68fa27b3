"""Examples of several inputs, held as one array for each."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from acgraph.data.batch import Array, Batch, take_along
from acgraph.data.dataset import Dataset, Indices, Labels
from acgraph.data.fingerprint import Fingerprint, digest_of, of_array
from acgraph.data.matching import Column


class NamedDataset(Dataset):
    """Examples of several inputs, or of one whose examples do not lie along axis 0."""

    def __init__(
        self,
        columns: Mapping[str, Column],
        count: int,
        dtypes: Mapping[str, npt.DTypeLike],
        labels: Labels | None = None,
        name: str = "<arrays>",
    ) -> None:
        """Hold arrays.

        Args:
            columns: The values of each input.
            count: How many examples there are.
            dtypes: Element type of each input.
            labels: One for each example.
            name: For messages.
        """
        self._columns = columns
        self._count = count
        self._dtypes = {key: np.dtype(dtype) for key, dtype in dtypes.items()}
        self._labels = labels
        self._axes = {key: column.axis for key, column in columns.items()}
        self.name = name

    @property
    def labels(self) -> Labels | None:
        """The label of every example."""
        return self._labels

    @cached_property
    def groups(self) -> Indices | None:
        """Examples fit together where they have the same of what a whole batch shares."""
        own = [c.values for c in self._columns.values() if c.axis is None and not c.is_shared]
        if not own:
            return None
        rows = np.concatenate([values.reshape(self._count, -1) for values in own], axis=1)
        _, groups = np.unique(rows, axis=0, return_inverse=True)
        return groups.reshape(-1).astype(np.int64)

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: Indices) -> Batch:
        """Gather the examples."""
        inputs = {
            name: np.array(self._taken(column, indices), self._dtypes[name])
            for name, column in self._columns.items()
        }
        return Batch(inputs, None if self._labels is None else self._labels[indices], self._axes)

    @staticmethod
    def _taken(column: Column, indices: Indices) -> Array:
        if column.axis is None:
            found: Array = column.values if column.is_shared else column.values[indices[0]]
            return found
        rows = np.zeros_like(indices) if column.is_shared else indices
        return take_along(column.values, column.axis, rows)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the arrays as they are held."""
        found = {
            name: of_array(_rows_first(column)) for name, column in sorted(self._columns.items())
        }
        parts = [f"{name} {each.digest}" for name, each in found.items()]
        labels = b"" if self._labels is None else np.ascontiguousarray(self._labels).tobytes()
        notes = [each.note for each in found.values() if each.note]
        return Fingerprint(digest_of(*parts, labels), notes[0] if notes else "")


def _rows_first(column: Column) -> Array:
    axis = column.axis
    return np.atleast_1d(column.values if axis is None else np.moveaxis(column.values, axis, 0))
