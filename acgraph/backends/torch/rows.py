"""Rows that a layer multiplies with its matrix, at positions drawn at random, and what it gives."""

import math
from collections.abc import Sequence

import onnx_graphsurgeon as gs
import torch
import torch.nn.functional as F

from acgraph.analysis.layers import Layer
from acgraph.backends.torch.ops.conv import same_pads, torch_pads


def draw(
    x: torch.Tensor, node: gs.Node, layer: Layer, generator: torch.Generator, positions: int
) -> torch.Tensor | None:
    """Draw which rows count; None for all.

    Args:
        x: What the layer reads.
        node: The layer's node.
        layer: The layer.
        generator: Of the draw.
        positions: Output positions of each example that count, at most.

    Returns:
        Of a convolution the output positions, the same for all examples; else the rows.
    """
    if layer.op_type == "Conv":
        total = math.prod(_Window(x, node, layer).sizes)
        return torch.randperm(total, generator=generator)[:positions]
    count, most = x.numel() // max(_width(x, node), 1), positions * max(1, x.shape[0])
    if count <= most:
        return None
    return torch.randperm(count, generator=generator)[:most]


def columns_at(
    x: torch.Tensor, node: gs.Node, layer: Layer, drawn: torch.Tensor | None
) -> torch.Tensor:
    """Return the rows that a layer multiplies with its matrix: ``[samples, groups * columns]``."""
    x = x.to(torch.float32)
    if layer.op_type == "Conv":
        return _patches(_Window(x, node, layer), drawn)
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        x = x.T
    rows = x.reshape(-1, x.shape[-1])
    return rows if drawn is None else rows[drawn.to(rows.device)]


def outputs_at(y: torch.Tensor, layer: Layer, drawn: torch.Tensor | None) -> torch.Tensor:
    """Return what a layer gives for these rows: ``[samples, filters]``."""
    if layer.op_type == "Conv":
        flat = y.flatten(2)
        if drawn is not None:
            flat = flat[:, :, drawn.to(flat.device)]
        return flat.permute(0, 2, 1).reshape(-1, y.shape[1])
    rows = y.reshape(-1, y.shape[-1])
    return rows if drawn is None else rows[drawn.to(rows.device)]


def _width(x: torch.Tensor, node: gs.Node) -> int:
    is_turned = node.op == "Gemm" and node.attrs.get("transA", 0)
    return int(x.shape[0] if is_turned else x.shape[-1])


class _Window:
    """How the kernel of a convolution moves over a padded input."""

    def __init__(self, x: torch.Tensor, node: gs.Node, layer: Layer) -> None:
        rank = len(layer.kernel)
        self.kernel = layer.kernel
        self.strides = tuple(node.attrs.get("strides") or (1,) * rank)
        self.dilations = tuple(node.attrs.get("dilations") or (1,) * rank)
        pads = _pads(node, layer.kernel, self.strides, self.dilations, x.shape[2:])
        self.x, self.pads = x, pads
        reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel, self.dilations, strict=True)]
        around = [n + pads[i] + pads[i + rank] for i, n in enumerate(x.shape[2:])]
        self.sizes = [(n - r) // s + 1 for n, r, s in zip(around, reach, self.strides, strict=True)]


def _patches(window: _Window, drawn: torch.Tensor | None) -> torch.Tensor:
    x, rank = F.pad(window.x, torch_pads(window.pads)), len(window.kernel)
    chosen = torch.arange(math.prod(window.sizes)) if drawn is None else drawn
    taps = torch.cartesian_prod(*(torch.arange(k) for k in window.kernel)).reshape(-1, rank)
    places = torch.stack(torch.unravel_index(chosen, window.sizes), dim=1)
    index = [
        (
            places[:, axis, None] * window.strides[axis]
            + taps[None, :, axis] * window.dilations[axis]
        ).to(x.device)
        for axis in range(rank)
    ]
    found = x[(slice(None), slice(None), *index)]  # [examples, channels, positions, taps]
    return found.permute(0, 2, 1, 3).reshape(-1, x.shape[1] * len(taps))


def _pads(
    node: gs.Node,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    sizes: Sequence[int],
) -> tuple[int, ...]:
    auto = node.attrs.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return same_pads(sizes, kernel, strides, dilations, upper=auto == "SAME_UPPER")
    given = node.attrs.get("pads") if auto == "NOTSET" else None
    return tuple(given or (0, 0) * len(kernel))
