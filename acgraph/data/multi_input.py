"""Open data for a network with several inputs: an array for each, by its name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.data import checks
from acgraph.data.batch import Array, array_of
from acgraph.data.callables import call_spec, is_callable_spec
from acgraph.data.checks import InputSpec
from acgraph.data.dataset import Dataset, Subset, first_example
from acgraph.data.files import is_array_file, read_arrays
from acgraph.data.generated import GeneratedDataset, is_generated_spec
from acgraph.data.in_memory import is_array, is_registered, items_of, registered_value
from acgraph.data.matching import (
    PIXEL_NAMES,
    check_kind,
    check_names,
    describe,
    label_name,
    match_arrays,
)
from acgraph.data.named_arrays import NamedArraysDataset
from acgraph.data.preprocessing import Preprocessing
from acgraph.data.samples import (
    FileSource,
    MemorySource,
    Sample,
    SamplesDataset,
    sample_files,
    split_items,
)
from acgraph.data.selection import whole_slice
from acgraph.diagnostics import Location
from acgraph.errors import DataError


def load_multi_input(
    spec: str,
    stated: Sequence[Preprocessing],
    size: int | tuple[int, int] | None,
    classes: int | None,
) -> Dataset:
    """Open data for a network with several inputs, or with one whose batch axis is not 0.

    Args:
        spec: The data, as for ``load_dataset``.
        stated: Each input with its preprocessing.
        size: Height and width of images from a folder; must be None.
        classes: The number of classes of the network, to check labels; None if unknown.

    Raises:
        DataError: The data cannot be read, or does not fit the network.
    """
    where, targets = stated[0].where, [each.target for each in stated]
    if size is not None:
        raise DataError(
            "size is given, but only images of a folder are resized, for a model with one input",
            location=where,
            hint="omit size",
        )
    if is_registered(spec):
        return _from_value(registered_value(spec), stated, classes)
    if is_generated_spec(spec):
        stated[0].refuse("the data is generated")
        return GeneratedDataset(spec, *targets)
    if files := sample_files(Path(spec)):
        return _samples(SamplesDataset(FileSource(Path(spec), files), targets, spec), classes)
    if is_array_file(spec):
        whole = _from_arrays(read_arrays(where.model), stated, classes)
        rows = np.arange(len(whole), dtype=np.int64)[whole_slice(spec)]
        checks.check_count(len(rows), where)
        return whole if len(rows) == len(whole) else Subset(whole, rows)
    if is_callable_spec(spec):
        return call_spec(spec, lambda result: _from_value(result, stated, classes))
    kind = (
        "holds no .npz or .safetensors files" if Path(spec).is_dir() else "no such file or folder"
    )
    raise DataError(
        f"{kind}; the model takes {', '.join(describe(target) for target in targets)}",
        location=where,
        hint="give FILE.npz with an array for each input, a folder of such files, "
        "package.module:callable, synthetic or noise",
    )


def _from_value(value: Any, stated: Sequence[Preprocessing], classes: int | None) -> Dataset:
    """Make a dataset from an object of the user, or from the result of the user's function."""
    where, targets = stated[0].where, [each.target for each in stated]
    if isinstance(value, Dataset):
        return _checked(value, targets, classes, where)
    if isinstance(value, Mapping):
        arrays = {str(name): array_of(part) for name, part in value.items()}
        return _from_arrays(arrays, stated, classes)
    names = [*(target.name for target in targets), label_name(targets)]
    is_tuple = isinstance(value, tuple) and len(value) in (len(targets), len(targets) + 1)
    if is_tuple and all(map(is_array, value)):
        found = {name: array_of(part) for name, part in zip(names, value, strict=False)}
        return _from_arrays(found, stated, classes)
    samples: list[Sample] = list(split_items(items_of(value, where), targets, where))
    if not samples:
        raise DataError("yields nothing", location=where, hint="yield at least one example")
    return _samples(SamplesDataset(MemorySource(samples, where), targets, where.model), classes)


def _samples(dataset: SamplesDataset, classes: int | None) -> Dataset:
    if dataset.labels is not None and checks.are_class_numbers(dataset.labels):
        checks.check_label_range(dataset.labels, classes, Location(model=dataset.name))
    return dataset


def _from_arrays(
    arrays: Mapping[str, Array], stated: Sequence[Preprocessing], classes: int | None
) -> Dataset:
    where, targets = stated[0].where, [each.target for each in stated]
    check_names(arrays, targets, where)
    mean, std = (arrays.get(name) for name in PIXEL_NAMES)
    inputs: dict[str, Array] = {}
    for each in stated:
        each.fill(mean, std)
        inputs[each.target.name] = _converted(arrays[each.target.name], each)
    y = arrays.get(label_name(targets))
    found, count = match_arrays(
        inputs, targets, None if y is None else len(np.atleast_1d(y)), where
    )
    checks.check_count(count, where)
    labels = None if y is None else checks.check_labels(y, count, classes, where)
    dtypes = {target.name: target.dtype for target in targets}
    return NamedArraysDataset(found, count, dtypes, labels, where.model)


def _converted(values: Array, stated: Preprocessing) -> Array:
    """Normalise the values of an input if they are uint8 images, else check them."""
    target, where = stated.target, stated.where
    dtype = np.dtype(target.dtype)
    if values.dtype == np.uint8 and dtype.kind == "f" and values.ndim == len(target.shape) == 4:
        channels, height, width = stated.axes()
        shown = InputSpec(target.name, (None, height, width, channels), dtype)
        what = f"'{target.name}' (images, N H W C)"
        checks.check_shape(values.shape, shown, where, what=what)
        return stated.pixels(values.shape[3]).apply(values)
    check_kind(values, dtype, f"'{target.name}'", where)
    checks.check_finite(np.atleast_1d(values), where, what=f"'{target.name}'")
    return values


def _checked(
    dataset: Dataset, targets: Sequence[InputSpec], classes: int | None, where: Location
) -> Dataset:
    """Check the labels and the first example of a Dataset of the user."""
    checks.check_count(len(dataset), where)
    first = first_example(dataset)
    check_names(first.inputs, targets, where)
    match_arrays(first.inputs, targets, 1, where)
    if dataset.labels is not None:
        checks.check_labels(dataset.labels, len(dataset), classes, where)
    return dataset
