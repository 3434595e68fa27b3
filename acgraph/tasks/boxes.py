"""Boxes: how they are written, how far they overlap, and which of them stand for one object."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from acgraph.tasks.kinds import Array, Floats

#: Corners, or centre and size; ``encoded`` is anything that is no box by itself.
BoxForm = Literal["corners", "centre", "encoded"]
#: Boxes of one class that overlap by more than this are one detection.
SAME_OBJECT = 0.45
#: The most detections of an image that are looked at.
MAX_BOXES = 300
#: So many of the boxes must look like boxes.
_NEARLY_ALL = 0.98


def box_form(boxes: Array) -> BoxForm:
    """Tell how boxes are written, by what the original makes for what it finds.

    Args:
        boxes: ``[n, 4]``.
    """
    if not len(boxes):
        return "encoded"
    first, second = boxes[:, :2], boxes[:, 2:]
    is_corners = (second > first).all(axis=1)
    if is_corners.mean() >= _NEARLY_ALL:
        return "corners"
    # A centre lies in the image, so that no box ends far outside it.
    is_centre = ((second > 0) & (first > 0) & (first + second > 0)).all(axis=1)
    return "centre" if is_centre.mean() >= _NEARLY_ALL else "encoded"


def as_corners(boxes: Array, form: BoxForm) -> Floats:
    """Return boxes as left, top, right, bottom."""
    found = np.asarray(boxes, np.float64)
    if form != "centre":
        return found
    half = found[:, 2:] / 2
    return np.concatenate([found[:, :2] - half, found[:, :2] + half], axis=1)


def overlaps(first: Floats, second: Floats) -> Floats:
    """Return the intersection over union of all pairs, ``[n, m]``, of boxes given by corners."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0))


def keep_best(
    boxes: Floats, scores: Floats, classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return which boxes stay when others of their class that overlap score less, best first."""
    order = np.argsort(-scores, kind="stable")[: 4 * MAX_BOXES]
    found: list[int] = []
    while len(order) and len(found) < MAX_BOXES:
        best = int(order[0])
        found.append(best)
        rest = order[1:]
        is_same = classes[rest] == classes[best]
        shared = overlaps(boxes[best : best + 1], boxes[rest])[0]
        order = rest[~(is_same & (shared > SAME_OBJECT))]
    return np.array(found, np.int64)


def matches(
    first: Floats, second: Floats, is_allowed: npt.NDArray[np.bool_], least: float
) -> list[tuple[int, int]]:
    """Pair boxes one to one, the best overlap first.

    Args:
        first: ``[n, 4]`` by corners.
        second: ``[m, 4]``.
        is_allowed: Which pairs may be, ``[n, m]``.
        least: The least overlap.
    """
    shared = np.where(is_allowed, overlaps(first, second), 0.0)
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for place in np.argsort(-shared, axis=None, kind="stable"):
        mine, other = divmod(int(place), max(len(second), 1))
        if shared[mine, other] < least:
            break
        if mine not in taken[0] and other not in taken[1]:
            pairs.append((mine, other))
            taken[0].add(mine)
            taken[1].add(other)
    return pairs
