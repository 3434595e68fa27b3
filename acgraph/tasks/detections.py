"""``detection``: which of the original's detections stay, and which are new."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from acgraph.tasks.boxes import BoxForm, as_corners, box_form, keep_best, matches
from acgraph.tasks.figures import Explained, percent
from acgraph.tasks.kinds import Array, Floats, OutputTask
from acgraph.tasks.scores import are_shares, sigmoid, softmax

#: Scores from here on are detections.
THRESHOLD = 0.25
#: Boxes that overlap by so much are the same detection.
MIN_OVERLAP = 0.5
#: Share of anchors that a class has where it stands for the background.
_MOSTLY = 0.5


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a detector says of a batch.

    Attributes:
        boxes: ``[N, anchors, 4]`` or None, where scores stand alone.
        scores: Probabilities ``[N, anchors, classes]``.
    """

    boxes: Floats | None
    scores: Floats


@dataclass(slots=True)
class Reader:
    """Reads the outputs of one detector; how they are stated is learnt from the original's first.

    Attributes:
        tasks: Of its outputs, in the order in which they are given.
    """

    tasks: Sequence[OutputTask]
    _is_raw: bool | None = None
    _is_softmax: bool = False
    _background: int | None = None
    _is_read: bool = False

    def read(self, outputs: Sequence[Array]) -> Candidates:
        """Return boxes and scores."""
        boxes: Array | None = None
        scores: Array | None = None
        for task, output in zip(self.tasks, outputs, strict=True):
            table = by_anchor(output, task.axis)
            if task.part == "boxes":
                boxes = table
            elif task.part == "scores":
                scores = table if scores is None else np.concatenate([scores, table], axis=2)
            elif task.part == "final":
                return _chosen(table)
            else:
                boxes, scores = table[..., :4], table[..., 4:]
        if scores is None:
            raise ValueError("a detector without scores")
        found = None if boxes is None else np.asarray(boxes, np.float64)
        return Candidates(found, self._as_probabilities(scores))

    def _as_probabilities(self, scores: Array) -> Floats:
        if not self._is_read:
            self._learn(scores)
        values = np.asarray(scores, np.float64)
        if self._is_raw:
            values = softmax(values) if self._is_softmax else sigmoid(values)
        if any(task.part == "objectness head" for task in self.tasks) and values.shape[-1] > 1:
            return np.asarray(values[..., :1] * values[..., 1:])
        if self._background is not None:
            values = np.delete(values, self._background, axis=-1)
        return values

    def _learn(self, scores: Array) -> None:
        self._is_read = True
        self._is_raw = bool(scores.min() < 0 or scores.max() > 1)
        shares = softmax(scores) if self._is_raw else np.asarray(scores, np.float64)
        if scores.shape[-1] < 2 or not (self._is_raw or are_shares(scores, -1)):
            return
        means = shares.reshape(-1, shares.shape[-1]).mean(axis=0)
        ends = {0: float(means[0]), len(means) - 1: float(means[-1])}
        place = max(ends, key=lambda end: ends[end])
        self._is_softmax = ends[place] > _MOSTLY or not self._is_raw
        if ends[place] > _MOSTLY:
            self._background = place


def by_anchor(output: Array, axis: int | None) -> Array:
    """Lay an output out as ``[N, anchors, columns]``; ``[N, anchors]`` is a single column."""
    if output.ndim == 2:
        return output[..., None]
    last = output.ndim - 1 if axis is None else axis
    moved = np.moveaxis(output, last, -1)
    return moved.reshape(len(moved), -1, moved.shape[-1])


def _chosen(table: Array) -> Candidates:
    """Read ``[N, detections, 6]``: corners, score, class."""
    classes = np.round(np.nan_to_num(table[..., 5])).astype(np.int64)
    count = int(max(classes.max(initial=0), 0)) + 1
    scores = np.zeros((*classes.shape, count))
    np.put_along_axis(scores, np.clip(classes, 0, None)[..., None], table[..., 4:5], axis=-1)
    return Candidates(np.asarray(table[..., :4], np.float64), scores)


@dataclass(frozen=True, slots=True)
class Found:
    """Detections of one image.

    Attributes:
        boxes: ``[n, 4]``.
        classes: ``[n]``.
        scores: ``[n]``.
        anchors: Which anchor each came from, ``[n]``.
    """

    boxes: Floats
    classes: npt.NDArray[np.int64]
    scores: Floats
    anchors: npt.NDArray[np.int64]


