"""Predict the latency of a point of the search from a table of measured layers.

Every layer is timed separately over a grid of kept filters, kept input channels and kept columns,
each time in the fastest form; between grid points, times are interpolated. Layers of the same shape
share a table, and the times are cached on disk. The other operators of a network (additions,
copies) are assumed to shrink like its layers; a measurement of the whole model corrects this later.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from acgraph.driver.space.columns import LayerReader
from acgraph.driver.space.space import Space
from acgraph.lowering.base import Candidate
from acgraph.lowering.candidates import candidates
from acgraph.lowering.layer import ConvLayer
from acgraph.pruning.projection import column_mask, zero_columns
from acgraph.search import Point

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
#: Milliseconds of the fastest of several ways to compute a layer.
Fastest = Callable[[Sequence[Candidate]], float]

#: Kept shares of filters and of input channels that are timed, and of columns.
CHANNEL_SHARES = (0.1, 0.3, 0.6, 1.0)
COLUMN_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class LayerTable:
    """Milliseconds of one layer by kept share of filters, of input channels, and of columns."""

    axes: tuple[FloatArray, FloatArray, FloatArray]
    ms: FloatArray

    def at(self, filters: float, channels: float, columns: float) -> float:
        """Interpolate linearly along each axis; constant below the smallest timed share."""
        values = self.ms
        for axis, share in zip(self.axes, (filters, channels, columns), strict=True):
            upper = (
                int(np.clip(np.searchsorted(axis, share), 1, len(axis) - 1)) if len(axis) > 1 else 0
            )
            if not upper:
                values = values[0]
                continue
            low, high = axis[upper - 1], axis[upper]
            part = float(np.clip((share - low) / (high - low), 0.0, 1.0))
            values = (1.0 - part) * values[upper - 1] + part * values[upper]
        return float(values)


def time_layer(
    layer: ConvLayer, fastest: Fastest, *, columns: bool, pattern: str, step: int = 1
) -> LayerTable:
    """Time a convolution over the grid.

    Args:
        layer: The layer. Only its shape matters: cut weights are replaced by random ones.
        fastest: Times several forms of a layer.
        columns: Whether its columns may be cut.
        pattern: Which columns are removed together.
        step: Filters are kept in multiples of this number, so only such numbers of filters and
            channels are timed; kernels compute blocks, so others would not be informative.
    """
    filters, width = layer.weight.shape[:2]
    grouped = layer.group > 1
    whole = (1.0,)
    axes = (
        _shares(layer.group, max(1, step * layer.group // filters))
        if grouped
        else _shares(filters, step),
        whole if grouped else _shares(width, step),
        COLUMN_SHARES if columns else whole,
    )
    ms = np.empty([len(axis) for axis in axes])
    for place in product(*(range(len(axis)) for axis in axes)):
        of_filters, of_channels, kept = (axis[i] for axis, i in zip(axes, place, strict=True))
        cut = _cut(layer, of_filters, of_channels)
        keep = max(1, round(kept * cut.columns))
        if kept < 1:
            mask = column_mask(cut.weight, keep, pattern=pattern, multiple=1)
            cut = replace(cut, weight=zero_columns(cut.weight, mask))
        ms[place] = fastest(candidates(cut))
    for axis in range(ms.ndim):  # enforce monotone times in spite of noise
        ms = np.maximum.accumulate(ms, axis=axis)
    first, second, third = (np.array(axis) for axis in axes)
    return LayerTable((first, second, third), ms)


def _shares(total: int, step: int) -> tuple[float, ...]:
    """Return the shares of channels that are timed, each rounded up to a multiple of the step."""
    kept = {min(total, step * math.ceil(share * total / step - 1e-9)) for share in CHANNEL_SHARES}
    return tuple(count / total for count in sorted(kept))


def _cut(layer: ConvLayer, filters: float, channels: float) -> ConvLayer:
    """Return a layer of the same geometry with fewer filters and channels and random weights."""
    total, width, *kernel = layer.weight.shape
    group = layer.group
    if group > 1:  # whole groups are removed
        group = max(1, round(filters * group))
        kept, into = total // layer.group * group, width * group
    else:
        kept, into = max(1, round(filters * total)), max(1, round(channels * width))
    rng = np.random.default_rng(0)
    shape = (kept, into // group, *kernel)
    return replace(
        layer,
        weight=rng.standard_normal(shape).astype(layer.weight.dtype),
        bias=np.zeros(kept, layer.weight.dtype),
        bias_name="bias",
        group=group,
        input_shape=(layer.input_shape[0], into, *layer.input_shape[2:]),
        is_tied=False,
    )


def time_layers(space: Space, fastest: Fastest) -> dict[str, LayerTable]:
    """Time every convolution of a space; layers of the same shape are timed once.

    Returns:
        The tables by layer; layers that are not convolutions are left out.
    """
    reader = LayerReader.of(space.dependency.model, space.dependency.facts)
    cut = {layer.name for layer in space.column_layers}
    known: dict[object, LayerTable] = {}
    found = {}
    for layer in space.layers:
        read = reader.read(layer)
        if not isinstance(read, ConvLayer):
            continue
        columns, pattern = layer.name in cut, space.patterns.get(layer.weight, "free")
        key = (read.weight.shape, read.input_shape, read.strides, read.pads, read.dilations,
               read.group, columns, pattern)  # fmt: skip
        if key not in known:
            known[key] = time_layer(
                read, fastest, columns=columns, pattern=pattern, step=space.align
            )
        found[layer.name] = known[key]
    log.info("timed %d layers of %d shapes", len(found), len(known))
    return found


def latency_cost(
    space: Space, tables: Mapping[str, LayerTable], whole: float
) -> Callable[[Point], float]:
    """Return a function that predicts the latency of a point.

    Args:
        space: The search space of the points.
        tables: The tables of its layers.
        whole: The latency of the uncut model, in the unit of the result.
    """
    timed = [(layer, tables[layer.name]) for layer in space.layers if layer.name in tables]

    def total(point: Point) -> float:
        of_family, of_columns = space.stored_shares(point)
        shapes = space.counter.shapes(of_family)
        sums = 0.0
        for layer, table in timed:
            left = shapes(layer.weight) or layer.weight_shape
            sums += table.at(
                left[layer.filter_axis] / layer.weight_shape[layer.filter_axis],
                left[layer.channel_axis] / layer.weight_shape[layer.channel_axis],
                of_columns.get(layer.weight, 1.0),
            )
        return sums

    unit = whole / total(tuple(knob.size for knob in space.knobs))
    return lambda point: unit * total(point)
