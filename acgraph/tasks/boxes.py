"""Bounding boxes: their coordinate form, intersection over union (IoU), suppression, matching."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from acgraph.tasks.kinds import Array, Floats

#: Corners, or centre and size; ``encoded`` is any other form, such as offsets from anchors.
BoxForm = Literal["corners", "centre", "encoded"]
#: Among boxes of one class whose IoU exceeds this, non-maximum suppression keeps the best.
NMS_IOU = 0.45
#: Largest number of detections of an image.
MAX_BOXES = 300
#: Share of the boxes that must be valid in a form.
_NEARLY_ALL = 0.98


def box_form(boxes: Array) -> BoxForm:
    """Detect the form of boxes from their values.

    Args:
        boxes: ``[n, 4]``, boxes of the original's detections.
    """
    if not len(boxes):
        return "encoded"
    first, second = boxes[:, :2], boxes[:, 2:]
    is_corners = (second > first).all(axis=1)
    if is_corners.mean() >= _NEARLY_ALL:
        return "corners"
    # A centre lies inside the image, so its coordinates are positive.
    is_centre = ((second > 0) & (first > 0) & (first + second > 0)).all(axis=1)
    return "centre" if is_centre.mean() >= _NEARLY_ALL else "encoded"


def as_corners(boxes: Array, form: BoxForm) -> Floats:
    """Return boxes ``[n, 4]`` as left, top, right, bottom; encoded ones are not changed."""
    found = np.asarray(boxes, np.float64)
    if form != "centre":
        return found
    half = found[:, 2:] / 2
    return np.concatenate([found[:, :2] - half, found[:, :2] + half], axis=1)


def pairwise_iou(first: Floats, second: Floats) -> Floats:
    """Return the IoU ``[n, m]`` of all pairs of boxes ``[n, 4]`` and ``[m, 4]`` in corner form."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0))


def suppress_overlaps(
    boxes: Floats, scores: Floats, classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Apply non-maximum suppression for each class.

    Args:
        boxes: ``[n, 4]`` in corner form.
        scores: ``[n]``.
        classes: ``[n]``.

    Returns:
        Indices of the kept boxes, the highest score first.
    """
    order = np.argsort(-scores, kind="stable")[: 4 * MAX_BOXES]
    found: list[int] = []
    while len(order) and len(found) < MAX_BOXES:
        best = int(order[0])
        found.append(best)
        rest = order[1:]
        is_same = classes[rest] == classes[best]
        shared = pairwise_iou(boxes[best : best + 1], boxes[rest])[0]
        order = rest[~(is_same & (shared > NMS_IOU))]
    return np.array(found, np.int64)


def match_boxes(
    first: Floats, second: Floats, is_allowed: npt.NDArray[np.bool_], min_iou: float
) -> list[tuple[int, int]]:
    """Match boxes one to one, greedily by descending IoU.

    Args:
        first: ``[n, 4]`` in corner form.
        second: ``[m, 4]`` in corner form.
        is_allowed: Which pairs may match, ``[n, m]``.
        min_iou: Smallest IoU of a pair.

    Returns:
        Pairs of indices into ``first`` and ``second``.
    """
    shared = np.where(is_allowed, pairwise_iou(first, second), 0.0)
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for index in np.argsort(-shared, axis=None, kind="stable"):
        mine, other = divmod(int(index), max(len(second), 1))
        if shared[mine, other] < min_iou:
            break
        if mine not in taken[0] and other not in taken[1]:
            pairs.append((mine, other))
            taken[0].add(mine)
            taken[1].add(other)
    return pairs
