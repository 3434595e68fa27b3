"""Datasets of samples that are read one by one, and whose sizes may differ."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from acgraph.data import checks
from acgraph.data.batch import Array, Batch, array_of
from acgraph.data.checks import InputSpec
from acgraph.data.dataset import Dataset, Indices, Labels
from acgraph.data.files import SUFFIXES, read_arrays
from acgraph.data.fingerprint import Fingerprint, digest_of, of_array, of_files
from acgraph.data.matching import check_kind, check_names, describe, label_name
from acgraph.diagnostics import Location
from acgraph.errors import DataError

#: A sample: an array for each input, and its label if there is one.
Sample = Mapping[str, Array]


class Source(Protocol):
    """A source of samples: files or memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Sample:
        """Read a sample."""
        ...

    def location(self, number: int) -> Location:
        """Return the location of a sample, for messages."""
        ...

    def fingerprint(self) -> Fingerprint:
        """Hash all samples."""
        ...


class FileSource:
    """A folder of files, each of which is a sample."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        """Store the paths.

        Args:
            folder: The folder.
            files: Its files of arrays.
        """
        self._folder, self._files = folder, files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Sample:
        """Read a file."""
        return read_arrays(self._files[number])

    def location(self, number: int) -> Location:
        """Return the path of the file."""
        return Location(model=str(self._files[number]))

    def fingerprint(self) -> Fingerprint:
        """Hash the files."""
        return of_files(self._files, self._folder)


class MemorySource:
    """Samples in memory."""

    def __init__(self, samples: Sequence[Sample], where: Location) -> None:
        """Store samples.

        Args:
            samples: The samples.
            where: The location of the data.
        """
        self._samples, self._where = samples, where

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int) -> Sample:
        """Return a sample."""
        return self._samples[number]

    def location(self, number: int) -> Location:
        """Return the name of the data and the number of the sample."""
        return Location(model=f"{self._where.model}, example {number}")

    def fingerprint(self) -> Fingerprint:
        """Hash all arrays."""
        parts = [
            f"{name} {of_array(np.atleast_1d(sample[name])).digest}"
            for sample in self._samples
            for name in sorted(sample)
        ]
        return Fingerprint(digest_of(*parts))


def sample_files(folder: Path) -> list[Path]:
    """Return the files of arrays in a folder, in the order of their names."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())


class SamplesDataset(Dataset):
    """Samples whose sizes may differ; a batch contains samples of equal sizes."""

    def __init__(self, source: Source, targets: Sequence[InputSpec], name: str) -> None:
        """Read and check each sample once.

        Args:
            source: The source of the samples.
            targets: The inputs of the network.
            name: Name of the data, for messages.

        Raises:
            DataError: A sample does not fit the network, or only some samples have labels.
        """
        self.name = name
        self._source, self._targets = source, targets
        self._axes = {target.name: target.axis for target in targets}
        self._label = label_name(targets)
        keys: dict[tuple[object, ...], int] = {}
        groups: list[int] = []
        labels: list[Array] = []
        for number in range(len(source)):
            sample = source[number]
            check_names(sample, targets, source.location(number))
            inputs = self._inputs(sample, number)
            groups.append(keys.setdefault(_key(inputs, targets), len(keys)))
            if self._label in sample:
                labels.append(np.asarray(sample[self._label]))
        where = Location(model=name)
        checks.check_count(len(groups), where)
        if labels and len(labels) != len(groups):
            raise DataError(
                f"has labels for only {len(labels)} of {len(groups)} examples",
                location=where,
                hint="give a label for each of them, or for none",
            )
        self._groups = np.asarray(groups, np.int64) if len(keys) > 1 else None
        self._labels = None
        if labels:
            if len({label.shape for label in labels}) > 1:
                raise DataError(
                    "labels have different shapes",
                    location=where,
                    hint="convert the labels to one shape",
                )
            self._labels = checks.check_labels(np.stack(labels), len(groups), None, where)

    @property
    def labels(self) -> Labels | None:
        """Labels of all samples."""
        return self._labels

    @property
    def groups(self) -> Indices | None:
        """Group numbers: samples of a group have equal sizes and equal shared values."""
        return self._groups

    def __len__(self) -> int:
        return len(self._source)

    def batch(self, indices: Indices) -> Batch:
        """Read and concatenate samples."""
        read = [self._inputs(self._source[int(i)], int(i)) for i in indices]
        inputs = {
            target.name: read[0][target.name].copy()
            if target.axis is None
            else np.concatenate([each[target.name] for each in read], axis=target.axis)
            for target in self._targets
        }
        return Batch(inputs, None if self._labels is None else self._labels[indices], self._axes)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of all samples."""
        return self._source.fingerprint()

    def _inputs(self, sample: Sample, number: int) -> dict[str, Array]:
        """Return the inputs of a sample as a batch of one, in the network's types."""
        where = self._source.location(number)
        return {t.name: as_input(np.asarray(sample[t.name]), t, where) for t in self._targets}


