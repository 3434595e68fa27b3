"""What training and measuring see of the data: numbered examples, read a batch at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from acgraph.data.batch import Array, Batch
from acgraph.data.fingerprint import LIMIT, Fingerprint, digest_of, of_array
from acgraph.data.pixels import Pixels
from acgraph.diagnostics import Location, counted
from acgraph.errors import DataError

#: Class numbers ``int64 [N]`` mostly; other tasks have numbers, maps or sequences ``[N, ...]``.
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
#: How the network's input is laid out; empty where it is not an image.
Layout = Literal["NCHW", "NHWC", ""]
#: Examples, and bytes of them, that are hashed of a dataset whose examples are made on demand.
SAMPLE = 1024
SAMPLE_BYTES = LIMIT // 8
_SAMPLE_BATCH = 32


class Dataset(ABC):
    """Numbered examples of the inputs of a network.

    Attributes:
        name: What the user called the data, for messages.
        layout: Layout of the images that :meth:`batch` returns; empty where they are no images, or
            where there are several inputs, which belong together and so are not augmented.
        class_names: Names of the classes by number, where the data has them.
    """

    name: str = "<data>"
    layout: Layout = ""
    class_names: tuple[str, ...] = ()

    @property
    def is_image(self) -> bool:
        """True where examples are pictures, which may be cropped and mirrored."""
        return bool(self.layout)

    @property
    @abstractmethod
    def labels(self) -> Labels | None:
        """Class number of every example ``[N]``, or None where there are none."""

    @property
    def groups(self) -> Indices | None:
        """Which examples fit into one batch: those of one number, ``int64 [N]``.

        None where all do, because their sizes are the same.
        """
        return None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Indices) -> Batch:
        """Return examples exactly as the network takes them, and their labels.

        Args:
            indices: Which examples, ``int64 [n]``, all of one group.

        Returns:
            New arrays in the types of the network's inputs, by their names. A dataset of a single
            input may call it as it likes.
        """

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the number of examples, all labels, and a large sample of the examples.

        A dataset that can be hashed whole without reading it example by example overrides this.
        """
        total = len(self)
        first = first_example(self)
        most = max(1, SAMPLE_BYTES // max(1, first.nbytes))
        indices = spread_indices(total, min(SAMPLE, most))
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
    """Examples held in memory; uint8 images stay uint8 and are normalised batch by batch."""

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
        """Hold arrays.

        Args:
            x: What the network takes, or uint8 ``[N, H, W, C]`` together with ``pixels``.
            labels: ``int64 [N]``.
            pixels: How uint8 images become the network's input.
            layout: Layout of the images a batch returns; that of ``pixels`` where it is given.
            dtype: Element type of the network's input.
            name: For messages.
            input_name: Of the network's input.
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
        """Class number of every example."""
        return self._labels

    def __len__(self) -> int:
        return len(self._x)

    def batch(self, indices: Indices) -> Batch:
        """Gather and normalise."""
        x = self._x[indices]
        if self._pixels is not None:
            x = self._pixels.apply(x)
        y = None if self._labels is None else self._labels[indices]
        return Batch({self._input: x.astype(self._dtype, copy=False)}, y)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the arrays as they are held, and of what is made of their pixels."""
        found = of_array(self._x)
        made = f"{self._pixels} {self._dtype.str} {self.layout}"
        return Fingerprint(digest_of(found.digest, made, _label_bytes(self._labels)), found.note)


class Subset(Dataset):
    """Some examples of another dataset, in a given order."""

    def __init__(self, dataset: Dataset, indices: Indices) -> None:
        self._dataset = dataset
        self._indices = np.asarray(indices, np.int64)
        self.name = dataset.name
        self.layout = dataset.layout
        self.class_names = dataset.class_names

    @property
    def labels(self) -> Labels | None:
        """Class number of every example."""
        labels = self._dataset.labels
        return None if labels is None else labels[self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def groups(self) -> Indices | None:
        """Those of the dataset underneath."""
        groups = self._dataset.groups
        return None if groups is None else groups[self._indices]

    def batch(self, indices: Indices) -> Batch:
        """Read from the dataset underneath."""
        return self._dataset.batch(self._indices[indices])

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the dataset underneath, and of which examples of it these are."""
        whole = self._dataset.fingerprint
        return Fingerprint(digest_of(whole.digest, self._indices.tobytes()), whole.note)


def split(
    dataset: Dataset, first: int | float, second: int | float, *, seed: int = 0
) -> tuple[Subset, Subset]:
    """Draw two disjoint random parts.

    Args:
        dataset: What to split.
        first: Size of the first part: a count (int), or a share of the whole (float in (0, 1)).
        second: Size of the second part, likewise.
        seed: The draw; the same seed gives the same parts.

    Raises:
        DataError: a part would be empty, or both together exceed the dataset.
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
    """Number up to ``limit`` of ``total`` examples, evenly spaced.

    Data sorted by class stays balanced this way; its first examples would be one class.

    >>> spread_indices(10, 4).tolist()
    [0, 2, 5, 7]
    """
    if limit is None or limit >= total:
        return np.arange(total, dtype=np.int64)
    return np.arange(limit, dtype=np.int64) * total // limit


def cut_indices(dataset: Dataset, indices: Indices, batch_size: int) -> Iterator[Indices]:
    """Cut numbers of examples into batches whose examples fit together, in order.

    Args:
        dataset: What they are examples of.
        indices: The numbers.
        batch_size: The most examples of a batch.
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


def iterate_batches(dataset: Dataset, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """Read all examples, or ``limit`` evenly spaced ones, in order.

    Where examples have different sizes, those of one size follow each other.
    """
    indices = spread_indices(len(dataset), limit)
    return map(dataset.batch, cut_indices(dataset, indices, batch_size))


def first_example(dataset: Dataset) -> Batch:
    """Read the first example of a dataset, which shows what all are like."""
    return dataset.batch(np.zeros(1, np.int64))
