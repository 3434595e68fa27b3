"""Open the data that ``--data SPEC`` names."""

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
from acgraph.data.generated import GeneratedDataset, is_generated_spec
from acgraph.data.in_memory import is_registered, read_registered
from acgraph.data.matching import check_kind
from acgraph.data.multi_input import load_multi_input
from acgraph.data.preprocessing import Preprocessing, Stated
from acgraph.data.samples import FileSource, MemorySource, SamplesDataset, sample_files
from acgraph.data.selection import select_arrays
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
    """Open data, and check that it fits a network.

    Args:
        spec: One of the following.

            - ``FILE.npz`` or ``FILE.safetensors`` with arrays ``x`` and, if labelled, ``y``; other
              names and slices follow a ``#``: ``FILE.npz#x_train,y_train[:100]``.
            - A folder with a subfolder of images for each class.
            - A folder of files of arrays, each of which is one example.
            - ``package.module:callable``, a function that returns an iterable of ``(x, y)`` or
              ``x``, batches or single examples.
            - ``synthetic:N`` or ``noise:N``: generated inputs.

            Floats are used as they are; uint8 arrays are images ``[N, H, W, C]``. For several
            inputs, there is an array for each under its name; iterables consist of dictionaries, or
            of tuples in the order of the inputs.
        inputs: The fields of an ``InputSpec`` for each input of the network.
        mean: Mean of ``pixel * scale``, one value or one for each channel; by default the array
            ``mean`` of the file.
        std: Standard deviation of ``pixel * scale``, likewise.
        scale: Factor that pixels are multiplied by first; 1/255 by default, 1 for networks that
            expect 0..255. If it is given, mean and std default to 0 and 1.
        layout: Layout of the network's image input; by default derived from its shape.
        size: Height and width to which images from a folder are resized, if the network accepts any
            size.
        classes: The number of classes of the network, to check labels; None if unknown.

    Raises:
        DataError: The data cannot be read, or does not fit the network.
    """
    where = Location(model=spec.partition("#")[0])
    _check_path(where)
    targets = [InputSpec(*entry) for entry in inputs]
    stated = [Preprocessing(target, mean, std, scale, layout, where) for target in targets]
    if len(targets) != 1 or targets[0].axis != 0:
        return load_multi_input(spec, stated, size, classes)
    return _load_single(spec, stated[0], size, classes)


def _check_path(where: Location) -> None:
    """Refuse what the system cannot even look up as a path.

    Raises:
        DataError: It is too long, or contains a null character.
    """
    try:
        Path(where.model).stat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be opened: {getattr(error, 'strerror', None) or error}",
            location=Location(model=where.model[:80]),
            hint="check the path",
        ) from error


def _load_single(
    spec: str, stated: Preprocessing, size: int | tuple[int, int] | None, classes: int | None
) -> Dataset:
    """Open data for a network with one input."""
    where, target = stated.where, stated.target
    if is_registered(spec):
        return _from_registered(spec, stated, classes)
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
    if is_generated_spec(spec):
        stated.refuse("x is generated")
        return GeneratedDataset(spec, target)
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


def _from_registered(spec: str, stated: Preprocessing, classes: int | None) -> Dataset:
    found = read_registered(spec, stated.target)
    if isinstance(found, Dataset | Ragged):
        return _from_result(found, stated, classes)
    stated.fill(found.mean, found.std)
    return _from_arrays(found.x, found.y, stated, classes)


def _from_result(
    result: Dataset | Ragged | tuple[Array, Array | None],
    stated: Preprocessing,
    classes: int | None,
) -> Dataset:
    """Make a dataset from the result of the user's code."""
    if isinstance(result, Dataset):
        return _checked(result, stated.target, classes, stated.where)
    if not isinstance(result, Ragged):
        return _from_arrays(*result, stated, classes)
    stated.refuse("the examples have different sizes")
    samples: list[Mapping[str, Array]] = [
        {stated.target.name: x} if y is None else {stated.target.name: x, "y": y}
        for x, y in result.examples
    ]
    source = MemorySource(samples, stated.where)
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
    # Floats of one channel may be a spectrogram, which must not be flipped.
    layout = stated.layout if x.ndim == 4 and 3 in (x.shape[1], x.shape[3]) else ""
    return ArrayDataset(
        x, labels, layout=layout, dtype=dtype, name=where.model, input_name=target.name
    )


def _checked(dataset: Dataset, target: InputSpec, classes: int | None, where: Location) -> Dataset:
    """Check the labels and the first example of a Dataset of the user."""
    checks.check_count(len(dataset), where)
    x = first_example(dataset).x
    checks.check_shape(x.shape, target, where)
    checks.check_finite(x, where)
    if dataset.labels is not None:
        checks.check_labels(dataset.labels, len(dataset), classes, where)
    return dataset
