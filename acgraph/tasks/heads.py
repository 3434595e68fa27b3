"""Recognise the outputs of detectors: combined heads, or separate boxes and scores."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from acgraph.tasks.evidence import OutputEvidence
from acgraph.tasks.facts import ModelFacts, OutputFacts, Sizes
from acgraph.tasks.kinds import OutputTask, Part

_BOXES = re.compile(r"box|(^|[^a-z])(loc|reg|dense_bbox)([^a-z]|$)", re.IGNORECASE)
_SCORES = re.compile(r"score|conf|cls|class|logit|prob", re.IGNORECASE)
#: Names of outputs with the class number of each detection, which are not scores.
_CLASS_NUMBERS = re.compile(r"class(es)?([^a-z]|$)|label|ids?([^a-z]|$)", re.IGNORECASE)
#: Strides in pixels of the grids of common detectors, and numbers of anchors at a grid position.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
_ANCHORS = (1, 3)
#: Largest number of detections of an image after non-maximum suppression.
_MAX_FINAL = 1000
#: Numbers of columns: a box; a box and a class; a box, an objectness and a class.
_BOX, _HEAD, _WITH_OBJECTNESS = 4, 5, 6


@dataclass(frozen=True, slots=True)
class DetectorPart:
    """The part of a detector that an output contains.

    Attributes:
        part: The part.
        axis: The axis of the columns, or of the classes.
        reason: Why the output was recognised, as part of a sentence.
    """

    part: Part
    axis: int
    reason: str


def detector_parts(model: ModelFacts) -> dict[str, DetectorPart]:
    """Return the outputs that are parts of a detector, by name."""
    found: dict[str, DetectorPart] = {}
    for facts in model.outputs:
        part = _head(facts, model)
        if part is not None:
            found[facts.name] = part
    for boxes in model.outputs:
        axis = _box_axis(boxes)
        if axis is None or boxes.name in found:
            continue
        for scores in model.outputs:
            other = _score_axis(scores, _positions(boxes, axis))
            if other == 1 and len(scores.shape or ()) == 2 and _CLASS_NUMBERS.search(scores.name):
                continue
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
            found[boxes.name] = DetectorPart("boxes", axis, why)
            found[scores.name] = DetectorPart("scores", other, why)
    return found


def as_part(output: OutputEvidence, found: Mapping[str, DetectorPart]) -> OutputTask | None:
    """Return the task of an output that is part of a detector; None for other outputs."""
    known = found.get(output.facts.name)
    if known is None:
        return None
    return output.task("detection", known.reason, axis=known.axis, part=known.part)


def per_box_value(output: OutputEvidence, found: Mapping[str, DetectorPart]) -> OutputTask | None:
    """Return the task of an output with one number for each box, such as its class number."""
    counts = [
        _positions(each, found[each.name].axis)
        for each in output.model.outputs
        if each.name in found and found[each.name].part == "boxes"
    ]
    if len(output.shape) != 2 or output.shape[1] not in counts:
        return None
    return output.task("imitate", "it has a number for each box")


def stated_part(output: OutputEvidence, found: Mapping[str, DetectorPart]) -> OutputTask:
    """Return the task of an output that the user set to ``detection``."""
    if output.facts.name in found:
        known = found[output.facts.name]
        return output.task("detection", "as stated", axis=known.axis, part=known.part)
    axis = _box_axis(output.facts)
    if axis is not None:
        return output.task("detection", "as stated", axis=axis, part="boxes")
    sizes = [size or 0 for size in output.shape]
    if len(sizes) == 3 and min(sizes[1:]) >= _HEAD:
        axis = 1 if sizes[1] < sizes[2] else 2
        part: Part = "head" if axis == 1 else _columns_last(output.facts, sizes[1], sizes[2])
        return output.task("detection", "as stated", axis=axis, part=part)
    last = len(sizes) - 1 if sizes else None
    axis = output.facts.channel_axis if output.facts.channel_axis is not None else last
    return output.task("detection", "as stated", axis=axis, part="scores")


def by_values(output: OutputEvidence) -> OutputTask | None:
    """Recognise a combined head from its values: coordinates above 1, followed by probabilities."""
    values = output.values
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
    return output.task(
        "detection", "it has 4 coordinates and scores for each position", axis=axis, part=part
    )


def _head(facts: OutputFacts, model: ModelFacts) -> DetectorPart | None:
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
        return DetectorPart("head", 1, why)
    return DetectorPart(_columns_last(facts, anchors, columns), 2, why)


def _columns_last(facts: OutputFacts, anchors: int, columns: int) -> Part:
    is_joined = bool(facts.joined)
    if is_joined and facts.joined == (("logits", _BOX), ("sigmoid", columns - _BOX)):
        return "head"
    if columns == _WITH_OBJECTNESS and anchors <= _MAX_FINAL and not is_joined:
        return "final"
    return "objectness head" if columns >= _WITH_OBJECTNESS else "head"


def grid_sizes(model: ModelFacts) -> frozenset[int]:
    """Return the numbers of anchors that common detectors have for the network's image size."""
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
    """Return the number of positions of an output; 0 if it is unknown."""
    rest: Sizes = [s for index, s in enumerate(facts.shape or ()) if index not in (0, axis)]  # type: ignore[assignment]
    return 0 if None in rest else prod(size for size in rest if size is not None)


def _box_axis(facts: OutputFacts) -> int | None:
    """Return the axis of boxes, of size 4; None if there is none, or only one position."""
    shape = facts.shape
    if shape is None or len(shape) not in (3, 4) or not facts.is_float:
        return None
    for axis in (len(shape) - 1, 1):
        if shape[axis] == _BOX and _positions(facts, axis) > 1:
            return axis
    return None


def _score_axis(facts: OutputFacts, positions: int) -> int | None:
    """Return the class axis of scores for this number of positions; None if there is none.

    It is the axis of the softmax, else that of the last layer's filters, else the last axis that
    fits. Scores ``[N, positions]`` are of one class; their axis is that of the positions.
    """
    shape = facts.shape
    if shape is None or len(shape) not in (2, 3, 4) or not facts.is_float or not positions:
        return None
    if len(shape) == 2:
        return 1 if shape[1] == positions else None
    candidates = [facts.form_axis, facts.channel_axis, len(shape) - 1, 1]
    for axis in candidates:
        if axis is not None and axis > 0 and _positions(facts, axis) == positions:
            return axis
    return None
