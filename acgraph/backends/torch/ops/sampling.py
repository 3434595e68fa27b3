"""Operators that sample an image at positions, or put patches back into one."""

import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

#: ONNX's names of how to interpolate, before and from opset 20, and PyTorch's.
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
        # PyTorch reflects and clips the points before it interpolates, ONNX Runtime each neighbour.
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


TABLE: dict[str, Builder] = {"Col2Im": _col2im, "GridSample": _grid_sample}