def as_input(value: Array, target: InputSpec, where: Location) -> Array:
    """Convert the value of an input to a batch of one example.

    Args:
        value: The value, with a batch axis of size 1 or without a batch axis.
        target: The input.
        where: The location that messages name.

    Raises:
        DataError: It has another shape or type, or is not finite.
    """
    rank, axis = len(target.shape), target.axis
    dtype = np.dtype(target.dtype)
    check_kind(value, dtype, f"'{target.name}'", where)
    if axis is not None and value.ndim == rank - 1:
        value = np.expand_dims(value, axis)
    elif axis is None and value.size == 1 and value.ndim != rank:
        value = value.reshape((1,) * rank)
    is_one = axis is None or (value.ndim == rank and value.shape[axis] == 1)
    sizes = zip(value.shape, target.shape, strict=False)
    if (
        value.ndim != rank
        or not is_one
        or any(
            i != axis and checks.is_fixed(want) and have != want
            for i, (have, want) in enumerate(sizes)
        )
    ):
        raise DataError(
            f"'{target.name}' has shape {list(value.shape)} for one example, but the model "
            f"takes {describe(target)}",
            location=where,
            hint="give one example, with a batch dimension of 1 or without a batch dimension",
        )
    checks.check_finite(np.atleast_1d(value), where)
    return value.astype(dtype, copy=False)


def _key(inputs: Mapping[str, Array], targets: Sequence[InputSpec]) -> tuple[object, ...]:
    """Return the sizes and the shared values of a sample, which are equal within a batch."""
    return tuple(
        (inputs[t.name].shape, inputs[t.name].tobytes() if t.axis is None else b"") for t in targets
    )


def split_items(
    items: Iterable[object], targets: Sequence[InputSpec], where: Location
) -> Iterator[Sample]:
    """Yield the samples of items, each of which is one example or a batch.

    Args:
        items: Dictionaries by the names of the inputs, or tuples in the order of the inputs, whose
            last entry may be the label.
        targets: The inputs.
        where: The location that messages name.

    Raises:
        DataError: An item has another form.
    """
    for number, item in enumerate(items):
        yield from _examples_of(_named(item, targets, number, where), targets)


def _named(
    item: object, targets: Sequence[InputSpec], number: int, where: Location
) -> dict[str, Array]:
    if isinstance(item, Mapping):
        return {str(name): array_of(value) for name, value in item.items()}
    parts = list(item) if isinstance(item, tuple | list) else [item]
    if len(parts) == 2 and len(targets) > 1 and isinstance(parts[0], tuple | list):
        parts = [*parts[0], parts[1]]  # ((first, second), label)
    elif parts and isinstance(parts[0], Mapping) and len(parts) == 2:
        return {**_named(parts[0], targets, number, where), label_name(targets): array_of(parts[1])}
    names = [*(target.name for target in targets), label_name(targets)]
    if len(parts) not in (len(targets), len(targets) + 1):
        raise DataError(
            f"item {number} has {len(parts)} parts, but the model has {len(targets)} inputs: "
            f"{', '.join(describe(target) for target in targets)}",
            location=where,
            hint="yield dictionaries with the names of the inputs as keys, or tuples in the order "
            "of the inputs",
        )
    return {name: array_of(part) for name, part in zip(names, parts, strict=False)}


def _examples_of(found: dict[str, Array], targets: Sequence[InputSpec]) -> Iterator[Sample]:
    """Split a batch into its examples; a single example is not changed."""
    count = next((_batch_size(found[t.name], t) for t in targets if t.name in found
                  if t.axis is not None), None)  # fmt: skip
    if count is None:
        yield found
        return
    axes = {t.name: t.axis for t in targets}
    for row in range(count):
        one: dict[str, Array] = {}
        for name, value in found.items():
            axis = axes.get(name, 0)
            is_batched = axis is not None and value.ndim > axis and value.shape[axis] == count
            rows = [row] if name in axes else row  # a single label has no batch axis
            one[name] = value.take(rows, axis=axis) if is_batched else value
        yield one


def _batch_size(value: Array, target: InputSpec) -> int | None:
    is_batch = target.axis is not None and value.ndim == len(target.shape)
    return value.shape[target.axis or 0] if is_batch else None