def found_in(
    boxes: Floats | None, scores: Floats, form: BoxForm, least: float = THRESHOLD
) -> Found:
    """Return the detections of one image; boxes that can be read are thinned out by overlap."""
    best = np.nan_to_num(scores).max(axis=1)
    anchors = np.flatnonzero(best >= least)
    classes = np.nan_to_num(scores)[anchors].argmax(axis=1)
    mine = np.zeros((len(anchors), 4)) if boxes is None else as_corners(boxes[anchors], form)
    if form != "encoded":
        kept = keep_best(mine, best[anchors], classes)
        mine, classes, anchors = mine[kept], classes[kept], anchors[kept]
    return Found(mine, classes, best[anchors], anchors)


@dataclass(slots=True)
class DetectionsKept:
    """Share of the original's detections that stay, and of new ones; the value is their F1.

    Boxes that can be read from the outputs are matched by class and IoU. Where they cannot, because
    their coordinates are relative to anchors, a detection is an anchor with its class, and the
    value is the mean of F1 and of the explained variance of these anchors' boxes.
    """

    tasks: Sequence[OutputTask]
    _reader: Reader = field(init=False)
    _form: BoxForm | None = None
    _theirs: int = 0
    _ours: int = 0
    _kept: int = 0
    _explained: list[Explained] = field(init=False)
    _at_anchors: Explained = field(init=False)

    def __post_init__(self) -> None:
        self._reader = Reader(self.tasks)
        self._explained = [Explained(task.axis) for task in self.tasks]
        self._at_anchors = Explained(1)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch."""
        reference = self._reader.read(theirs)
        mine_all = self._reader.read(ours)
        self._learn_form(reference)
        form = self.form
        for place in range(len(reference.scores)):
            boxes = [None if e.boxes is None else e.boxes[place] for e in (mine_all, reference)]
            said = found_in(boxes[0], mine_all.scores[place], form)
            known = found_in(boxes[1], reference.scores[place], form)
            self._theirs += len(known.classes)
            self._ours += len(said.classes)
            self._kept += self._matched(said, known, form)
            at = known.anchors
            if form == "encoded" and boxes[0] is not None and boxes[1] is not None and len(at):
                self._at_anchors.add([boxes[0][at]], [boxes[1][at]])
        if not self._theirs:
            for entry, out, original in zip(self._explained, ours, theirs, strict=True):
                entry.add([out], [original])

    def _learn_form(self, reference: Candidates) -> None:
        """Find out how boxes are written, by the first that the original finds."""
        if self._form is not None or reference.boxes is None:
            return
        is_found = reference.scores.max(axis=2) >= THRESHOLD
        if is_found.any():
            self._form = box_form(reference.boxes[is_found])

    def _matched(self, mine: Found, other: Found, form: BoxForm) -> int:
        if form == "encoded":
            said = set(zip(other.anchors.tolist(), other.classes.tolist(), strict=True))
            return len(said.intersection(zip(mine.anchors.tolist(), mine.classes.tolist(),
                                             strict=True)))  # fmt: skip
        is_same = mine.classes[:, None] == other.classes[None, :]
        return len(matches(mine.boxes, other.boxes, is_same, MIN_OVERLAP))

    def learn(self, theirs: Sequence[Array]) -> None:
        """Find out how the original writes its boxes, and judge nothing."""
        self._learn_form(self._reader.read(theirs))

    @property
    def form(self) -> BoxForm:
        """How boxes are written, as far as that is known."""
        return self._form or "encoded"

    @property
    def kept(self) -> float:
        """Share of the original's detections that stay."""
        return self._kept / max(self._theirs, 1)

    @property
    def new(self) -> float:
        """New detections, for each of the original's."""
        return (self._ours - self._kept) / max(self._theirs, 1)

    @property
    def value(self) -> float:
        """F1; see the class."""
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
        """In words."""
        if not self._theirs:
            value = percent(self.value)
            return (
                f"the original detects nothing above {THRESHOLD:g} in these examples; {value} "
                "of its variance explained"
            )
        how = f"IoU {MIN_OVERLAP:g}"
        if self.form == "encoded":
            how = "matched by anchor and class, because boxes are relative to anchors"
            how = how if self._has_boxes else "matched by position and class"
        return (
            f"{percent(self.kept)} of {self._theirs} detections above {THRESHOLD:g} kept, "
            f"{percent(self.new)} new ({how})"
        )

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        if not self._theirs:
            return {"explained variance": self.value}
        return {"detections that stay": self.kept, "new detections": self.new}
