"""Regions of a weight: input channels times a lattice of kernel positions, as one small Conv."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acgraph.lowering.fragment import TO_THE_END, Builder, IntArray, Weights
from acgraph.lowering.layer import ConvLayer, Position


@dataclass(frozen=True, slots=True)
class Lattice:
    """Evenly spaced kernel indices on each spatial axis, as a dilated kernel covers them.

    >>> Lattice.around([(0, 0), (0, 2), (2, 2)])
    Lattice(first=(0, 0), count=(2, 2), gap=(2, 2))
    """

    first: tuple[int, ...]
    count: tuple[int, ...]
    gap: tuple[int, ...]

    @staticmethod
    def around(positions: Iterable[Position]) -> "Lattice":
        """Return the smallest lattice that contains all positions."""
        first, count, gap = [], [], []
        for used in (sorted(set(axis)) for axis in zip(*positions, strict=True)):
            step = math.gcd(*(index - used[0] for index in used)) or 1
            first.append(used[0])
            count.append((used[-1] - used[0]) // step + 1)
            gap.append(step)
        return Lattice(tuple(first), tuple(count), tuple(gap))

    def join(self, other: "Lattice") -> "Lattice":
        """Return the smallest lattice that contains both."""
        return Lattice.around([*self.corners(), *other.corners()])

    def corners(self) -> list[Position]:
        """Return positions that span the lattice: the first, the last, and the second."""
        steps = zip(self.first, self.count, self.gap, strict=True)
        second = tuple(first + (gap if count > 1 else 0) for first, count, gap in steps)
        return [self.first, second, self.last]

    @property
    def last(self) -> tuple[int, ...]:
        """The greatest index on each axis."""
        ends = zip(self.first, self.count, self.gap, strict=True)
        return tuple(first + (count - 1) * gap for first, count, gap in ends)

    @property
    def volume(self) -> int:
        """Number of kernel positions."""
        return math.prod(self.count)

    @property
    def index(self) -> tuple[slice, ...]:
        """Index that selects the lattice from a kernel."""
        ends = zip(self.first, self.last, self.gap, strict=True)
        return tuple(slice(first, last + 1, gap) for first, last, gap in ends)

    def begin(self, layer: ConvLayer) -> tuple[int, ...]:
        """Return the pads before each axis; negative where input is skipped."""
        return tuple(
            pad - first * dilation
            for pad, first, dilation in zip(layer.begin, self.first, layer.dilations, strict=True)
        )

    def end(self, layer: ConvLayer) -> tuple[int, ...]:
        """Return the pads after each axis; negative where input is skipped."""
        return tuple(
            pad - (reach - last * dilation)
            for pad, reach, last, dilation in zip(
                layer.end, layer.reach, self.last, layer.dilations, strict=True
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Input channels times a lattice of kernel positions."""

    channels: IntArray
    lattice: Lattice

    @property
    def columns(self) -> int:
        """Columns that a convolution over the region stores."""
        return int(self.channels.size) * self.lattice.volume


def contiguous(index: IntArray) -> tuple[int, int] | None:
    """Return the range ``(start, stop)`` that an index enumerates, or None.

    >>> contiguous(np.array([2, 3, 4])), contiguous(np.array([2, 4]))
    ((2, 5), None)
    """
    start, stop = int(index[0]), int(index[-1]) + 1
    is_range = stop - start == index.size and bool((np.diff(index) == 1).all())
    return (start, stop) if is_range else None


def region_conv(
    builder: Builder,
    layer: ConvLayer,
    region: Region,
    *,
    prefix: str,
    with_bias: bool = True,
) -> str:
    """Append the convolution over one region of the layer's weight.

    Args:
        builder: The fragment.
        layer: The dense layer; a region of a grouped layer must contain all channels.
        region: Part of the weight.
        prefix: Prefix of the node names: the form and the number of its part.
        with_bias: Whether this convolution adds the bias.
    """
    lattice = region.lattice
    begin, end = lattice.begin(layer), lattice.end(layer)
    x = _select(builder, layer, region.channels, begin, end, prefix)
    values = layer.weight[(slice(None), slice(None), *lattice.index)]
    if region.channels.size < layer.kept.shape[0]:
        values = values[:, region.channels]
    name = f"{prefix}.conv"
    suffix = "" if values.shape == layer.weight.shape else name
    steps = zip(layer.dilations, lattice.gap, strict=True)
    return builder.conv(
        x,
        Weights(np.ascontiguousarray(values), layer.weight_name, suffix),
        layer.bias_weights() if with_bias else None,
        name,
        strides=layer.strides,
        dilations=[dilation * gap for dilation, gap in steps],
        pads=[max(0, pad) for pad in (*begin, *end)],
        group=layer.group,
    )


def _select(
    builder: Builder,
    layer: ConvLayer,
    channels: npt.NDArray[np.int64],
    begin: tuple[int, ...],
    end: tuple[int, ...],
    prefix: str,
) -> str:
    """Select the channels, and crop the input that no kept kernel position reads."""
    x = "x"
    cuts: dict[int, tuple[int, int, int]] = {}
    if channels.size < layer.kept.shape[0]:
        span = contiguous(channels)
        if span is None:
            x = builder.gather(x, channels, 1, f"{prefix}.channels")
        else:
            cuts[1] = (*span, 1)
    for i, (before, after) in enumerate(zip(begin, end, strict=True)):
        if before < 0 or after < 0:
            cuts[2 + i] = (max(0, -before), min(0, after) or TO_THE_END, 1)
    if not cuts:
        return x
    return builder.slice(x, cuts, f"{prefix}.slice", cut_shape(builder.shape(x), cuts))


def cut_shape(shape: tuple[int, ...], cuts: Mapping[int, tuple[int, int, int]]) -> list[int]:
    """Return the sizes after a Slice."""
    return [
        len(range(*slice(*cuts[axis]).indices(size))) if axis in cuts else size
        for axis, size in enumerate(shape)
    ]
