"""Form gather: im2col of the kept columns in the graph, followed by one 1x1 Conv.

Every kernel position with kept columns contributes its input channels, shifted by the offset of the
position. Two independent choices make four variants:

- The shift is a ``pad`` or a ``slice``. ``pad``: a Pad that adds zeros on one side and crops the
  other; with a stride, one SpaceToDepth before it turns the positions modulo the stride into
  channels. ``slice``: one Pad for all positions, then a strided Slice of each shifted window.
- The channels are gathered for ``each`` position, or by one ``joint`` Gather for all, from which
  the shift crops the part of each position. With ``each``, many layers share the constants.

A position that keeps a contiguous range of channels needs no Gather, because the shift crops the
range, too. A position that keeps all channels at the centre needs no node.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from acgraph.lowering.base import Draft
from acgraph.lowering.fragment import INPUT, TO_THE_END, Builder, IntArray, Weights
from acgraph.lowering.layer import ConvLayer, Position
from acgraph.lowering.regions import Lattice, contiguous


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The kept channels of a kernel position: the range ``span`` of the channels of ``source``."""

    position: Position
    channels: IntArray
    source: str
    span: tuple[int, int]


def gather(layer: ConvLayer) -> list[Draft]:
    """Return all variants for a layer that uses more than one kernel position."""
    if layer.group != 1 or len(layer.positions) < 2 or layer.kept.all():
        return []
    has_stride = any(stride != 1 for stride in layer.strides)
    movers = ["pad"] * (not has_stride or can_interleave(layer))
    movers += ["slice"] * (not has_stride or layer.opset >= 10)
    scattered = [p for p in layer.positions if contiguous(layer.channels_at(p)) is None]
    takes = ["each", "joint"] if len(scattered) > 1 else ["each"]
    return [_draft(layer, take, mover) for mover in movers for take in takes]


def can_interleave(layer: ConvLayer) -> bool:
    """Return whether SpaceToDepth can move the stride into the channel axis."""
    stride = layer.strides[0]
    return (
        layer.rank == 2
        and layer.is_static
        and layer.strides == (stride, stride)
        and all(size % stride == 0 for size in layer.spatial)
        and layer.weight.dtype in (np.float32, np.float64)  # what ONNX Runtime implements
    )


def _draft(layer: ConvLayer, take: str, mover: str) -> Draft:
    builder = layer.builder()
    lattice = Lattice.around(layer.positions)
    source = _interleave(builder, layer) if mover == "pad" else _pad_once(builder, layer, lattice)
    parts = list(_parts(builder, layer, source, joint=take == "joint"))
    if mover == "pad":
        moved = [_pad(builder, layer, part) for part in parts]
    else:
        moved = [_slice(builder, layer, lattice, part) for part in parts]
    columns = builder.concat(moved, 1, "gather.concat")
    point_conv(builder, layer, columns, parts)
    return Draft("gather", f"{take}-{mover}", builder.finish(), builder.shape(columns)[1])


def point_conv(builder: Builder, layer: ConvLayer, columns: str, parts: list[_Part]) -> None:
    """Append the 1x1 Conv over gathered columns."""
    values = np.concatenate(
        [layer.column_weights(part.position, part.channels) for part in parts], axis=1
    )
    values = values.reshape(*values.shape, *[1] * layer.rank)
    weight = Weights(np.ascontiguousarray(values), layer.weight_name, "columns")
    builder.conv(columns, weight, layer.bias_weights(), "gather.conv")


def node_name(position: Position) -> str:
    """Name a kernel position: ``k02``; with an underscore where an index exceeds 9: ``k0_12``."""
    return "k" + ("_" if max(position) > 9 else "").join(str(index) for index in position)


def _pad_once(builder: Builder, layer: ConvLayer, lattice: Lattice) -> str:
    begin = {2 + i: pad for i, pad in enumerate(lattice.begin(layer))}
    end = {2 + i: pad for i, pad in enumerate(lattice.end(layer))}
    if not any((*begin.values(), *end.values())):
        return INPUT
    return builder.pad(INPUT, begin, end, "gather.pad")


def _interleave(builder: Builder, layer: ConvLayer) -> str:
    """Move phase ``p`` of channel ``c`` (positions modulo the stride) to channel ``p * C + c``."""
    stride = layer.strides[0] if layer.rank else 1
    if all(step == 1 for step in layer.strides):
        return INPUT
    batch, channels, *spatial = layer.input_shape
    shape = [batch, channels * stride**2, *(size // stride for size in spatial)]
    return builder.add("SpaceToDepth", "gather.phases", [INPUT], {"blocksize": stride}, shape)


def _offsets(layer: ConvLayer, position: Position) -> list[int]:
    """Return the input position that a kernel position reads for the first output, per axis."""
    axes = zip(position, layer.dilations, layer.begin, strict=True)
    return [index * dilation - pad for index, dilation, pad in axes]


def _parts(builder: Builder, layer: ConvLayer, source: str, *, joint: bool) -> Iterator[_Part]:
    chosen = {position: layer.channels_at(position) for position in layer.positions}
    is_interleaved = builder.shape(source)[1] != layer.input_shape[1]
    sought = {p: c + _first(layer, p) * is_interleaved for p, c in chosen.items()}
    spans = {position: contiguous(channels) for position, channels in sought.items()}
    together, offset = "", 0
    if joint:
        index = np.concatenate([sought[p] for p in sought if spans[p] is None])
        together = builder.gather(source, index, 1, "gather.channels")
    for position, channels in chosen.items():
        span = spans[position]
        if span is not None:
            yield _Part(position, channels, source, span)
        elif joint:
            yield _Part(position, channels, together, (offset, offset + channels.size))
            offset += channels.size
        else:
            taken = builder.gather(source, sought[position], 1, f"gather.{node_name(position)}")
            yield _Part(position, channels, taken, (0, channels.size))


def _first(layer: ConvLayer, position: Position) -> int:
    """Return the first interleaved channel of the phase that a kernel position reads."""
    phase = 0
    for offset, stride in zip(_offsets(layer, position), layer.strides, strict=True):
        phase = phase * stride + offset % stride
    return phase * layer.input_shape[1]


def _pad(builder: Builder, layer: ConvLayer, part: _Part) -> str:
    start, stop = part.span
    shape = builder.shape(part.source)
    begin, end = {1: -start}, {1: stop - shape[1]}
    for i, offset in enumerate(_offsets(layer, part.position)):
        skip = offset // layer.strides[i]
        begin[2 + i] = -skip
        # With stride 1 the nominal size cancels out, so that other sizes work as well.
        end[2 + i] = layer.out_spatial[i] + skip - shape[2 + i]
    if not any((*begin.values(), *end.values())):
        return part.source
    return builder.pad(part.source, begin, end, f"gather.{node_name(part.position)}.pad")


def _slice(builder: Builder, layer: ConvLayer, lattice: Lattice, part: _Part) -> str:
    start, stop = part.span
    shape = builder.shape(part.source)
    cuts = {} if (start, stop) == (0, shape[1]) else {1: (start, stop, 1)}
    for i, index in enumerate(part.position):
        dilation = layer.dilations[i]
        skip = (index - lattice.first[i]) * dilation
        rest = (lattice.last[i] - index) * dilation
        if skip or rest or layer.strides[i] != 1:
            cuts[2 + i] = (skip, -rest or TO_THE_END, layer.strides[i])
    if not cuts:
        return part.source
    out = [shape[0], stop - start, *layer.out_spatial]
    return builder.slice(part.source, cuts, f"gather.{node_name(part.position)}.slice", out)
