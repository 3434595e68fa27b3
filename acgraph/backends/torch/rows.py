"""The rows that a layer multiplies with its weight matrix, and its outputs, at random positions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs
import torch
import torch.nn.functional as F

from acgraph.analysis.layers import Layer
from acgraph.backends.torch.ops.conv import same_pads, torch_pads, transpose_pads


def sample_rows(
    x: torch.Tensor, node: gs.Node, layer: Layer, generator: torch.Generator, positions: int
) -> torch.Tensor | None:
    """Sample the rows to use.

    Args:
        x: Input of the layer.
        node: The layer's node.
        layer: The layer.
        generator: Random generator.
        positions: Largest number of output positions of each example.

    Returns:
        Indices: for a convolution those of output positions, which are the same for all examples,
        for other layers those of rows. None uses all rows.
    """
    if layer.kernel:
        total = math.prod(_window(x, node, layer).sizes)
        return torch.randperm(total, generator=generator)[:positions]
    count, most = x.numel() // max(_width(x, node), 1), positions * max(1, x.shape[0])
    if count <= most:
        return None
    return torch.randperm(count, generator=generator)[:most]


def columns_at(
    x: torch.Tensor, node: gs.Node, layer: Layer, sampled: torch.Tensor | None
) -> torch.Tensor:
    """Return the rows that a layer multiplies with its weight: ``[samples, groups * columns]``."""
    x = x.to(torch.float32)
    if layer.kernel:
        return _patches(_window(x, node, layer), sampled)
    if node.op == "Gemm" and node.attrs.get("transA", 0):
        x = x.T
    rows = x.reshape(-1, x.shape[-1])
    return rows if sampled is None else rows[sampled.to(rows.device)]


def outputs_at(y: torch.Tensor, layer: Layer, sampled: torch.Tensor | None) -> torch.Tensor:
    """Return the outputs of a layer for these rows: ``[samples, filters]``."""
    if layer.kernel:
        flat = y.flatten(2)
        if sampled is not None:
            flat = flat[:, :, sampled.to(flat.device)]
        return flat.permute(0, 2, 1).reshape(-1, y.shape[1])
    rows = y.reshape(-1, y.shape[-1])
    return rows if sampled is None else rows[sampled.to(rows.device)]


def _width(x: torch.Tensor, node: gs.Node) -> int:
    is_turned = node.op == "Gemm" and node.attrs.get("transA", 0)
    return int(x.shape[0] if is_turned else x.shape[-1])


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """The geometry of a convolution over its padded input.

    Attributes:
        x: The input.
        pads: Padding at the start of each axis, then at the end of each.
        strides: Strides of the kernel.
        taps: For each axis, the offsets of the kernel's weights.
        sizes: Spatial sizes of the output.
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
    """Insert zeros between the positions, which turns a transposed convolution into a plain one."""
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
    """Return the pads of the equivalent plain convolution."""
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


def _patches(window: _Window, sampled: torch.Tensor | None) -> torch.Tensor:
    x, rank = F.pad(window.x, torch_pads(window.pads)), len(window.sizes)
    chosen = torch.arange(math.prod(window.sizes)) if sampled is None else sampled
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
