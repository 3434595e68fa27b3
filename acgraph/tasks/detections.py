"""Agreement of detections with the original, for ``detection``."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from acgraph.diagnostics import counted
from acgraph.tasks.boxes import BoxForm, as_corners, box_form, match_boxes, suppress_overlaps
from acgraph.tasks.kinds import Array, Floats, OutputTask
from acgraph.tasks.metrics import ExplainedVariance, percent
from acgraph.tasks.scores import are_probabilities, sigmoid, softmax

#: Smallest score of a detection.
THRESHOLD = 0.25
#: Smallest IoU of two boxes that count as the same detection.
MIN_IOU = 0.5
#: A first or last class with a larger mean probability than this is the background.
_BACKGROUND_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of a detector for a batch: boxes and scores of all anchors.

    Attributes:
        boxes: ``[N, anchors, 4]``; None if the outputs contain only scores.
        scores: Probabilities ``[N, anchors, classes]``, without the background.
    """

    boxes: Floats | None
    scores: Floats


@dataclass(slots=True)
class DetectorReader:
    """Reads boxes and scores from the outputs of one detector.

    The first batch, which must be of the original, determines whether scores are raw and which
    class is the background.

    Attributes:
        tasks: The tasks of the detector's outputs, in the order in which outputs are passed.
    """

    tasks: Sequence[OutputTask]
    _is_raw: bool | None = None
    _is_softmax: bool = False
    _background: int | None = None
    _is_read: bool = False

    def read(self, outputs: Sequence[Array]) -> Predictions:
        """Return the boxes and the scores of a batch.

        Raises:
            ValueError: No output contains scores.
        """
        boxes: Array | None = None
        scores: Array | None = None
        for task, output in zip(self.tasks, outputs, strict=True):
            table = by_anchor(output, task.axis)
            if task.part == "boxes":
                boxes = table
            elif task.part == "scores":
                scores = table if scores is None else np.concatenate([scores, table], axis=2)
            elif task.part == "final":
                return _from_final(table)
            else:
                boxes, scores = table[..., :4], table[..., 4:]
        if scores is None:
            raise ValueError("a detector without scores")
        found = None if boxes is None else np.asarray(boxes, np.float64)
        return Predictions(found, self._as_probabilities(scores))

    def _as_probabilities(self, scores: Array) -> Floats:
        if not self._is_read:
            self._detect_format(scores)
        values = np.asarray(scores, np.float64)
        if self._is_raw:
            values = softmax(values) if self._is_softmax else sigmoid(values)
        if any(task.part == "objectness head" for task in self.tasks) and values.shape[-1] > 1:
            return np.asarray(values[..., :1] * values[..., 1:])
        if self._background is not None:
            values = np.delete(values, self._background, axis=-1)
        return values

    def _detect_format(self, scores: Array) -> None:
        self._is_read = True
        self._is_raw = bool(scores.min() < 0 or scores.max() > 1)
        shares = softmax(scores) if self._is_raw else np.asarray(scores, np.float64)
        if scores.shape[-1] < 2 or not (self._is_raw or are_probabilities(scores, -1)):
            return
        means = shares.reshape(-1, shares.shape[-1]).mean(axis=0)
        ends = {0: float(means[0]), len(means) - 1: float(means[-1])}
        index = max(ends, key=lambda end: ends[end])
        self._is_softmax = ends[index] > _BACKGROUND_SHARE or not self._is_raw
        if ends[index] > _BACKGROUND_SHARE:
            self._background = index


def by_anchor(output: Array, axis: int | None) -> Array:
    """Reshape an output to ``[N, anchors, columns]``; ``[N, anchors]`` becomes a single column.

    Args:
        output: The output.
        axis: The axis of the columns; None stands for the last one.
    """
    if output.ndim == 2:
        return output[..., None]
    last = output.ndim - 1 if axis is None else axis
    moved = np.moveaxis(output, last, -1)
    return moved.reshape(len(moved), -1, moved.shape[-1])


def _from_final(table: Array) -> Predictions:
    """Read detections after suppression, ``[N, detections, 6]``: corners, score, class."""
    classes = np.round(np.nan_to_num(table[..., 5])).astype(np.int64)
    count = int(max(classes.max(initial=0), 0)) + 1
    scores = np.zeros((*classes.shape, count))
    np.put_along_axis(scores, np.clip(classes, 0, None)[..., None], table[..., 4:5], axis=-1)
    return Predictions(np.asarray(table[..., :4], np.float64), scores)


@dataclass(frozen=True, slots=True)
class Detections:
    """Detections of one image.

    Attributes:
        boxes: ``[n, 4]``.
        classes: ``[n]``.
        scores: ``[n]``.
        anchors: Index of the anchor of each detection, ``[n]``.
    """

    boxes: Floats
    classes: npt.NDArray[np.int64]
    scores: Floats
    anchors: npt.NDArray[np.int64]


