"""Datasets: numbered examples that are read in batches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from acgraph.data.batch import Array, Batch
from acgraph.data.fingerprint import LIMIT, Fingerprint, digest_of, of_array
from acgraph.data.pixels import Pixels
from acgraph.diagnostics import Location, counted
from acgraph.errors import DataError

#: Usually class numbers ``int64 [N]``; other tasks have numbers, maps or sequences ``[N, ...]``.
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
#: Layout of the network's image input; empty if the input is not an image.
Layout = Literal["NCHW", "NHWC", ""]
#: Largest number of examples, and of their bytes, that a fingerprint reads if a dataset can only
#: be read example by example.
SAMPLE = 1024
SAMPLE_BYTES = LIMIT // 8
_SAMPLE_BATCH = 32


class Dataset(ABC):
    """Numbered examples for a network.

    Attributes:
        name: The user's name of the data, for messages.
        layout: Layout of the images that :meth:`batch` returns. It is empty if they are not images,
            or if there are several inputs: these belong together and are not augmented.
        class_names: Names of the classes by number; empty if unknown.
    """

    name: str = "<data>"
    layout: Layout = ""
    class_names: tuple[str, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether examples are images, which may be cropped and flipped."""
        return bool(self.layout)

    @property
    @abstractmethod
    def labels(self) -> Labels | None:
        """Labels of all examples, usually class numbers ``[N]``; None if there are none."""

    @property
    def groups(self) -> Indices | None:
        """Group number of each example, ``int64 [N]``: a batch contains examples of one group.

        None if all examples can share a batch, because their sizes are equal.
        """
        return None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Indices) -> Batch:
        """Read examples in the network's own layout, and their labels.

        Args:
            indices: The numbers of the examples, ``int64 [n]``, all of one group.

        Returns:
            New arrays in the types of the network's inputs, by their names. If there is only one
            input, its name does not matter.
        """

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the number of examples, all labels, and a sample of the examples.

        A dataset that can be hashed completely without reading single examples overrides this.
        """
        total = len(self)
        first = first_example(self)
        affordable = max(1, SAMPLE_BYTES // max(1, first.nbytes))
        indices = spread_indices(total, min(SAMPLE, affordable))
        digests = [digest_of(str(total), _label_bytes(self.labels))]
        for part in cut_indices(self, indices, _SAMPLE_BATCH):
            inputs = self.batch(part).inputs.values()
            digests += [of_array(np.atleast_1d(value)).digest for value in inputs]
        note = ""
        if len(indices) < total:
            examples = counted(total, "example")
            note = f"only {len(indices)} of {examples} are compared when the run is resumed"
        return Fingerprint(digest_of(*digests), note)


def _label_bytes(labels: Labels | None) -> bytes:
    if labels is None:
        return b""
    kind = np.float32 if labels.dtype.kind == "f" else np.int64
    return np.ascontiguousarray(labels, kind).tobytes()


class ArrayDataset(Dataset):
    """Examples in memory; uint8 images are stored as uint8 and normalised in each batch."""

    def __init__(
        self,
        x: Array,
        labels: Labels | None = None,
        *,
        pixels: Pixels | None = None,
        layout: Layout = "",
        dtype: npt.DTypeLike = np.float32,
        name: str = "<arrays>",
        input_name: str = "x",
    ) -> None:
        """Store arrays.

        Args:
            x: The network's input ``[N, ...]``, or uint8 images ``[N, H, W, C]`` with ``pixels``.
            labels: Labels ``[N, ...]``.
            pixels: The normalisation of uint8 images.
            layout: Layout of the images that a batch returns; ignored with ``pixels``.
            dtype: Element type of the network's input.
            name: Name of the data, for messages.
            input_name: Name of the network's input.
        """
        self._x = x
        self._input = input_name
        self._labels = labels
        self._pixels = pixels
        self._dtype = np.dtype(dtype)
        self.layout = pixels.layout if pixels is not None else layout
        self.name = name

    @property
    def labels(self) -> Labels | None:
        """Labels of all examples."""
        return self._labels

    def __len__(self) -> int:
        return len(self._x)

    def batch(self, indices: Indices) -> Batch:
        """Select and normalise examples."""
        x = self._x[indices]
        if self._pixels is not None:
            x = self._pixels.apply(x)
        y = None if self._labels is None else self._labels[indices]
        return Batch({self._input: x.astype(self._dtype, copy=False)}, y)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the stored arrays and of the normalisation."""
        found = of_array(self._x)
        made = f"{self._pixels} {self._dtype.str} {self.layout}"
        return Fingerprint(digest_of(found.digest, made, _label_bytes(self._labels)), found.note)


