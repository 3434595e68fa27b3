"""The columns of any layer: its weight as ``[filters, channels, *kernel]``, and cuts of them."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.analysis.layers import Layer
from acgraph.pruning.projection import column_mask, input_channel_mask
from acgraph.pruning.ranking import BoolArray

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A family of column choices for which a layer has a compact form.

    Attributes:
        pattern: One of ``acgraph.pruning.patterns.PATTERNS``, or ``channels``: whole channels.
        multiple: The pattern's granularity.
    """

    pattern: str
    multiple: int = 1


def possible_shape(layer: Layer, shape: Shape) -> Shape:
    """Return the shape most similar to the requested one that lowering has a form for.

    - A grouped convolution is cropped: it keeps all channels at a lattice of kernel positions.
    - A ConvTranspose loses whole input channels.
    - If the kernel is a single point, only channels can be chosen.

    >>> conv = Layer(name="n", op_type="Conv", weight="w", weight_shape=(8, 1, 3, 3),
    ...     weight_input=1, filter_axis=0, channel_axis=1, filters=8, columns=9, group=8,
    ...     kernel=(3, 3))
    >>> possible_shape(conv, Shape(pattern="free"))
    Shape(pattern='box', multiple=1)
    """
    if layer.op_type == "ConvTranspose":
        return Shape(pattern="channels")
    channels = layer.columns // prod(layer.kernel)
    if layer.op_type == "Conv" and layer.group > 1:
        return Shape(pattern="box", multiple=channels)
    if prod(layer.kernel) == 1 and shape.pattern != "contiguous":
        return Shape(pattern="free", multiple=shape.multiple)
    return shape


def layer_matrix(layer: Layer, weight: Array) -> Array:
    """View a layer's constant as ``[filters, channels, *kernel]``; groups share their columns.

    Args:
        layer: The layer; its sizes do not matter.
        weight: Its constant, of any sizes, in the layout that a Transpose between them may change.
    """
    if layer.kernel or weight.ndim == 2:
        return np.moveaxis(weight, (layer.filter_axis, layer.channel_axis), (0, 1))
    rows = np.moveaxis(weight, layer.channel_axis, -1)
    return rows.reshape(-1, rows.shape[-1])


def filter_rows(layer: Layer, weight: Array) -> Array:
    """View a layer's constant as ``[filters, columns]``."""
    return layer_matrix(layer, weight).reshape(layer.filters, -1)


def weight_of_rows(layer: Layer, rows: Array, like: Array) -> Array:
    """Convert ``[filters, columns]`` to the layout of the constant: the inverse of `filter_rows`.

    Args:
        layer: A convolution, or a product with one matrix.
        rows: The values.
        like: A constant of the resulting shape.
    """
    axes = (layer.filter_axis, layer.channel_axis)
    shape = layer_matrix(layer, like).shape
    return np.ascontiguousarray(np.moveaxis(rows.reshape(shape), (0, 1), axes))


def used_columns(layer: Layer, weight: Array) -> BoolArray:
    """Return flags ``[channels, *kernel]``, True for the columns that are not zero.

    Args:
        layer: The layer; its sizes do not matter.
        weight: Its constant, of any sizes.
    """
    return np.asarray((layer_matrix(layer, weight) != 0).any(axis=0))


def choose_columns(matrix: Array, keep: int, shape: Shape) -> BoolArray:
    """Return keep-flags ``[channels, *kernel]`` of the columns of largest norm under a shape."""
    if shape.pattern != "channels":
        return column_mask(matrix, keep, pattern=shape.pattern, multiple=shape.multiple)
    positions = prod(matrix.shape[2:])
    channels = input_channel_mask(matrix, max(1, keep // positions))
    return np.broadcast_to(channels.reshape(-1, *[1] * (matrix.ndim - 2)), matrix.shape[1:]).copy()


def cut_columns(layer: Layer, weight: Array, kept: BoolArray) -> Array:
    """Return a copy of a layer's constant with the columns zeroed whose flag is False."""
    if layer.kernel:
        flags = np.moveaxis(kept[None], (0, 1), (layer.filter_axis, layer.channel_axis))
    else:
        turned = [1] * weight.ndim
        turned[layer.channel_axis] = -1
        flags = kept.reshape(turned)
    return np.where(flags, weight, weight.dtype.type(0))
