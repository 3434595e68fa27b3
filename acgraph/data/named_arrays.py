"""A dataset in memory with one array for each input."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from acgraph.data.batch import Array, Batch, take_along
from acgraph.data.dataset import Dataset, Indices, Labels
from acgraph.data.fingerprint import Fingerprint, digest_of, of_array
from acgraph.data.matching import InputValues


class NamedArraysDataset(Dataset):
    """Arrays for several inputs, or for one whose batch axis is not 0."""

    def __init__(
        self,
        values: Mapping[str, InputValues],
        count: int,
        dtypes: Mapping[str, npt.DTypeLike],
        labels: Labels | None = None,
        name: str = "<arrays>",
    ) -> None:
        """Store arrays.

        Args:
            values: The values of each input.
            count: The number of examples.
            dtypes: Element type of each input.
            labels: Labels ``[N, ...]``.
            name: Name of the data, for messages.
        """
        self._values = values
        self._count = count
        self._dtypes = {key: np.dtype(dtype) for key, dtype in dtypes.items()}
        self._labels = labels
        self._axes = {key: each.axis for key, each in values.items()}
        self.name = name

    @property
    def labels(self) -> Labels | None:
        """Labels of all examples."""
        return self._labels

    @cached_property
    def groups(self) -> Indices | None:
        """Group numbers: examples of a group have the same values of the shared inputs."""
        own = [v.values for v in self._values.values() if v.axis is None and not v.is_shared]
        if not own:
            return None
        rows = np.concatenate([values.reshape(self._count, -1) for values in own], axis=1)
        _, groups = np.unique(rows, axis=0, return_inverse=True)
        return groups.reshape(-1).astype(np.int64)

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: Indices) -> Batch:
        """Select examples."""
        inputs = {
            name: np.array(self._select(values, indices), self._dtypes[name])
            for name, values in self._values.items()
        }
        return Batch(inputs, None if self._labels is None else self._labels[indices], self._axes)

    @staticmethod
    def _select(each: InputValues, indices: Indices) -> Array:
        if each.axis is None:
            found: Array = each.values if each.is_shared else each.values[indices[0]]
            return found
        rows = np.zeros_like(indices) if each.is_shared else indices
        return take_along(each.values, each.axis, rows)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the stored arrays."""
        found = {
            name: of_array(_examples_first(each)) for name, each in sorted(self._values.items())
        }
        parts = [f"{name} {each.digest}" for name, each in found.items()]
        labels = b"" if self._labels is None else np.ascontiguousarray(self._labels).tobytes()
        notes = [each.note for each in found.values() if each.note]
        return Fingerprint(digest_of(*parts, labels), notes[0] if notes else "")


def _examples_first(each: InputValues) -> Array:
    axis = each.axis
    return np.atleast_1d(each.values if axis is None else np.moveaxis(each.values, axis, 0))
