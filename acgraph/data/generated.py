"""``synthetic[:N]`` and ``noise[:N]``: generated inputs, for use without any data."""

import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from acgraph.data.batch import Array, Batch
from acgraph.data.checks import InputSpec, format_shape, is_fixed
from acgraph.data.dataset import Dataset, Indices, Layout, first_example
from acgraph.data.dead_leaves import dead_leaves, spectral
from acgraph.data.fingerprint import Fingerprint, digest_of, of_array
from acgraph.diagnostics import Location
from acgraph.errors import DataError

#: The default data specification.
SYNTHETIC = "synthetic"
_SPEC = re.compile(r"^(noise|synthetic)(?::(\d+))?$", re.ASCII)
#: Default number of examples.
COUNT = 4096
#: Largest number of examples.
MAX_COUNT = 10_000_000
#: Warnings for training on generated data.
_WARNINGS = {
    "noise": (
        "the data is noise: the network learns to agree with the original on random inputs, and "
        "its agreement on real inputs is unknown; give real examples, with or without labels, if "
        "you have any"
    ),
    SYNTHETIC: (
        "the data is synthetic: the network learns to agree with the original on generated "
        "inputs, agreement is measured on generated inputs as well, and the agreement on real "
        "inputs is unknown; even a hundred real examples without labels are better (--data)"
    ),
}
#: Possible numbers of channels of an image, and its smallest side in pixels.
_IMAGE_CHANNELS, _MIN_IMAGE_SIDE = (1, 3, 4), 8
#: Shortest length of a signal that is generated with a spectrum.
_MIN_SIGNAL_LENGTH = 16
#: Largest size in bytes of the cache of generated images and signals.
_CACHE_BYTES = 1 << 29
#: Integers of unknown range are generated below this number: most are masks or indices into tables,
#: and every table has two rows.
_MAX_INDEX = 2


def is_generated_spec(spec: str) -> bool:
    """Return whether a data specification names generated data.

    >>> [is_generated_spec(spec) for spec in ("noise", "synthetic:500", "noise.npz")]
    [True, True, False]
    """
    return _SPEC.match(spec) is not None


def generated_data_warning(spec: str) -> str:
    """Return the warning for training on generated data; empty for other data."""
    match = _SPEC.match(spec)
    return "" if match is None else _WARNINGS[match[1]]


class GeneratedDataset(Dataset):
    """Generated inputs without labels.

    For ``noise``, floats are independent N(0, 1) numbers, like inputs after the usual
    normalisation. For ``synthetic``, inputs with the shape of images are images of the dead leaves
    model, and other float inputs are noise with the spectrum of natural signals, both with mean 0
    and standard deviation 1; where neither fits, they are N(0, 1) numbers. In both cases, integers
    are uniform over the rows of the table that they index. Masks are ones. A recurrent state is
    zero in every other example, as at the start of a sequence, and tanh of noise in the others. A
    single number that a whole batch shares is the same in all examples.

    Example ``k`` depends only on ``k``, and is generated on access. The driver may then fit
    examples to a network (`acgraph.driver.inputs.fitted`).
    """

    def __init__(self, spec: str, *targets: InputSpec) -> None:
        """Check the specification and the inputs.

        Args:
            spec: ``noise`` or ``synthetic``, optionally followed by ``:N``.
            targets: The network's inputs.

        Raises:
            DataError: An input has dynamic dimensions or consists of strings, or N is 0 or
                too large.
        """
        where = Location(model=spec)
        match = _SPEC.match(spec)
        stated = match[2] if match is not None else None
        self._is_synthetic = match is not None and match[1] == SYNTHETIC
        # A number of thousands of digits is not even converted.
        self._count = COUNT if stated is None else int(stated[:20])
        if self._count < 1:
            raise DataError("no examples", location=where, hint="write for example synthetic:1000")
        if self._count > MAX_COUNT:
            raise DataError(
                f"at most {MAX_COUNT:,} examples can be generated",
                location=where,
                hint="write for example synthetic:1000",
            )
        self._targets = targets
        self._shapes = {target.name: _sizes(target, where) for target in targets}
        self._axes: Mapping[str, int | None] = {
            target.name: target.axis for target in targets if target.axis != 0
        }
        self._cache: dict[tuple[int, int], Array] = {}
        self._cache_bytes = 0
        self.name = spec
        if self._is_synthetic and len(targets) == 1 and not targets[0].axis:
            self.layout = _image_layout(self._shapes[targets[0].name])

    @property
    def labels(self) -> None:
        """None: generated data has no labels."""
        return

    @property
    def is_natural(self) -> bool:
        """Whether the only input is a synthetic float32 image or signal, batch first."""
        first, *others = self._targets
        is_float = np.dtype(first.dtype) == np.float32 and first.axis == 0
        is_single = is_float and not others and self._is_synthetic
        return is_single and _is_natural(first, self._shapes[first.name])

    def __len__(self) -> int:
        return self._count

    @property
    def groups(self) -> Indices | None:
        """None; if a batch shares a signal, each example is a group of its own."""
        return np.arange(self._count) if any(map(self._is_signal, self._targets)) else None

    def _is_signal(self, target: InputSpec) -> bool:
        return target.axis is None and math.prod(self._shapes[target.name]) > 1

    def batch(self, indices: Indices) -> Batch:
        """Generate examples."""
        inputs = {
            target.name: self._generate(target, number, indices)
            for number, target in enumerate(self._targets)
        }
        return Batch(inputs, axes=self._axes)

    def _generate(self, target: InputSpec, number: int, indices: Indices) -> Array:
        shape, dtype = self._shapes[target.name], np.dtype(target.dtype)
        if target.axis is None:
            index = int(indices[0]) if self._is_signal(target) else 0
            return self._row(target, index, number).astype(dtype)
        rows = np.empty((len(indices), *shape), dtype)
        for row, index in zip(rows, indices, strict=True):
            row[...] = self._row(target, int(index), number)
        return np.moveaxis(rows, 0, target.axis)

    def _row(self, target: InputSpec, index: int, number: int) -> Array:
        """Generate one input of one example, or take it from the cache."""
        shape = self._shapes[target.name]
        if not (self._is_synthetic and _is_natural(target, shape)):
            return _example(target, math.prod(shape), index, number).reshape(shape)
        if (index, number) in self._cache:
            return self._cache[index, number]
        found = _natural(np.random.default_rng((index, number)), shape)
        if self._cache_bytes + found.nbytes <= _CACHE_BYTES:
            self._cache[index, number] = found
            self._cache_bytes += found.nbytes
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the cache, which another process can fill again."""
        return {**self.__dict__, "_cache": {}, "_cache_bytes": 0}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the number of examples and of the first one, which shows how they are made."""
        first = [np.atleast_1d(value) for value in first_example(self).inputs.values()]
        return Fingerprint(digest_of(str(self._count), *(of_array(x).digest for x in first)))


