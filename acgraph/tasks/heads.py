"""Outputs of detectors: heads that hold all, and boxes and scores that stand apart."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from acgraph.tasks.facts import ModelFacts, OutputFacts, Sizes
from acgraph.tasks.kinds import OutputTask, Part
from acgraph.tasks.seen import Seen

_BOXES = re.compile(r"box|(^|[^a-z])(loc|reg|dense_bbox)([^a-z]|$)", re.IGNORECASE)
_SCORES = re.compile(r"score|conf|cls|class|logit|prob", re.IGNORECASE)
#: Outputs that number the classes of detections: no scores, whatever else their name says.
_NUMBERS = re.compile(r"class(es)?([^a-z]|$)|label|ids?([^a-z]|$)", re.IGNORECASE)
#: Detectors look at every so many pixels; one or three anchors a place.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
_ANCHORS = (1, 3)
#: The most detections of an image where they were chosen already.
_CHOSEN = 1000
#: Columns of a head: a box, at least; whether there is anything, and a class.
_BOX, _HEAD, _WITH_OBJECTNESS = 4, 5, 6


@dataclass(frozen=True, slots=True)
class Place:
    """What of a detector an output holds, and why that is thought."""

    part: Part
    axis: int
    reason: str


def detector_parts(model: ModelFacts) -> dict[str, Place]:
    """Return which outputs are parts of a detector, by name."""
    found: dict[str, Place] = {}
    for facts in model.outputs:
        place = _head(facts, model)
        if place is not None:
            found[facts.name] = place
    for boxes in model.outputs:
        axis = _box_axis(boxes)
        if axis is None or boxes.name in found:
            continue
        for scores in model.outputs:
            other = _score_axis(scores, _positions(boxes, axis))
            if other == 1 and len(scores.shape or ()) == 2 and _NUMBERS.search(scores.name):
                continue  # which class each has
            if scores is boxes or other is None or scores.name in found:
                continue
            if _BOXES.search(boxes.name) and _SCORES.search(scores.name):
                why = (
                    f"boxes {boxes.name} and scores {scores.name} have the same number of positions"
                )
            elif scores.form in ("softmax", "sigmoid"):
                why = f"{boxes.name} has 4 numbers for each position of the scores {scores.name}"
            else:
                continue
            found[boxes.name] = Place("boxes", axis, why)
            found[scores.name] = Place("scores", other, why)
    return found


def as_part(seen: Seen, found: Mapping[str, Place]) -> OutputTask | None:
    """Return the task of an output of a detector, None where it is none."""
    place = found.get(seen.facts.name)
    if place is None:
        return None
    return seen.task("detection", place.reason, axis=place.axis, part=place.part)


def beside(seen: Seen, found: Mapping[str, Place]) -> OutputTask | None:
    """Return the task of an output with one number for each box, such as its class."""
    counts = [
        _positions(each, found[each.name].axis)
        for each in seen.model.outputs
        if each.name in found and found[each.name].part == "boxes"
    ]
    if len(seen.shape) != 2 or seen.shape[1] not in counts:
        return None
    return seen.task("imitate", "it has a number for each box")


def stated_part(seen: Seen, found: Mapping[str, Place]) -> OutputTask:
    """Return the task of an output that the user states to be of a detector."""
    if seen.facts.name in found:
        place = found[seen.facts.name]
        return seen.task("detection", "as stated", axis=place.axis, part=place.part)
    axis = _box_axis(seen.facts)
    if axis is not None:
        return seen.task("detection", "as stated", axis=axis, part="boxes")
    sizes = [size or 0 for size in seen.shape]
    if len(sizes) == 3 and min(sizes[1:]) >= _HEAD:
        axis = 1 if sizes[1] < sizes[2] else 2
        part: Part = "head" if axis == 1 else _columns_last(seen.facts, sizes[1], sizes[2])
        return seen.task("detection", "as stated", axis=axis, part=part)
    last = len(sizes) - 1 if sizes else None
    axis = seen.facts.channel_axis if seen.facts.channel_axis is not None else last
    return seen.task("detection", "as stated", axis=axis, part="scores")


def by_values(seen: Seen) -> OutputTask | None:
    """Recognise a head by its values alone: coordinates beside probabilities."""
    values = seen.values
    if values is None or values.ndim != 3 or values.dtype.kind != "f":
        return None
    axis = 1 if values.shape[1] < values.shape[2] else 2
    table = np.moveaxis(values, axis, -1)
    columns, anchors = table.shape[-1], table.shape[1]
    if columns < _HEAD or anchors <= columns:
        return None
    scores = table[..., _BOX:]
    are_scores = scores.min() >= 0 and scores.max() <= 1
    if not (are_scores and table[..., :_BOX].max() > 1):
        return None
    part: Part = "head" if axis == 1 else "objectness head"
    if part == "objectness head" and columns < _WITH_OBJECTNESS:
        return None
    return seen.task(
        "detection", "it has 4 coordinates and scores for each position", axis=axis, part=part
    )


def _head(facts: OutputFacts, model: ModelFacts) -> Place | None:
    """Recognise ``[N, 4 + classes, anchors]`` and ``[N, anchors, 5 + classes]``."""
    sizes = facts.shape
    if not facts.is_float or sizes is None or len(sizes) != 3 or None in sizes[1:]:
        return None
    first, second = (size or 0 for size in sizes[1:])
    is_first = first < second
    columns, anchors = min(first, second), max(first, second)
    if columns < _HEAD:
        return None
    forms = {form for form, _ in facts.joined}
    is_joined = "sigmoid" in forms and len(forms) > 1
    is_grid = anchors in grid_sizes(model)
    if not is_joined and not is_grid:
        return None
    if is_grid:
        why = f"its {anchors} positions with {columns} numbers each are those of a detector"
    else:
        why = f"it joins coordinates and sigmoids for {anchors} positions"
    if is_first:
        return Place("head", 1, why)
    return Place(_columns_last(facts, anchors, columns), 2, why)


def _columns_last(facts: OutputFacts, anchors: int, columns: int) -> Part:
    is_joined = bool(facts.joined)
    if is_joined and facts.joined == (("logits", _BOX), ("sigmoid", columns - _BOX)):
        return "head"
    if columns == _WITH_OBJECTNESS and anchors <= _CHOSEN and not is_joined:
        return "final"
    return "objectness head" if columns >= _WITH_OBJECTNESS else "head"


def grid_sizes(model: ModelFacts) -> frozenset[int]:
    """Return how many anchors a detector has for the images of a network."""
    sizes = model.image_sizes()
    if sizes is None:
        return frozenset()
    height, width = sizes
    return frozenset(
        anchors * sum(ceil(height / step) * ceil(width / step) for step in strides)
        for strides in _STRIDES
        for anchors in _ANCHORS
    )


def _positions(facts: OutputFacts, axis: int) -> int:
    """Return how many positions an output has, 0 where that is not known."""
    rest: Sizes = [s for place, s in enumerate(facts.shape or ()) if place not in (0, axis)]  # type: ignore[assignment]
    return 0 if None in rest else prod(size for size in rest if size is not None)


def _box_axis(facts: OutputFacts) -> int | None:
    """Return where 4 numbers a position lie; None where that is nowhere, or there is one place."""
    shape = facts.shape
    if shape is None or len(shape) not in (3, 4) or not facts.is_float:
        return None
    for axis in (len(shape) - 1, 1):
        if shape[axis] == _BOX and _positions(facts, axis) > 1:
            return axis
    return None


def _score_axis(facts: OutputFacts, positions: int) -> int | None:
    """Return where the classes of scores lie that have so many positions; None where they do not.

    A softmax or the last layer says which axis it is; otherwise it is the last that fits. Scores
    ``[N, positions]`` are of one class, and their axis is that of the positions.
    """
    shape = facts.shape
    if shape is None or len(shape) not in (2, 3, 4) or not facts.is_float or not positions:
        return None
    if len(shape) == 2:
        return 1 if shape[1] == positions else None
    places = [facts.form_axis, facts.channel_axis, len(shape) - 1, 1]
    for axis in places:
        if axis is not None and axis > 0 and _positions(facts, axis) == positions:
            return axis
    return None
