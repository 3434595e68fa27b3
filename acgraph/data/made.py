"""``synthetic[:N]`` and ``noise[:N]``: inputs that are made, where no data is to be had."""

import math
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from acgraph.data.batch import Array, Batch
from acgraph.data.checks import InputSpec, format_shape, is_fixed
from acgraph.data.dataset import Dataset, Indices, Layout, first_example
from acgraph.data.fingerprint import Fingerprint, digest_of, of_array
from acgraph.data.leaves import leaves, spectral
from acgraph.diagnostics import Location
from acgraph.errors import DataError

#: The specification that is used where none is given.
SYNTHETIC = "synthetic"
_SPEC = re.compile(r"^(noise|synthetic)(?::(\d+))?$")
#: Examples where no number is stated.
COUNT = 4096
#: What there is to say to whoever trains on it.
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
#: Channels that pictures have, and the shortest side of one.
_PICTURE_CHANNELS, _PICTURE_SIDE = (1, 3, 4), 8
#: The shortest signal that has a spectrum.
_SIGNAL_LENGTH = 16
#: Bytes of pictures and signals that are held, so that later passes need not make them again.
_HELD_BYTES = 1 << 29
#: Integers of which nothing says how large they may be are below this: they are mostly indices
#: into tables and masks, and every table has two rows.
_MAX_INDEX = 2


def is_made_spec(spec: str) -> bool:
    """Tell whether a data specification asks for inputs that are made.

    >>> is_made_spec("noise"), is_made_spec("synthetic:500"), is_made_spec("noise.npz")
    (True, True, False)
    """
    return _SPEC.match(spec) is not None


def warning_of(spec: str) -> str:
    """Say what whoever trains on such data must know; nothing of data that is not made."""
    match = _SPEC.match(spec)
    return "" if match is None else _WARNINGS[match[1]]


class MadeDataset(Dataset):
    """Inputs that are made, without labels.

    Of ``noise``, floats are independent N(0, 1) numbers, as inputs are after the usual
    normalisation. Of ``synthetic``, inputs of the shape of pictures are pictures of dead leaves,
    and other float inputs are noise with the spectrum of natural signals, both of mean 0 and
    deviation 1; where neither fits they are N(0, 1) numbers. In both, integers are spread over the
    rows of the table that they index. Masks are ones, so that nothing is left out. The state of a
    recurrent network is zero in every other example, as at the start, and tanh of noise in the
    others. A single number that a whole batch shares is the same in all examples.

    Example ``k`` is a function of ``k`` alone, and is made when it is asked for.
    """

    def __init__(self, spec: str, *targets: InputSpec) -> None:
        """Prepare.

        Args:
            spec: ``noise``, ``synthetic``, or either with ``:N`` behind it.
            targets: The network's inputs.

        Raises:
            DataError: an input has open sizes or takes strings, or N is 0.
        """
        where = Location(model=spec)
        match = _SPEC.match(spec)
        stated = match[2] if match is not None else None
        self._is_synthetic = match is not None and match[1] == SYNTHETIC
        self._count = COUNT if stated is None else int(stated)
        if self._count < 1:
            raise DataError("no examples", location=where, hint="write for example synthetic:1000")
        self._targets = targets
        self._shapes = {target.name: _sizes(target, where) for target in targets}
        self._axes: Mapping[str, int | None] = {
            target.name: target.axis for target in targets if target.axis != 0
        }
        self._held: dict[tuple[int, int], Array] = {}
        self._held_bytes = 0
        self.name = spec
        if self._is_synthetic and len(targets) == 1 and not targets[0].axis:
            self.layout = _picture_layout(self._shapes[targets[0].name])

    @property
    def labels(self) -> None:
        """None: what is made has no classes."""
        return

    def __len__(self) -> int:
        return self._count

    @property
    def groups(self) -> Indices | None:
        """None, unless a whole batch shares a signal: then each example is a batch of its own."""
        return np.arange(self._count) if any(map(self._is_signal, self._targets)) else None

    def _is_signal(self, target: InputSpec) -> bool:
        return target.axis is None and math.prod(self._shapes[target.name]) > 1

    def batch(self, indices: Indices) -> Batch:
        """Make examples by their numbers."""
        inputs = {
            target.name: self._made(target, place, indices)
            for place, target in enumerate(self._targets)
        }
        return Batch(inputs, axes=self._axes)

    def _made(self, target: InputSpec, place: int, indices: Indices) -> Array:
        shape, dtype = self._shapes[target.name], np.dtype(target.dtype)
        if target.axis is None:
            index = int(indices[0]) if self._is_signal(target) else 0
            return self._row(target, index, place).astype(dtype)
        rows = np.empty((len(indices), *shape), dtype)
        for row, index in zip(rows, indices, strict=True):
            row[...] = self._row(target, int(index), place)
        return np.moveaxis(rows, 0, target.axis)

    def _row(self, target: InputSpec, index: int, place: int) -> Array:
        """Make one input of one example, or take it from those that are held."""
        shape = self._shapes[target.name]
        if not (self._is_synthetic and _is_natural(target, shape)):
            return _example(target, math.prod(shape), index, place).reshape(shape)
        if (index, place) in self._held:
            return self._held[index, place]
        made = _natural(np.random.default_rng((index, place)), shape)
        if self._held_bytes + made.nbytes <= _HELD_BYTES:
            self._held[index, place] = made
            self._held_bytes += made.nbytes
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is held: another process makes it again."""
        return {**self.__dict__, "_held": {}, "_held_bytes": 0}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of how many examples there are and of the first, which tells how they are made."""
        first = [np.atleast_1d(value) for value in first_example(self).inputs.values()]
        return Fingerprint(digest_of(str(self._count), *(of_array(x).digest for x in first)))


def _picture_layout(shape: tuple[int, ...]) -> Layout:
    """Return how a picture of this shape is laid out; empty where it is none."""
    if len(shape) != 3:
        return ""
    if shape[0] in _PICTURE_CHANNELS and min(shape[1:]) >= _PICTURE_SIDE:
        return "NCHW"
    if shape[2] in _PICTURE_CHANNELS and min(shape[:2]) >= _PICTURE_SIDE:
        return "NHWC"
    return ""


def _is_natural(target: InputSpec, shape: tuple[int, ...]) -> bool:
    """Whether an input may be a picture or a signal."""
    is_float = np.dtype(target.dtype).kind == "f" and not target.is_state
    if not is_float or "mask" in target.name.lower() or not shape:
        return False
    return bool(_picture_layout(shape)) or shape[-1] >= _SIGNAL_LENGTH


def _natural(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Make a picture, or signals along the last axis."""
    layout = _picture_layout(shape)
    if layout == "NCHW":
        return leaves(rng, *shape)
    if layout == "NHWC":
        return np.moveaxis(leaves(rng, shape[2], shape[0], shape[1]), 0, 2)
    return spectral(rng, (math.prod(shape[:-1]), shape[-1])).reshape(shape)


def _example(target: InputSpec, size: int, index: int, place: int) -> Array:
    """Make the numbers of one input for one example.

    Args:
        target: The input.
        size: How many.
        index: Of the example.
        place: Of the input among all: inputs of one network must not be equal.
    """
    rng = np.random.default_rng((index, place) if place else index)
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