class Subset(Dataset):
    """Some examples of another dataset, in a given order."""

    def __init__(self, dataset: Dataset, indices: Indices) -> None:
        """Select examples.

        Args:
            dataset: The other dataset.
            indices: Numbers of its examples, ``int64 [n]``.
        """
        self._dataset = dataset
        self._indices = np.asarray(indices, np.int64)
        self.name = dataset.name
        self.layout = dataset.layout
        self.class_names = dataset.class_names

    @property
    def labels(self) -> Labels | None:
        """Labels of all examples."""
        labels = self._dataset.labels
        return None if labels is None else labels[self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def groups(self) -> Indices | None:
        """Group numbers of the other dataset."""
        groups = self._dataset.groups
        return None if groups is None else groups[self._indices]

    def batch(self, indices: Indices) -> Batch:
        """Read examples from the other dataset."""
        return self._dataset.batch(self._indices[indices])

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the other dataset and of the indices."""
        whole = self._dataset.fingerprint
        return Fingerprint(digest_of(whole.digest, self._indices.tobytes()), whole.note)


class Unlabelled(Subset):
    """Some examples of another dataset without their labels."""

    @property
    def labels(self) -> Labels | None:
        """None: labels are dropped."""
        return None

    def batch(self, indices: Indices) -> Batch:
        """Read examples without labels."""
        found = super().batch(indices)
        return Batch(found.inputs, None, found.axes)


def split(
    dataset: Dataset, first: int | float, second: int | float, *, seed: int = 0
) -> tuple[Subset, Subset]:
    """Split off two disjoint random parts of a dataset.

    Args:
        dataset: The dataset.
        first: Size of the first part: a count (int), or a share of the dataset (float in (0, 1)).
        second: Size of the second part, likewise.
        seed: Seed of the random split.

    Raises:
        DataError: A part would be empty, or both together exceed the dataset.
    """
    total = len(dataset)
    sizes = [round(p * total) if isinstance(p, float) else p for p in (first, second)]
    if min(sizes) < 1 or sum(sizes) > total:
        raise DataError(
            f"{total} examples cannot be split into parts of {first} and {second}",
            location=Location(model=dataset.name),
            hint="give counts or shares that leave at least one example in each part",
        )
    order = np.random.default_rng(seed).permutation(total).astype(np.int64)
    return (
        Subset(dataset, order[: sizes[0]]),
        Subset(dataset, order[sizes[0] : sizes[0] + sizes[1]]),
    )


def spread_indices(total: int, limit: int | None = None) -> Indices:
    """Return the indices of at most ``limit`` of ``total`` examples, evenly spaced.

    The first ``limit`` examples of data that is sorted by class could all be of one class.

    >>> spread_indices(10, 4).tolist()
    [0, 2, 5, 7]
    """
    if limit is None or limit >= total:
        return np.arange(total, dtype=np.int64)
    return np.arange(limit, dtype=np.int64) * total // limit


def cut_indices(dataset: Dataset, indices: Indices, batch_size: int) -> Iterator[Indices]:
    """Divide indices of examples into batches, each of one group of the dataset.

    Args:
        dataset: The dataset.
        indices: Indices of examples, ``int64 [n]``.
        batch_size: Largest number of examples of a batch.
    """
    groups = dataset.groups
    parts = [indices]
    if groups is not None:
        mine = groups[indices]
        _, first = np.unique(mine, return_index=True)
        parts = [indices[mine == mine[place]] for place in np.sort(first)]
    for part in parts:
        for start in range(0, len(part), batch_size):
            yield part[start : start + batch_size]


def batch_reader(dataset: Dataset, batch_size: int) -> tuple[Callable[[int], Batch], int]:
    """Return a function that reads a batch by its number, and the number of batches.

    Args:
        dataset: The dataset.
        batch_size: Largest number of examples of a batch.
    """
    parts = list(cut_indices(dataset, np.arange(len(dataset), dtype=np.int64), batch_size))
    return (lambda number: dataset.batch(parts[number])), len(parts)


def iterate_batches(dataset: Dataset, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """Read all examples, or ``limit`` evenly spaced ones, group by group.

    Args:
        dataset: The dataset.
        batch_size: Largest number of examples of a batch.
        limit: Largest number of examples; None reads all.
    """
    indices = spread_indices(len(dataset), limit)
    return map(dataset.batch, cut_indices(dataset, indices, batch_size))


def first_example(dataset: Dataset) -> Batch:
    """Read the first example of a dataset."""
    return dataset.batch(np.zeros(1, np.int64))
