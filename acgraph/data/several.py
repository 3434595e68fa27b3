"""Data of a network of several inputs: an array for each, by its name."""

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
from acgraph.data.given import given_value, is_array, is_given, items_of
from acgraph.data.made import MadeDataset, is_made_spec
from acgraph.data.matching import (
    PIXEL_NAMES,
    check_kind,
    check_names,
    columns,
    describe,
    label_name,
)
from acgraph.data.named import NamedDataset
from acgraph.data.samples import (
    FileSource,
    HeldSource,
    Sample,
    SamplesDataset,
    sample_files,
    split_items,
)
from acgraph.data.selection import whole_slice
from acgraph.data.stated import Preprocessing
from acgraph.diagnostics import Location
from acgraph.errors import DataError


def load_several(
    spec: str,
    stated: Sequence[Preprocessing],
    size: int | tuple[int, int] | None,
    classes: int | None,
) -> Dataset:
    """Open data of a network of several inputs, or of one whose batch does not lie on axis 0.

    Args:
        spec: As of ``load_dataset``.
        stated: Of each input, with the preprocessing of images.
        size: Height and width of the images of a folder, which there are none of here.
        classes: How many classes the network tells apart, for the check of the labels.

    Raises:
        DataError: whatever is wrong, in one line.
    """
    where, targets = stated[0].where, [each.target for each in stated]
    if size is not None:
        raise DataError(
            "size is given, but only images of a folder are resized, for a model with one input",
            location=where,
            hint="omit size",
        )
    if is_given(spec):
        return _from_value(given_value(spec), stated, classes)
    if is_made_spec(spec):
        stated[0].refuse("the data is made")
        return MadeDataset(spec, *targets)
    if files := sample_files(Path(spec)):
        return _samples(SamplesDataset(FileSource(Path(spec), files), targets, spec), classes)
    if is_array_file(spec):
        whole = _from_arrays(read_arrays(where.model), stated, classes)
        rows = np.arange(len(whole), dtype=np.int64)[whole_slice(spec)]
        checks.check_count(len(rows), where)
        return whole if len(rows) == len(whole) else Subset(whole, rows)
    if is_callable_spec(spec):
        return call_spec(spec, lambda made: _from_value(made, stated, classes))
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
    """Make a dataset of what a program holds, or what a user's function returned."""
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
    return _samples(SamplesDataset(HeldSource(samples, where), targets, where.model), classes)


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
    found, count = columns(inputs, targets, None if y is None else len(np.atleast_1d(y)), where)
    checks.check_count(count, where)
    labels = None if y is None else checks.check_labels(y, count, classes, where)
    dtypes = {target.name: target.dtype for target in targets}
    return NamedDataset(found, count, dtypes, labels, where.model)


def _converted(values: Array, stated: Preprocessing) -> Array:
    """Bring the values of an input to what the network takes, images of pixels for instance."""
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
    """Check a dataset of the user's own by its labels and its first example."""
    checks.check_count(len(dataset), where)
    first = first_example(dataset)
    check_names(first.inputs, targets, where)
    columns(first.inputs, targets, 1, where)
    if dataset.labels is not None:
        checks.check_labels(dataset.labels, len(dataset), classes, where)
    return dataset
