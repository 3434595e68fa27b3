"""Errors of an output on a scale of its own, channel by channel."""

from dataclasses import dataclass

import numpy as np

from acgraph.tasks.kinds import Array, Floats

#: A spread below this part of the mean square is none: float32 cannot tell.
_NO_SPREAD = 1e-12
#: A channel whose variance is below this part of the typical one has no scale of its own.
_DEAD = 1e-6
#: Values that are summed in float64 at once, to bound the memory.
_BLOCK = 1 << 21


def own_scale(variance: Floats, mean_square: Floats) -> Floats:
    """Return the variance that errors of each channel are divided by.

    A channel that hardly varies, because a class never occurs or a filter is dead, has no scale of
    its own: rounding would count for much there. It takes that of a typical channel.

    Args:
        variance: Of every channel.
        mean_square: Of every channel.

    Returns:
        Positive numbers, one a channel.
    """
    own = np.maximum(variance, _NO_SPREAD * np.maximum(mean_square, 1.0))
    typical = float(np.median(own))
    return np.where(own > _DEAD * typical, own, typical)


def by_channel(values: Array, axis: int | None) -> Array:
    """Lay values out as ``[channels, everything else]``; one channel without an axis."""
    if axis is None or values.ndim <= 1:
        return values.reshape(1, -1)
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)


@dataclass(slots=True)
class ChannelErrors:
    """Sums over examples of one output, a number for each channel.

    Attributes:
        axis: Where the channels lie; None takes the whole output as one.
    """

    axis: int | None = None
    _shift: Floats | None = None
    _count: Floats | None = None
    _sums: Floats | None = None  # error, sum, squares about the shift, squares

    def add(self, ours: Array, theirs: Array) -> None:
        """Take in the values of a batch; what is not finite in the reference must be equal."""
        mine, other = by_channel(ours, self.axis), by_channel(theirs, self.axis)
        width = max(1, _BLOCK // max(len(other), 1))
        for start in range(0, other.shape[1], width):
            block = slice(start, start + width)
            self._add(mine[:, block].astype(np.float64), other[:, block].astype(np.float64))

    def _add(self, mine: Floats, other: Floats) -> None:
        finite = np.isfinite(other)
        count = finite.sum(axis=1).astype(np.float64)
        kept = np.where(finite, other, 0.0)
        if self._shift is None or self._count is None or self._sums is None:
            self._shift = kept.sum(axis=1) / np.maximum(count, 1)
            self._count = np.zeros(len(other))
            self._sums = np.zeros((4, len(other)))
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.where(mine == other, 0.0, mine - other)
            centred = np.where(finite, other - self._shift[:, None], 0.0)
            self._sums += np.stack(
                [
                    np.square(gap).sum(axis=1), centred.sum(axis=1),
                    np.square(centred).sum(axis=1), np.square(kept).sum(axis=1),
                ]
            )  # fmt: skip
        self._count += count

    def scale(self) -> Floats:
        """Return the variance of the reference that errors of every channel are divided by."""
        if self._sums is None or self._count is None:
            return np.ones(1)
        _, total, squares, magnitude = self._sums
        count = np.maximum(self._count, 1)
        variance = np.maximum(squares / count - np.square(total / count), 0.0)
        return own_scale(variance, magnitude / count)

    def relative(self) -> Floats:
        """Return ``|ours - theirs|^2 / |theirs - mean(theirs)|^2`` of every channel.

        Infinite where a value is NaN, or differs from one that is not finite.
        """
        if self._sums is None or self._count is None:
            return np.zeros(1)
        error = self._sums[0]
        with np.errstate(invalid="ignore"):
            found = np.where(error == 0, 0.0, error / np.maximum(self._count, 1) / self.scale())
        return np.where(np.isnan(found), np.inf, found)

    def explained(self) -> float:
        """Return the share of the reference's variance that is explained: mean over channels."""
        return float(np.mean(np.clip(1.0 - self.relative(), 0.0, 1.0)))

    def normalised(self) -> float:
        """Return the RMS error over the spread, mean over channels."""
        return float(np.mean(np.sqrt(self.relative())))
