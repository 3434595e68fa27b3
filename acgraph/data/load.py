"""What ``--data SPEC`` means."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from acgraph.data import checks
from acgraph.data.batch import Array
from acgraph.data.callables import Ragged, call_spec, collect, is_callable_spec
from acgraph.data.checks import InputSpec
from acgraph.data.dataset import ArrayDataset, Dataset, first_example
from acgraph.data.files import is_array_file
from acgraph.data.folder import FolderDataset
from acgraph.data.given import is_given, read_given
from acgraph.data.made import MadeDataset, is_made_spec
from acgraph.data.matching import check_kind
from acgraph.data.samples import FileSource, HeldSource, SamplesDataset, sample_files
from acgraph.data.selection import select_arrays
from acgraph.data.several import load_several
from acgraph.data.stated import Preprocessing, Stated
from acgraph.diagnostics import Location
from acgraph.errors import DataError


def load_dataset(
    spec: str,
    *,
    inputs: Sequence[tuple[Any, ...]],
    mean: Stated = None,
    std: Stated = None,
    scale: float | None = None,
    layout: Literal["NCHW", "NHWC"] | None = None,
    size: int | tuple[int, int] | None = None,
    classes: int | None = None,
) -> Dataset:
    """Open data and check it against the network that it is for.

    Args:
        spec: ``FILE.npz`` or ``FILE.safetensors`` (arrays ``x`` and, if labelled, ``y``; or
            ``FILE.npz#x_train,y_train``, each with an optional slice: ``#x[:100],y[:100]``), a
            folder of class folders of images, a folder of such files, each of which is one example,
            ``package.module:callable`` returning an iterable of ``(x, y)`` or ``x``, batches or
            single examples, or ``synthetic:N`` or ``noise:N``. Floats are taken as they are; uint8
            is images ``[N, H, W, C]``. For several inputs: an array for each by its name, and
            callables that yield dictionaries, or tuples in the order of the inputs.
        inputs: Name, shape and dtype of the network's inputs, and the axis of the batch where that
            is not axis 0, as of an ``InputSpec``.
        mean: Of ``pixel * scale``, per channel or for all; or array ``mean`` of the npz file.
        std: Likewise.
        scale: Pixels are multiplied by this before mean and std, 1/255 unless stated; 1 for
            networks that take 0..255. Where stated, mean and std may be left out (0 and 1).
        layout: How the network takes images; found from its input's shape where not stated.
        size: Height and width for images of a folder, where the network leaves them open.
        classes: How many classes the network tells apart, for the check of the labels.

    Raises:
        DataError: whatever is wrong, in one line.
    """
    where = Location(model=spec.partition("#")[0])
    targets = [InputSpec(*entry) for entry in inputs]
    stated = [Preprocessing(target, mean, std, scale, layout, where) for target in targets]
    if len(targets) != 1 or targets[0].axis != 0:
        return load_several(spec, stated, size, classes)
    return _load_single(spec, stated[0], size, classes)


def _load_single(
    spec: str, stated: Preprocessing, size: int | tuple[int, int] | None, classes: int | None
) -> Dataset:
    """Open data of a network of one input."""
    where, target = stated.where, stated.target
    if is_given(spec):
        return _from_given(spec, stated, classes)
    if files := sample_files(Path(spec)):
        return SamplesDataset(FileSource(Path(spec), files), [target], spec)
    if Path(spec).is_dir():
        return _load_folder(Path(spec), stated, size, classes)
    if size is not None:
        raise DataError(
            "size is given, but only images of a folder are resized",
            location=where,
            hint="omit size",
        )
    if is_made_spec(spec):
        stated.refuse("x is made")
        return MadeDataset(spec, target)
    if is_array_file(spec):
        arrays = select_arrays(spec, target.name)
        stated.fill(arrays.mean, arrays.std)
        return _from_arrays(arrays.x, arrays.y, stated, classes)
    if is_callable_spec(spec):
        result = call_spec(spec, lambda made: collect(made, len(target.shape), where))
        return _from_result(result, stated, classes)
    raise DataError(
        "is not a folder" if Path(spec).exists() else "no such file or folder",
        location=where,
        hint="give FILE.npz, FILE.safetensors, a folder, package.module:callable, "
        "synthetic or noise",
    )


def _from_given(spec: str, stated: Preprocessing, classes: int | None) -> Dataset:
    given = read_given(spec, stated.target)
    if isinstance(given, Dataset | Ragged):
        return _from_result(given, stated, classes)
    stated.fill(given.mean, given.std)
    return _from_arrays(given.x, given.y, stated, classes)


def _from_result(
    result: Dataset | Ragged | tuple[Array, Array | None],
    stated: Preprocessing,
    classes: int | None,
) -> Dataset:
    """Make a dataset of what a user's code returned."""
    if isinstance(result, Dataset):
        return _checked(result, stated.target, classes, stated.where)
    if not isinstance(result, Ragged):
        return _from_arrays(*result, stated, classes)
    stated.refuse("the examples have several sizes")
    samples: list[Mapping[str, Array]] = [
        {stated.target.name: x} if y is None else {stated.target.name: x, "y": y}
        for x, y in result.examples
    ]
    source = HeldSource(samples, stated.where)
    return SamplesDataset(source, [stated.target], stated.where.model)


def _load_folder(
    path: Path, stated: Preprocessing, size: int | tuple[int, int] | None, classes: int | None
) -> Dataset:
    channels, *sides = stated.axes()
    wanted = (size, size) if isinstance(size, int) else size
    fixed = []
    for side, given in zip(sides, wanted or (None, None), strict=True):
        if checks.is_fixed(side) and given is not None and given != side:
            raise DataError(
                f"size {size} is given, but the model takes "
                f"{checks.format_shape(stated.target.shape)}",
                location=stated.where,
                hint="omit size",
            )
        chosen = side if checks.is_fixed(side) else given
        if chosen is None:
            raise DataError(
                f"the model takes images of any size, {checks.format_shape(stated.target.shape)}",
                location=stated.where,
                hint="give the size that images are resized to",
            )
        fixed.append(chosen)
    pixels = stated.pixels(channels if checks.is_fixed(channels) else 3)
    dataset = FolderDataset(path, (fixed[0], fixed[1]), pixels, stated.target.name)
    checks.check_label_range(dataset.labels, classes, stated.where)
    return dataset


def _from_arrays(x: Array, y: Array | None, stated: Preprocessing, classes: int | None) -> Dataset:
    where, target = stated.where, stated.target
    checks.check_count(len(x), where)
    labels = None if y is None else checks.check_labels(y, len(x), classes, where)
    dtype = np.dtype(target.dtype)
    if x.dtype == np.uint8 and dtype != np.uint8:
        channels, height, width = stated.axes()
        if x.ndim == 3 and channels == 1:
            x = x[..., None]
        shown = InputSpec(target.name, (None, height, width, channels), dtype)
        checks.check_shape(x.shape, shown, where, what="x (images, N H W C)")
        pixels = stated.pixels(x.shape[3])
        return ArrayDataset(
            x, labels, pixels=pixels, dtype=dtype, name=where.model, input_name=target.name
        )
    stated.refuse(f"x is {x.dtype}")
    check_kind(x, dtype, "x", where)
    checks.check_shape(x.shape, target, where)
    checks.check_finite(x, where)
    # One channel of floats may be a spectrogram, which must not be mirrored.
    layout = stated.layout if x.ndim == 4 and 3 in (x.shape[1], x.shape[3]) else ""
    return ArrayDataset(
        x, labels, layout=layout, dtype=dtype, name=where.model, input_name=target.name
    )


def _checked(dataset: Dataset, target: InputSpec, classes: int | None, where: Location) -> Dataset:
    """Check a dataset of the user's own by its labels and its first example."""
    checks.check_count(len(dataset), where)
    x = first_example(dataset).x
    checks.check_shape(x.shape, target, where)
    checks.check_finite(x, where)
    if dataset.labels is not None:
        checks.check_labels(dataset.labels, len(dataset), classes, where)
    return dataset
