"""What ``--data SPEC`` means."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from acgraph.data import checks
from acgraph.data.batch import Array
from acgraph.data.callables import call_spec, is_callable_spec
from acgraph.data.checks import InputSpec
from acgraph.data.dataset import ArrayDataset, Dataset, Layout, first_example
from acgraph.data.folder import FolderDataset
from acgraph.data.given import is_given, read_given
from acgraph.data.noise import NoiseDataset, is_noise_spec
from acgraph.data.npz import is_npz, read_npz
from acgraph.data.pixels import DEFAULT_SCALE, Pixels
from acgraph.diagnostics import Location
from acgraph.errors import DataError

Stated = float | Sequence[float] | None
#: Channel counts that images have.
_CHANNELS = (1, 3, 4)


def load_dataset(
    spec: str,
    *,
    inputs: Sequence[tuple[str, Sequence[int | str | None], Any]],
    mean: Stated = None,
    std: Stated = None,
    scale: float | None = None,
    layout: Literal["NCHW", "NHWC"] | None = None,
    size: int | tuple[int, int] | None = None,
    classes: int | None = None,
) -> Dataset:
    """Open data and check it against the network that it is for.

    Args:
        spec: ``FILE.npz`` (arrays ``x`` and, if labelled, ``y``; or ``FILE.npz#x_train,y_train``,
            each with an optional slice: ``#x[:100],y[:100]``), a folder of class folders of images,
            ``package.module:callable`` returning an iterable of ``(x, y)`` or ``x``, batches or
            single examples, or ``noise:N``. Floats are taken as they are; uint8 is images
            ``[N, H, W, C]``.
        inputs: Name, shape (batch first) and dtype of the network's inputs.
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
    target = _single_input(inputs, where)
    stated = _Stated(target, mean, std, scale, layout, where)
    if is_given(spec):
        return _from_given(spec, stated, classes)
    if Path(spec).is_dir():
        return _load_folder(Path(spec), stated, size, classes)
    if size is not None:
        raise DataError(
            "size is stated, but only images of a folder are resized",
            location=where,
            hint="leave size out",
        )
    if is_noise_spec(spec):
        stated.refuse("x is noise")
        return NoiseDataset(spec, target)
    if is_npz(spec):
        arrays = read_npz(spec)
        stated.fill(arrays.mean, arrays.std)
        return _from_arrays(arrays.x, arrays.y, stated, classes)
    if is_callable_spec(spec):
        result = call_spec(spec, len(target.shape))
        if isinstance(result, Dataset):
            return _checked(result, target, classes, where)
        return _from_arrays(*result, stated, classes)
    raise DataError(
        "is not a folder" if Path(spec).exists() else "no such file or folder",
        location=where,
        hint="give FILE.npz, a folder of class folders of images, package.module:callable or noise",
    )


def _from_given(spec: str, stated: "_Stated", classes: int | None) -> Dataset:
    given = read_given(spec, len(stated.target.shape))
    if isinstance(given, Dataset):
        return _checked(given, stated.target, classes, stated.where)
    stated.fill(given.mean, given.std)
    return _from_arrays(given.x, given.y, stated, classes)


class _Stated:
    """The preprocessing that was stated, completed from the network's input."""

    def __init__(
        self,
        target: InputSpec,
        mean: Stated,
        std: Stated,
        scale: float | None,
        layout: Literal["NCHW", "NHWC"] | None,
        where: Location,
    ) -> None:
        self.target = target
        self.where = where
        self.layout: Layout = layout or _layout(target.shape)
        self.is_stated = not (mean is None and std is None and scale is None)
        self._mean: Stated | Array = mean
        self._std: Stated | Array = std
        self._scale = scale

    def refuse(self, what: str) -> None:
        """Raise where preprocessing is stated for what is taken as it is."""
        if self.is_stated:
            raise DataError(
                f"mean, std or scale is stated, but {what} and taken as it is",
                location=self.where,
                hint="leave them out, or give uint8 images",
            )

    def fill(self, mean: Array | None, std: Array | None) -> None:
        """Take what the file states where the user stated nothing."""
        self._mean = mean if self._mean is None else self._mean
        self._std = std if self._std is None else self._std

    def axes(self) -> tuple[int | str | None, int | str | None, int | str | None]:
        """Return channels, height and width of the network's input."""
        shape = self.target.shape
        if len(shape) != 4 or not self.layout:
            raise DataError(
                f"images are given, but input '{self.target.name}' of the model takes "
                f"{checks.format_shape(shape)}",
                location=self.where,
                hint="give floats, exactly what the network takes",
            )
        if self.layout == "NCHW":
            return shape[1], shape[2], shape[3]
        return shape[3], shape[1], shape[2]

    def pixels(self, channels: int) -> Pixels:
        """Build the normalisation of images of so many channels."""
        if self._scale is None and (self._mean is None or self._std is None):
            missing = "mean" if self._mean is None else "std"
            raise DataError(
                f"images need a stated {missing}",
                location=self.where,
                hint="state mean and std of the pixels in 0..1, or scale 1 where the network "
                "takes 0..255",
            )
        std = self._per_channel("std", self._std, 1.0, channels)
        if min(std) <= 0 or (self._scale is not None and self._scale <= 0):
            raise DataError(
                "std and scale must be positive",
                location=self.where,
                hint="check the preprocessing",
            )
        return Pixels(
            mean=self._per_channel("mean", self._mean, 0.0, channels),
            std=std,
            scale=DEFAULT_SCALE if self._scale is None else self._scale,
            layout="NHWC" if self.layout == "NHWC" else "NCHW",
        )

    def _per_channel(
        self, what: str, value: Stated | Array, default: float, channels: int
    ) -> tuple[float, ...]:
        numbers = np.atleast_1d(np.asarray(default if value is None else value, np.float64)).ravel()
        if len(numbers) == 1:
            numbers = np.repeat(numbers, channels)
        if len(numbers) != channels or not np.isfinite(numbers).all():
            raise DataError(
                f"{what} has {len(numbers)} values for {channels} channels",
                location=self.where,
                hint="give one finite number a channel, or one for all",
            )
        return tuple(float(number) for number in numbers)


def _single_input(
    inputs: Sequence[tuple[str, Sequence[int | str | None], Any]], where: Location
) -> InputSpec:
    if len(inputs) != 1:
        raise DataError(
            f"the model has {len(inputs)} inputs, data can be given for one",
            location=where,
            hint="make the other inputs constants of the model",
        )
    return InputSpec(*inputs[0])


def _layout(shape: Sequence[int | str | None]) -> Layout:
    if len(shape) != 4:
        return ""
    return "NHWC" if shape[3] in _CHANNELS and shape[1] not in _CHANNELS else "NCHW"


def _load_folder(
    path: Path, stated: _Stated, size: int | tuple[int, int] | None, classes: int | None
) -> Dataset:
    channels, *sides = stated.axes()
    wanted = (size, size) if isinstance(size, int) else size
    fixed = []
    for side, given in zip(sides, wanted or (None, None), strict=True):
        if checks.is_fixed(side) and given is not None and given != side:
            raise DataError(
                f"size {size} is stated, but the model takes "
                f"{checks.format_shape(stated.target.shape)}",
                location=stated.where,
                hint="leave size out",
            )
        chosen = side if checks.is_fixed(side) else given
        if chosen is None:
            raise DataError(
                f"the model takes images of any size {checks.format_shape(stated.target.shape)}",
                location=stated.where,
                hint="state the size to bring images to",
            )
        fixed.append(chosen)
    pixels = stated.pixels(channels if checks.is_fixed(channels) else 3)
    dataset = FolderDataset(path, (fixed[0], fixed[1]), pixels, stated.target.name)
    checks.check_label_range(dataset.labels, classes, stated.where)
    return dataset


def _from_arrays(x: Array, y: Array | None, stated: _Stated, classes: int | None) -> Dataset:
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
    _check_kind(x, dtype, where)
    checks.check_shape(x.shape, target, where)
    checks.check_finite(x, where)
    # One channel of floats may be a spectrogram, which must not be mirrored.
    layout = stated.layout if x.ndim == 4 and 3 in (x.shape[1], x.shape[3]) else ""
    return ArrayDataset(
        x, labels, layout=layout, dtype=dtype, name=where.model, input_name=target.name
    )


def _check_kind(x: Array, dtype: "np.dtype[Any]", where: Location) -> None:
    wants_float = np.issubdtype(dtype, np.floating)
    if np.issubdtype(x.dtype, np.floating if wants_float else np.integer):
        return
    raise DataError(
        f"x is {x.dtype}, the model takes {dtype}",
        location=where,
        hint="give floats exactly as the network takes them, or uint8 images N H W C"
        if wants_float
        else "give integers exactly as the network takes them",
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
