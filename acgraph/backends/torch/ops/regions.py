"""Operators that pool over regions of an image, or choose among them."""

import math

import torch

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

Tensor = torch.Tensor


def _max_roi_pool(node: NodeView) -> Kernel:
    rows, columns = node.ints("pooled_shape") or (1, 1)
    scale = node.real("spatial_scale", 1.0)

    def bins(first: float, last: float, count: int, size: int) -> list[slice]:
        begin, end = (math.floor(edge * scale + 0.5) for edge in (first, last))
        step = max(end - begin + 1, 1) / count
        starts = [math.floor(i * step) + begin for i in range(count)]
        ends = [math.ceil((i + 1) * step) + begin for i in range(count)]
        return [slice(max(a, 0), min(max(b, 0), size)) for a, b in zip(starts, ends, strict=True)]

    def pick(x: Tensor, roi: list[float]) -> Tensor:
        down = bins(roi[2], roi[4], rows, x.shape[2])
        across = bins(roi[1], roi[3], columns, x.shape[3])
        cells = [x[int(roi[0]), :, i, j] for i in down for j in across]
        found = [c.amax((1, 2)) if c.numel() else c.new_zeros(c.shape[0]) for c in cells]
        return torch.stack(found, 1).reshape(-1, rows, columns)

    return lambda x, rois: torch.stack([pick(x, roi) for roi in rois.tolist()])


TABLE: dict[str, Builder] = {"MaxRoiPool": _max_roi_pool}