def detections_in(
    boxes: Floats | None, scores: Floats, form: BoxForm, min_score: float = THRESHOLD
) -> Detections:
    """Return the detections of one image, after suppression unless the boxes are encoded.

    Args:
        boxes: ``[anchors, 4]``; None if the outputs contain only scores.
        scores: Probabilities ``[anchors, classes]``.
        form: The form of the boxes.
        min_score: Smallest score of a detection.
    """
    best = np.nan_to_num(scores).max(axis=1)
    anchors = np.flatnonzero(best >= min_score)
    classes = np.nan_to_num(scores)[anchors].argmax(axis=1)
    mine = np.zeros((len(anchors), 4)) if boxes is None else as_corners(boxes[anchors], form)
    if form != "encoded":
        kept = suppress_overlaps(mine, best[anchors], classes)
        mine, classes, anchors = mine[kept], classes[kept], anchors[kept]
    return Detections(mine, classes, best[anchors], anchors)


@dataclass(slots=True)
class DetectionsKept:
    """``detection``: F1 of the network's detections against the original's.

    Detections are matched by class and IoU. If the boxes are relative to anchors, which the outputs
    do not contain, detections are matched by anchor and class, and the value is the mean of F1 and
    of the explained variance of these anchors' boxes. If the original detects nothing, the value is
    the explained variance of all outputs.

    Attributes:
        tasks: The tasks of the detector's outputs, in the order in which outputs are passed.
    """

    tasks: Sequence[OutputTask]
    _reader: DetectorReader = field(init=False)
    _form: BoxForm | None = None
    _theirs: int = 0
    _ours: int = 0
    _kept: int = 0
    _explained: list[ExplainedVariance] = field(init=False)
    _at_anchors: ExplainedVariance = field(init=False)

    def __post_init__(self) -> None:
        self._reader = DetectorReader(self.tasks)
        self._explained = [ExplainedVariance(task.axis) for task in self.tasks]
        self._at_anchors = ExplainedVariance(1)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add the outputs of the network and of the original for a batch."""
        reference = self._reader.read(theirs)
        predictions = self._reader.read(ours)
        self._detect_form(reference)
        form = self.form
        for index in range(len(reference.scores)):
            boxes = [None if e.boxes is None else e.boxes[index] for e in (predictions, reference)]
            mine = detections_in(boxes[0], predictions.scores[index], form)
            other = detections_in(boxes[1], reference.scores[index], form)
            self._theirs += len(other.classes)
            self._ours += len(mine.classes)
            self._kept += self._count_matches(mine, other, form)
            at = other.anchors
            if form == "encoded" and boxes[0] is not None and boxes[1] is not None and len(at):
                self._at_anchors.add([boxes[0][at]], [boxes[1][at]])
        if not self._theirs:
            for entry, out, original in zip(self._explained, ours, theirs, strict=True):
                entry.add([out], [original])

    def _detect_form(self, reference: Predictions) -> None:
        """Determine the form of the boxes from the original's first detections."""
        if self._form is not None or reference.boxes is None:
            return
        is_found = reference.scores.max(axis=2) >= THRESHOLD
        if is_found.any():
            self._form = box_form(reference.boxes[is_found])

    def _count_matches(self, mine: Detections, other: Detections, form: BoxForm) -> int:
        if form == "encoded":
            first, second = (
                set(zip(each.anchors.tolist(), each.classes.tolist(), strict=True))
                for each in (mine, other)
            )
            return len(first & second)
        is_same = mine.classes[:, None] == other.classes[None, :]
        return len(match_boxes(mine.boxes, other.boxes, is_same, MIN_IOU))

    def learn(self, theirs: Sequence[Array]) -> None:
        """Determine the form of the boxes from outputs of the original, without counting them."""
        self._detect_form(self._reader.read(theirs))

    @property
    def form(self) -> BoxForm:
        """The form of the boxes; ``encoded`` until the original detected something."""
        return self._form or "encoded"

    @property
    def kept(self) -> float:
        """Share of the original's detections that the network makes, too (recall)."""
        return self._kept / max(self._theirs, 1)

    @property
    def new(self) -> float:
        """Number of new detections, divided by the number of the original's detections."""
        return (self._ours - self._kept) / max(self._theirs, 1)

    @property
    def value(self) -> float:
        """From 0 to 1, as the class describes."""
        if not self._theirs:
            return float(np.mean([entry.value for entry in self._explained]))
        score = 2 * self._kept / (self._theirs + self._ours)
        if self._form == "encoded" and self._has_boxes:
            return (score + self._at_anchors.value) / 2
        return score

    @property
    def _has_boxes(self) -> bool:
        return any(task.part != "scores" for task in self.tasks)

    @property
    def text(self) -> str:
        """The result as text."""
        if not self._theirs:
            value = percent(self.value)
            return (
                f"the original detects nothing above {THRESHOLD:g} in these examples; {value} "
                "of its variance explained"
            )
        how = f"IoU {MIN_IOU:g}"
        if self.form == "encoded":
            how = "matched by anchor and class, because boxes are relative to anchors"
            how = how if self._has_boxes else "matched by position and class"
        theirs = counted(self._theirs, "detection")
        return (
            f"{percent(self.kept)} of {theirs} above {THRESHOLD:g} kept, "
            f"{percent(self.new)} new ({how})"
        )

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers in ``text``, by name."""
        if not self._theirs:
            return {"explained variance": self.value}
        return {"detections kept": self.kept, "new detections": self.new}
