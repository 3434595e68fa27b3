"""``noise[:N]``: random inputs, for networks whose data is not to be had."""

import math
import re
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from acgraph.data.batch import Array, Batch
from acgraph.data.checks import InputSpec, format_shape, is_fixed
from acgraph.data.dataset import Dataset, Indices, first_example
from acgraph.data.fingerprint import Fingerprint, digest_of, of_array
from acgraph.diagnostics import Location
from acgraph.errors import DataError

_SPEC = re.compile(r"^noise(?::(\d+))?$")
#: Examples where no number is stated.
COUNT = 4096
#: What there is to say to whoever trains on it.
WARNING = (
    "the data is noise: the network learns to agree with the original on random inputs, and how "
    "well it does on real ones is not known; give real examples, labelled or not, where there are "
    "any"
)
#: Integers of which nothing says how large they may be are below this: they are mostly indices
#: into tables and masks, and every table has two rows.
_FEW = 2


def is_noise_spec(spec: str) -> bool:
    """Tell whether a data specification asks for noise.

    >>> is_noise_spec("noise"), is_noise_spec("noise:500"), is_noise_spec("noise.npz")
    (True, True, False)
    """
    return _SPEC.match(spec) is not None


class NoiseDataset(Dataset):
    """Random inputs without labels.

    Floats are independent N(0, 1) numbers, as inputs are after the usual normalisation. Integers
    are spread over the rows of the table that they index. Masks are ones, so that nothing is left
    out. The state of a recurrent network is zero in every other example, as at the start, and tanh
    of noise in the others. A single number that a whole batch shares is the same in all examples.

    Example ``k`` is a function of ``k`` alone, and is made when it is asked for.
    """

    def __init__(self, spec: str, *targets: InputSpec) -> None:
        """Prepare.

        Args:
            spec: ``noise`` or ``noise:N``.
            targets: The network's inputs.

        Raises:
            DataError: an input has open sizes or takes strings, or N is 0.
        """
        where = Location(model=spec)
        match = _SPEC.match(spec)
        stated = match[1] if match is not None else None
        self._count = COUNT if stated is None else int(stated)
        if self._count < 1:
            raise DataError("no examples", location=where, hint="as in noise:1000")
        self._targets = targets
        self._shapes = {target.name: _sizes(target, where) for target in targets}
        self._axes: Mapping[str, int | None] = {
            target.name: target.axis for target in targets if target.axis != 0
        }
        self.name = spec

    @property
    def labels(self) -> None:
        """None: noise has no classes."""
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
            return _example(target, math.prod(shape), index, place).reshape(shape).astype(dtype)
        rows = np.empty((len(indices), math.prod(shape)), dtype)
        for row, index in zip(rows, indices, strict=True):
            row[:] = _example(target, len(row), int(index), place)
        return np.moveaxis(rows.reshape(len(indices), *shape), 0, target.axis)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of how many examples there are and of the first, which tells how they are made."""
        first = [np.atleast_1d(value) for value in first_example(self).inputs.values()]
        return Fingerprint(digest_of(str(self._count), *(of_array(x).digest for x in first)))


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
    limit = _FEW if target.values is None or kind == "b" else target.values
    return rng.integers(0, limit, size)


def _sizes(target: InputSpec, where: Location) -> tuple[int, ...]:
    """Return the sizes of an input, without the batch."""
    if np.dtype(target.dtype).kind not in "fiub":
        raise DataError(
            f"input '{target.name}' of the model takes {np.dtype(target.dtype)}, noise is numbers",
            location=where,
            hint="give real examples",
        )
    sizes = [size for i, size in enumerate(target.shape) if i != target.axis]
    fixed = tuple(size for size in sizes if is_fixed(size))
    if len(fixed) != len(sizes):
        raise DataError(
            f"input '{target.name}' of the model takes {format_shape(target.shape)}, and noise "
            "needs every size",
            location=where,
            hint="export the model with fixed sizes, but for the batch",
        )
    return fixed
