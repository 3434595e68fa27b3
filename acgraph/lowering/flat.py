"""Form gather, variant flat: one Gather of single elements, for outputs of very few positions.

``Pad, Reshape [N, -1], Gather, Conv``: four nodes for any kernel. The index has one element for
every column and output position, so this is fast only where the output is tiny.
"""

import math

import numpy as np

from acgraph.lowering.base import Draft
from acgraph.lowering.fragment import INPUT, Index, IntArray, Weights
from acgraph.lowering.layer import ConvLayer, Position

#: Largest number of output positions; from 3x3 on, the other variants were measured faster.
MAX_OUTPUTS = 4


def flat(layer: ConvLayer) -> list[Draft]:
    """Return the draft where sizes are fixed and the output is tiny; else none."""
    if layer.group != 1 or not layer.is_static or math.prod(layer.out_spatial) > MAX_OUTPUTS:
        return []
    if layer.kept.all() or layer.rank == 0 or len(layer.positions) < 2:
        return []
    builder = layer.builder()
    begin = {2 + i: pad for i, pad in enumerate(layer.begin)}
    end = {2 + i: pad for i, pad in enumerate(layer.end)}
    x = builder.pad(INPUT, begin, end, "gather.pad") if any(layer.pads) else INPUT
    padded = builder.shape(x)[1:]
    shape = [layer.input_shape[0], math.prod(padded)]
    flatten = Index(np.array([0, -1], np.int64))
    x = builder.add("Reshape", "gather.flatten", [x, flatten], {}, shape)
    index = [_places(layer, position, padded) for position in layer.positions]
    x = builder.gather(x, np.concatenate(index), 1, "gather.columns")
    values = np.concatenate(
        [layer.column_weights(p, layer.channels_at(p)) for p in layer.positions], axis=1
    )
    values = values.reshape(*values.shape, *[1] * layer.rank)
    weight = Weights(np.ascontiguousarray(values), layer.weight_name, "columns")
    builder.conv(x, weight, layer.bias_weights(), "gather.conv")
    return [Draft("gather", "flat", builder.finish(), values.shape[1])]


def _places(layer: ConvLayer, position: Position, padded: tuple[int, ...]) -> IntArray:
    """Return the indices of a position's columns in the flattened input.

    Returns:
        ``int [channels, *out_spatial]``.
    """
    axes = [layer.channels_at(position)]
    for i, (index, size) in enumerate(zip(position, layer.out_spatial, strict=True)):
        axes.append(np.arange(size) * layer.strides[i] + index * layer.dilations[i])
    return np.ravel_multi_index(np.ix_(*axes), padded)
