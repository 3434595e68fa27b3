"""RoI pooling and non-maximum suppression."""

import math
from typing import Any

import torch
import torch.nn.functional as F

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


def _roi_align(node: NodeView) -> Kernel:
    if node.text("mode", "avg") != "avg":
        raise node.unsupported("RoiAlign in mode max")
    counts = node.integer("output_height", 1), node.integer("output_width", 1)
    ratio, scale = node.integer("sampling_ratio", 0), node.real("spatial_scale", 1.0)
    whole = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    half = 0.5 if node.text("coordinate_transformation_mode", whole) == "half_pixel" else 0.0

    def points(first: float, last: float, count: int) -> tuple[Tensor, int]:
        begin = first * scale - half
        length = last * scale - half - begin
        length = length if half else max(length, 1.0)
        each = ratio or max(math.ceil(length / count), 1)
        return begin + (torch.arange(count * each) + 0.5) * (length / (count * each)), each

    def pick(x: Tensor, roi: list[float]) -> Tensor:
        down, rows = points(roi[1], roi[3], counts[0])
        across, columns = points(roi[0], roi[2], counts[1])
        grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1).to(x)
        size = grid.new_tensor(x.shape[:0:-1])
        inside = ((grid >= -1) & (grid <= size)).all(-1)
        where = (2 * grid + 1) / size - 1
        sampled = F.grid_sample(x[None], where[None], padding_mode="border", align_corners=False)
        return F.avg_pool2d(sampled * inside, (rows, columns))[0]

    def align(x: Tensor, rois: Tensor, images: Tensor) -> Tensor:
        places = zip(rois.tolist(), images.tolist(), strict=True)
        found = [pick(x[image], roi) for roi, image in places]
        return torch.stack(found) if found else x.new_zeros((0, x.shape[1], *counts))

    return align


def _non_max_suppression(node: NodeView) -> Kernel:
    centred = bool(node.integer("center_point_box", 0))

    def corners(boxes: Tensor) -> Tensor:
        if centred:
            middle, half = boxes[..., :2], boxes[..., 2:] / 2
            return torch.cat([middle - half, middle + half], -1)
        first, second = boxes[..., :2], boxes[..., 2:]
        return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], -1)

    def suppress(
        boxes: Tensor, scores: Tensor, most: Any = None, overlap: Any = None, least: Any = None
    ) -> Tensor:
        limit = 0 if most is None else int(most)
        iou, low = (0.0 if overlap is None else float(overlap)), least
        found = [
            (image, kind, place)
            for image, placed in enumerate(corners(boxes))
            for kind, each in enumerate(scores[image])
            for place in _best(placed, each, limit, iou, None if low is None else float(low))
        ]
        return torch.tensor(found, dtype=torch.int64, device=boxes.device).reshape(-1, 3)

    return suppress


def _best(boxes: Tensor, scores: Tensor, limit: int, iou: float, least: float | None) -> list[int]:
    """Return the indices of boxes by descending score, without those that overlap a better one."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    free = torch.ones_like(scores, dtype=torch.bool) if least is None else scores > least
    taken: list[int] = []
    for place in scores.argsort(descending=True, stable=True).tolist():
        if len(taken) == limit:
            break
        if not free[place]:
            continue
        taken.append(place)
        low = torch.maximum(boxes[:, :2], boxes[place, :2])
        high = torch.minimum(boxes[:, 2:], boxes[place, 2:])
        common = (high - low).clamp_min(0).prod(1)
        free &= common <= iou * (area + area[place] - common)
    return taken


TABLE: dict[str, Builder] = {
    "MaxRoiPool": _max_roi_pool,
    "NonMaxSuppression": _non_max_suppression,
    "RoiAlign": _roi_align,
}
