"""Rows that a layer multiplies with its matrix, at positions drawn at random, and what it gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs
import torch
import torch.nn.functional as F

from acgraph.analysis.layers import Layer
from acgraph.backends.torch.ops.conv import same_pads, torch_pads, transpose_pads


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
    if layer.kernel:
        total = math.prod(_window(x, node, layer).sizes)
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
    if layer.kernel:
        return _patches(_window(x, node, layer), drawn)
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        x = x.T
    rows = x.reshape(-1, x.shape[-1])
    return rows if drawn is None else rows[drawn.to(rows.device)]


def outputs_at(y: torch.Tensor, layer: Layer, drawn: torch.Tensor | None) -> torch.Tensor:
    """Return what a layer gives for these rows: ``[samples, filters]``."""
    if layer.kernel:
        flat = y.flatten(2)
        if drawn is not None:
            flat = flat[:, :, drawn.to(flat.device)]
        return flat.permute(0, 2, 1).reshape(-1, y.shape[1])
    rows = y.reshape(-1, y.shape[-1])
    return rows if drawn is None else rows[drawn.to(rows.device)]


def _width(x: torch.Tensor, node: gs.Node) -> int:
    is_turned = node.op == "Gemm" and node.attrs.get("transA", 0)
    return int(x.shape[0] if is_turned else x.shape[-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """How the kernel of a convolution moves over a padded input.

    Attributes:
        x: The input.
        pads: Begins, then ends.
        strides: Of the kernel.
        taps: By axis: where the weights of the kernel lie in it.
        sizes: Positions of the kernel.
    """

    x: torch.Tensor
    pads: tuple[int, ...]
    strides: tuple[int, ...]
    taps: tuple[torch.Tensor, ...]
    sizes: tuple[int, ...]


def _window(x: torch.Tensor, node: gs.Node, layer: Layer) -> _Window:
    rank, kernel = len(layer.kernel), layer.kernel
    strides = tuple(node.attrs.get("strides") or (1,) * rank)
    dilations = tuple(node.attrs.get("dilations") or (1,) * rank)
    taps = tuple(torch.arange(k) * d for k, d in zip(kernel, dilations, strict=True))
    if node.op == "ConvTranspose":
        pads = _transposed_pads(node, kernel, strides, dilations, x.shape[2:])
        x, taps = _spread(x, strides), tuple(own.flip(0) for own in taps)
        strides = (1,) * rank
    else:
        pads = _pads(node, kernel, strides, dilations, x.shape[2:])
    reach = [int(own.max()) + 1 for own in taps]
    around = [n + pads[i] + pads[i + rank] for i, n in enumerate(x.shape[2:])]
    sizes = tuple((n - r) // s + 1 for n, r, s in zip(around, reach, strides, strict=True))
    return _Window(x, pads, strides, taps, sizes)


def _spread(x: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Put zeros between the positions: a transposed convolution is a plain one of that."""
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], strides, strict=True)]
    wide = x.new_zeros((*x.shape[:2], *sizes))
    steps = (1, 1, *strides)
    wide[tuple(slice(None, None, step) for step in steps)] = x
    return wide


def _transposed_pads(
    node: gs.Node,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    sizes: Sequence[int],
) -> tuple[int, ...]:
    """Return the pads of the plain convolution."""
    rank = len(kernel)
    extra = tuple(node.attrs.get("output_padding") or (0,) * rank)
    auto, wanted = node.attrs.get("auto_pad", "NOTSET"), node.attrs.get("output_shape")
    given = node.attrs.get("pads")
    cropped = transpose_pads(
        sizes, kernel, strides, dilations, extra, wanted, auto, tuple(given) if given else None
    )
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    begins = [r - p for r, p in zip(reach, cropped[:rank], strict=True)]
    ends = [r - p + e for r, p, e in zip(reach, cropped[rank:], extra, strict=True)]
    return (*begins, *ends)


def _patches(window: _Window, drawn: torch.Tensor | None) -> torch.Tensor:
    x, rank = F.pad(window.x, torch_pads(window.pads)), len(window.sizes)
    chosen = torch.arange(math.prod(window.sizes)) if drawn is None else drawn
    taps = torch.cartesian_prod(*window.taps).reshape(-1, rank)
    places = torch.stack(torch.unravel_index(chosen, window.sizes), dim=1)
    index: list[slice | torch.Tensor] = [slice(None), slice(None)]
    index += [
        (places[:, axis, None] * window.strides[axis] + taps[None, :, axis]).to(x.device)
        for axis in range(rank)
    ]
    found = x[tuple(index)]  # [examples, channels, positions, taps]
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
