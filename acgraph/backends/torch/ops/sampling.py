"""GridSample, DeformConv and Col2Im."""

from typing import Any

import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

Tensor = torch.Tensor

#: PyTorch's interpolation modes, by the names in ONNX before and since opset 20.
_MODES = {
    "bilinear": "bilinear",
    "linear": "bilinear",
    "bicubic": "bicubic",
    "cubic": "bicubic",
    "nearest": "nearest",
}


def _grid_sample(node: NodeView) -> Kernel:
    mode, padding = _MODES[node.text("mode", "bilinear")], node.text("padding_mode", "zeros")
    corners = bool(node.integer("align_corners", 0))
    if mode == "bicubic" and padding != "zeros" and not corners:
        # PyTorch reflects and clips the sampling point, ONNX Runtime each neighbour of it.
        raise node.unsupported(f"cubic GridSample with padding '{padding}'")

    def sample(x: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        return F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=corners)

    return sample


def _col2im(node: NodeView) -> Kernel:
    size, block = node.ints_input(1), node.ints_input(2)
    pads = node.ints("pads") or (0, 0, 0, 0)
    strides, dilations = node.ints("strides") or (1, 1), node.ints("dilations") or (1, 1)
    half = len(pads) // 2
    if half != 2 or len(strides) != 2 or pads[:half] != pads[half:]:
        raise node.unsupported("Col2Im of other than two axes, or with unequal padding")

    def fold(x: torch.Tensor, *given: torch.Tensor | None) -> torch.Tensor:
        image, patch = size(given[0] if given else None), block(given[1] if given[1:] else None)
        return F.fold(x, tuple(image), tuple(patch), dilations, pads[:half], strides)

    return fold


def _deform_conv(node: NodeView) -> Kernel:
    groups, parts = node.integer("group", 1), node.integer("offset_group", 1)
    strides, dilations = node.ints("strides") or (1, 1), node.ints("dilations") or (1, 1)
    pads = node.ints("pads") or (0, 0, 0, 0)

    def conv(x: Tensor, w: Tensor, moves: Tensor, b: Any = None, mask: Any = None) -> Tensor:
        sizes, taps, out = x.shape[2:], w.shape[2:], moves.shape[2:]
        moved = moves.reshape(len(x) * parts, *taps, 2, *out)
        places = []
        for k in (1, 0):  # grid_sample has x before y, in coordinates from -1 to 1
            tap = torch.arange(taps[k], device=x.device) * dilations[k]
            start = torch.arange(out[k], device=x.device) * strides[k] - pads[k]
            at = (tap[:, None] + start).reshape(
                (-1, 1, out[0], 1) if k == 0 else (1, -1, 1, out[1])
            )
            places.append((2 * (at + moved[:, :, :, k]) + 1) / sizes[k] - 1)
        grid = torch.stack(places, -1).reshape(len(moved), taps.numel(), out.numel(), 2)
        images = x.reshape(len(moved), -1, *sizes)
        sampled = F.grid_sample(images, grid, align_corners=False)
        if mask is not None:
            sampled = sampled * mask.reshape(len(moved), 1, *sampled.shape[2:])
        columns = sampled.reshape(len(x), groups, -1, out.numel())
        made = (w.reshape(groups, -1, columns.shape[2]) @ columns).reshape(len(x), -1, *out)
        return made if b is None else made + b[:, None, None]

    return conv


TABLE: dict[str, Builder] = {
    "Col2Im": _col2im,
    "DeformConv": _deform_conv,
    "GridSample": _grid_sample,
}
