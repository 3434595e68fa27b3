"""Forms of ConvTranspose: fewer input channels, or a smaller kernel where the pads allow it.

A column of a ConvTranspose is one input channel at one kernel position. It scatters the channel
over the output, so columns cannot be gathered before the product as those of a Conv. Input channels
without columns are removed. Unused kernel borders are cropped where the output keeps its size: the
begin pads shrink by what is cropped at the begin, and what is missing at the end becomes output
padding. ONNX has no negative pads, and output padding is less than the stride.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from acgraph.lowering.base import DENSE, Draft
from acgraph.lowering.fragment import INPUT, Builder, IntArray, Operand, Weights
from acgraph.lowering.layer import TransposedLayer
from acgraph.lowering.regions import Lattice, contiguous, cut_shape


def transposed(layer: TransposedLayer) -> list[Draft]:
    """Return the dense layer, and the layers on fewer channels or kernel positions."""
    everything = np.arange(layer.kept.shape[0])
    whole = Lattice((0,) * layer.rank, layer.kernel, (1,) * layer.rank)
    drafts = [_draft(layer, DENSE, "", everything, whole, layer.attrs)]
    channels = layer.channels_kept if layer.group == 1 else everything
    lattice = Lattice.around(layer.positions)
    attrs = _cropped(layer, lattice) if lattice.volume < whole.volume else None
    if attrs is not None:
        drafts.append(_draft(layer, "crop", "", everything, lattice, attrs))
        if channels.size < everything.size:
            drafts.append(_draft(layer, "crop", "channels", channels, lattice, attrs))
    elif channels.size < everything.size:
        drafts.append(_draft(layer, "channels", "", channels, whole, layer.attrs))
    return drafts


def _cropped(layer: TransposedLayer, lattice: Lattice) -> dict[str, Any] | None:
    """Return the attributes of the layer on a lattice of its kernel, or None where none exist.

    Input ``i`` reaches output ``s * i + k * d - begin`` through kernel index ``k``, and
    the output has ``s * (n - 1) + padding + (K - 1) * d + 1 - begin - end`` positions.
    """
    if layer.pads is None:
        return None
    begins, ends, paddings, dilations = [], [], [], []
    for i, dilation in enumerate(layer.dilations):
        begin = layer.pads[i] - lattice.first[i] * dilation
        rest = (layer.kernel[i] - 1 - lattice.last[i]) * dilation
        end = layer.pads[layer.rank + i] - layer.output_padding[i] - rest
        step = dilation * lattice.gap[i]
        if begin < 0 or -end >= layer.strides[i]:
            return None
        begins.append(begin)
        ends.append(max(0, end))
        paddings.append(max(0, -end))
        dilations.append(step)
    return dict(layer.attrs) | {
        "dilations": dilations,
        "kernel_shape": list(lattice.count),
        "output_padding": paddings,
        "pads": [*begins, *ends],
    }


def _draft(
    layer: TransposedLayer,
    form: str,
    variant: str,
    channels: IntArray,
    lattice: Lattice,
    attrs: Mapping[str, Any],
) -> Draft:
    builder = Builder(layer.input_shape, layer.weight.dtype, layer.opset)
    x, values = INPUT, layer.weight[(slice(None), slice(None), *lattice.index)]
    if channels.size < layer.kept.shape[0]:
        x = _select(builder, channels, form)
        values = values[channels]
    suffix = "" if values.shape == layer.weight.shape else f"{form}.columns"
    weight = Weights(np.ascontiguousarray(values), layer.weight_name, suffix)
    operands: list[Operand] = [x, weight]
    if layer.bias is not None:
        operands.append(Weights(layer.bias, layer.bias_name))
    name = f"{form}.convtranspose"
    builder.add("ConvTranspose", name, operands, attrs, layer.output_shape)
    columns = int(channels.size) * lattice.volume
    return Draft(form, variant, builder.finish(), columns)


def _select(builder: Builder, channels: IntArray, form: str) -> str:
    span = contiguous(channels)
    if span is None:
        return builder.gather(INPUT, channels, 1, f"{form}.channels")
    cuts = {1: (*span, 1)}
    return builder.slice(INPUT, cuts, f"{form}.slice", cut_shape(builder.shape(INPUT), cuts))
