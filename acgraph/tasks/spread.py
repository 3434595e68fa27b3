"""Errors of an output, relative to the variance of each channel."""

from dataclasses import dataclass

import numpy as np

from acgraph.tasks.kinds import Array, Floats

#: A variance below this share of the mean square is rounding of float32.
_MIN_VARIANCE = 1e-12
#: A channel whose variance is below this share of the median variance hardly varies.
_CONSTANT = 1e-6
#: Number of values that are summed in float64 at once, to limit the memory.
_BLOCK = 1 << 21


def own_scale(variance: Floats, mean_square: Floats) -> Floats:
    """Return the variance by which the squared errors of each channel are divided.

    A channel that hardly varies, because a class never occurs or a filter is dead, gets the median
    variance of all channels instead: rounding would dominate its relative error.

    Args:
        variance: Variance of each channel, ``[channels]``.
        mean_square: Mean square of each channel, ``[channels]``.

    Returns:
        Positive numbers ``[channels]``.
    """
    own = np.maximum(variance, _MIN_VARIANCE * np.maximum(mean_square, 1.0))
    typical = float(np.median(own))
    return np.where(own > _CONSTANT * typical, own, typical)


def by_channel(values: Array, axis: int | None) -> Array:
    """Reshape values to ``[channels, everything else]``; without an axis there is one channel."""
    if axis is None or values.ndim <= 1:
        return values.reshape(1, -1)
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)


@dataclass(slots=True)
class ChannelErrors:
    """Errors of one output over many examples, relative to the variance of each channel.

    Attributes:
        axis: The axis of the channels; None treats the output as one channel.
    """

    axis: int | None = None
    _shift: Floats | None = None
    _count: Floats | None = None
    _sums: Floats | None = None  # error, sum, squares about the shift, squares

    def add(self, ours: Array, theirs: Array) -> None:
        """Add a batch; where the reference is not finite, the values must be equal.

        Args:
            ours: The output of the network.
            theirs: The reference, of the same shape.
        """
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
        """Return the variance by which the squared errors of each channel are divided."""
        if self._sums is None or self._count is None:
            return np.ones(1)
        _, total, squares, magnitude = self._sums
        count = np.maximum(self._count, 1)
        variance = np.maximum(squares / count - np.square(total / count), 0.0)
        return own_scale(variance, magnitude / count)

    def relative(self) -> Floats:
        """Return ``|ours - theirs|^2 / |theirs - mean(theirs)|^2`` of each channel.

        It is infinite if a value is NaN, or differs from a reference that is not finite.
        """
        if self._sums is None or self._count is None:
            return np.zeros(1)
        error = self._sums[0]
        with np.errstate(invalid="ignore"):
            found = np.where(error == 0, 0.0, error / np.maximum(self._count, 1) / self.scale())
        return np.where(np.isnan(found), np.inf, found)

    def explained(self) -> float:
        """Return the explained variance of the reference, from 0 to 1, as a mean over channels."""
        return float(np.mean(np.clip(1.0 - self.relative(), 0.0, 1.0)))

    def normalised(self) -> float:
        """Return the RMS error divided by the standard deviation, as a mean over channels."""
        return float(np.mean(np.sqrt(self.relative())))