def _image_layout(shape: tuple[int, ...]) -> Layout:
    """Return the layout of an image of this shape, without the batch; empty for other shapes."""
    if len(shape) != 3:
        return ""
    if shape[0] in _IMAGE_CHANNELS and min(shape[1:]) >= _MIN_IMAGE_SIDE:
        return "NCHW"
    if shape[2] in _IMAGE_CHANNELS and min(shape[:2]) >= _MIN_IMAGE_SIDE:
        return "NHWC"
    return ""


def _is_natural(target: InputSpec, shape: tuple[int, ...]) -> bool:
    """Return whether an input may be an image or a signal."""
    is_float = np.dtype(target.dtype).kind == "f" and not target.is_state
    if not is_float or "mask" in target.name.lower() or not shape:
        return False
    return bool(_image_layout(shape)) or shape[-1] >= _MIN_SIGNAL_LENGTH


def _natural(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Generate an image, or signals along the last axis."""
    layout = _image_layout(shape)
    if layout == "NCHW":
        return dead_leaves(rng, *shape)
    if layout == "NHWC":
        return np.moveaxis(dead_leaves(rng, shape[2], shape[0], shape[1]), 0, 2)
    return spectral(rng, (math.prod(shape[:-1]), shape[-1])).reshape(shape)


def _example(target: InputSpec, size: int, index: int, number: int) -> Array:
    """Generate one input of one example as noise.

    Args:
        target: The input.
        size: The number of values.
        index: The number of the example.
        number: The number of the input, so that the inputs of a network differ.
    """
    rng = np.random.default_rng((index, number) if number else index)
    kind = np.dtype(target.dtype).kind
    if target.is_state and kind == "f":
        return np.tanh(rng.standard_normal(size, np.float32)) * np.float32(index % 2)
    if "mask" in target.name.lower():
        return np.ones(size, np.dtype(target.dtype))
    if kind == "f":
        return rng.standard_normal(size, np.float32)
    if isinstance(target.values, tuple):
        return rng.choice(np.array(target.values), size)
    limit = _MAX_INDEX if target.values is None or kind == "b" else target.values
    return rng.integers(0, limit, size)


def _sizes(target: InputSpec, where: Location) -> tuple[int, ...]:
    """Return the sizes of an input, without the batch."""
    if np.dtype(target.dtype).kind not in "fiub":
        raise DataError(
            f"input '{target.name}' of the model takes {np.dtype(target.dtype)}, but only "
            "numbers can be generated",
            location=where,
            hint="give real examples",
        )
    sizes = [size for i, size in enumerate(target.shape) if i != target.axis]
    fixed = tuple(size for size in sizes if is_fixed(size))
    if len(fixed) != len(sizes):
        raise DataError(
            f"input '{target.name}' of the model takes {format_shape(target.shape)}, but only "
            "inputs of known sizes can be generated",
            location=where,
            hint="export the model with fixed sizes for all dimensions but the batch",
        )
    return fixed
