"""How far one network agrees with another: the figure where there are no labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.data.dataset import Array
from acgraph.errors import DataError

#: A spread below this part of the reference's mean square is none: float32 cannot tell.
_NO_SPREAD = 1e-12


@dataclass(slots=True)
class Agreement:
    """Agreement of a network with a reference over all examples, from 0 to 1.

    Share of examples with the same class where the first output is ``[N, classes]`` with at least
    two classes. Anything else has no classes: then it is the share of the reference's variance
    that the network explains, ``1 - mean over outputs of |ours - theirs|^2 / |theirs - mean|^2``,
    not below 0, over all floating outputs. Where no output is floating, the share of equal values.
    An example with a NaN agrees with nothing.

    >>> both = Agreement()
    >>> both.add([np.array([[0.1, 0.9], [0.7, 0.3]])], [np.array([[0.2, 0.8], [0.4, 0.6]])])
    >>> both.value
    0.5
    """

    _same: int = 0
    _count: int = 0
    _spreads: list["_Explained"] = field(default_factory=list)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in the outputs for a batch, in the order of the graph.

        Raises:
            DataError: the outputs have different numbers or shapes.
        """
        shapes = [[list(output.shape) for output in outputs] for outputs in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise DataError(
                f"outputs of shape {shapes[0]} and {shapes[1]} cannot be compared",
                hint="compare two forms of one model",
            )
        floats = [pair for pair in zip(ours, theirs, strict=True) if pair[1].dtype.kind == "f"]
        if holds_class_scores(theirs[0]):
            mine, other = ours[0], theirs[0]
            is_same = (mine.argmax(1) == other.argmax(1)) & ~np.isnan(mine).any(1)
            self._add_equal(is_same)
        elif floats:
            self._spreads = self._spreads or [_Explained() for _ in floats]
            for entry, (mine, other) in zip(self._spreads, floats, strict=True):
                entry.add(mine, other)
        else:
            for mine, other in zip(ours, theirs, strict=True):
                self._add_equal(mine == other)

    def _add_equal(self, is_same: Array) -> None:
        self._same += int(np.count_nonzero(is_same))
        self._count += is_same.size

    @property
    def value(self) -> float:
        """The agreement over what was added.

        Raises:
            DataError: nothing was added.
        """
        if self._spreads:
            error = float(np.mean([entry.error for entry in self._spreads]))
            return max(0.0, 1.0 - error) if np.isfinite(error) else 0.0
        if not self._count:
            raise DataError("there is nothing to compare", hint="give at least one example")
        return self._same / self._count


def holds_class_scores(output: Array) -> bool:
    """Tell whether an output is ``[N, classes]`` scores of at least two classes."""
    return output.ndim == 2 and output.shape[1] > 1 and output.dtype.kind == "f"


@dataclass(slots=True)
class _Explained:
    """Sums of one output, in float64; those of the reference about its first mean."""

    _shift: float | None = None
    _count: int = 0
    _error: float = 0.0
    _sum: float = 0.0
    _squares: float = 0.0
    _magnitude: float = 0.0

    def add(self, ours: Array, theirs: Array) -> None:
        mine, other = ours.astype(np.float64), theirs.astype(np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.where(mine == other, 0.0, mine - other)
        finite = other[np.isfinite(other)]
        if finite.size and self._shift is None:
            self._shift = float(finite.mean())
        centred = finite - (self._shift or 0.0)
        self._count += finite.size
        self._error += float(np.square(gap).sum())
        self._sum += float(centred.sum())
        self._squares += float(np.square(centred).sum())
        self._magnitude += float(np.square(finite).sum())

    @property
    def error(self) -> float:
        """``|ours - theirs|^2 / |theirs - mean(theirs)|^2`` over what is finite in theirs."""
        if not self._error:
            return 0.0
        spread = self._squares - self._sum**2 / max(self._count, 1)
        least = _NO_SPREAD * max(self._magnitude, self._count, 1)
        return self._error / max(spread, least)
