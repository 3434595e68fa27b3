"""``noise[:N]``: random inputs, for networks whose data is not to be had."""

import math
import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from acgraph.data.batch import Batch
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


def is_noise_spec(spec: str) -> bool:
    """Tell whether a data specification asks for noise.

    >>> is_noise_spec("noise"), is_noise_spec("noise:500"), is_noise_spec("noise.npz")
    (True, True, False)
    """
    return _SPEC.match(spec) is not None


class NoiseDataset(Dataset):
    """Independent N(0, 1) numbers, as inputs are after the usual normalisation; no labels.

    Example ``k`` is a function of ``k`` alone, and is made when it is asked for.
    """

    def __init__(self, spec: str, target: InputSpec) -> None:
        """Prepare.

        Args:
            spec: ``noise`` or ``noise:N``.
            target: The network's input.

        Raises:
            DataError: the input has open sizes or is no float, or N is 0.
        """
        where = Location(model=spec)
        match = _SPEC.match(spec)
        stated = match[1] if match is not None else None
        self._count = COUNT if stated is None else int(stated)
        if self._count < 1:
            raise DataError("no examples", location=where, hint="as in noise:1000")
        if not np.issubdtype(np.dtype(target.dtype), np.floating):
            raise DataError(
                f"input '{target.name}' of the model takes {np.dtype(target.dtype)}, noise is "
                "floats",
                location=where,
                hint="give real examples",
            )
        self._shape = _sizes(target.shape[1:], target, where)
        self._dtype = np.dtype(target.dtype)
        self._input = target.name
        self.name = spec

    @property
    def labels(self) -> None:
        """None: noise has no classes."""
        return

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: Indices) -> Batch:
        """Make examples by their numbers."""
        x = np.empty((len(indices), math.prod(self._shape)), self._dtype)
        for row, index in zip(x, indices, strict=True):
            row[:] = np.random.default_rng(int(index)).standard_normal(len(row), np.float32)
        return Batch({self._input: x.reshape(len(indices), *self._shape)})

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of how many examples there are and of the first, which tells how they are made."""
        first = first_example(self).x
        return Fingerprint(digest_of(str(self._count), of_array(first).digest))


def _sizes(
    sizes: Sequence[int | str | None], target: InputSpec, where: Location
) -> tuple[int, ...]:
    fixed = tuple(size for size in sizes if is_fixed(size))
    if len(fixed) != len(sizes):
        raise DataError(
            f"input '{target.name}' of the model takes {format_shape(target.shape)}, and noise "
            "needs every size",
            location=where,
            hint="export the model with fixed sizes, but for the batch",
        )
    return fixed
