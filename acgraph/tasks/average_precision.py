"""Mean average precision (mAP) of a detector as COCO defines it, computed by pycocotools."""

import contextlib
import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from acgraph.errors import DataError
from acgraph.tasks.boxes import BoxForm, box_form
from acgraph.tasks.detections import THRESHOLD, DetectorReader, detections_in
from acgraph.tasks.kinds import Array, OutputTask
from acgraph.tasks.metrics import percent

#: Detections with lower scores are ignored: they hardly change the mAP.
_MIN_SCORE = 0.001


@dataclass(slots=True)
class AveragePrecision:
    """``detection``: mean average precision over IoU from 0.5 to 0.95, from 0 to 1.

    Labels are ``[N, boxes, 5]``: class, left, top, right, bottom, in the coordinates of the
    network's boxes, padded with rows of class -1.

    Attributes:
        tasks: The tasks of the detector's outputs, in the order in which outputs are passed.
    """

    tasks: Sequence[OutputTask]
    _reader: DetectorReader = field(init=False)
    _form: BoxForm | None = None
    _truth: list[dict[str, Any]] = field(default_factory=list)
    _found: list[dict[str, Any]] = field(default_factory=list)
    _images: int = 0
    _scores: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _library()
        self._reader = DetectorReader(self.tasks)

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Add the outputs and the labels of a batch.

        Raises:
            DataError: The boxes are relative to anchors, which the outputs do not contain.
            ValueError: The labels do not have the shape above.
        """
        predictions = self._reader.read(outputs)
        if labels.ndim != 3 or labels.shape[-1] != 5:
            raise ValueError("no boxes")
        self._scores = None
        for index, truth in enumerate(labels):
            boxes = None if predictions.boxes is None else predictions.boxes[index]
            form = self._form_of(boxes, predictions.scores[index])
            found = detections_in(boxes, predictions.scores[index], form, _MIN_SCORE)
            self._images += 1
            for row in truth[truth[:, 0] >= 0]:
                self._truth.append(self._entry(int(row[0]), row[1:]))
            for box, kind, score in zip(found.boxes, found.classes, found.scores, strict=True):
                self._found.append({**self._entry(int(kind), box), "score": float(score)})

    def _form_of(self, boxes: Array | None, scores: Array) -> BoxForm:
        """Return the form of the boxes, which the first confident detections determine."""
        if self._form is not None or boxes is None:
            return self._form or "encoded"
        best = boxes[scores.max(axis=1) >= THRESHOLD]
        form = box_form(best) if len(best) else box_form(boxes)
        if len(best):
            self._form = form
        if form == "encoded":
            raise DataError(
                "the boxes of this detector are relative to anchors, so that they cannot be "
                "compared with labels",
                hint="give data without labels, or export the network with its boxes decoded",
            )
        return form

    def _entry(self, kind: int, box: Array) -> dict[str, Any]:
        left, top, right, bottom = (float(side) for side in box)
        sides = [left, top, right - left, bottom - top]
        return {"image_id": self._images, "category_id": kind + 1, "bbox": sides,
                "area": sides[2] * sides[3], "iscrowd": 0}  # fmt: skip

    def _cached_scores(self) -> tuple[float, float]:
        if self._scores is None:
            self._scores = self._evaluate()
        return self._scores

    def _evaluate(self) -> tuple[float, float]:
        """Return the mAP over IoU from 0.5 to 0.95, and the mAP at IoU 0.5."""
        if not self._truth or not self._found:
            return 0.0, 0.0
        coco, evaluation = _library()
        kinds = sorted({entry["category_id"] for entry in self._truth})
        with contextlib.redirect_stdout(io.StringIO()):
            truth = coco.COCO()
            truth.dataset = {
                "info": {}, "images": [{"id": image + 1} for image in range(self._images)],
                "categories": [{"id": kind} for kind in kinds],
                "annotations": [{**e, "id": index + 1} for index, e in enumerate(self._truth)],
            }  # fmt: skip
            truth.createIndex()
            run = evaluation.COCOeval(truth, truth.loadRes(self._found), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
        return max(0.0, float(run.stats[0])), max(0.0, float(run.stats[1]))

    @property
    def value(self) -> float:
        """The mean average precision."""
        return self._cached_scores()[0]

    @property
    def text(self) -> str:
        """Both values as text."""
        whole, half = self._cached_scores()
        return f"mAP {percent(whole)}, at IoU 0.5 {percent(half)}"

    @property
    def numbers(self) -> dict[str, float]:
        """Both values by name."""
        whole, half = self._cached_scores()
        return {"mAP": whole, "mAP at IoU 0.5": half}


def _library() -> tuple[Any, Any]:
    """Return the modules of pycocotools.

    Raises:
        DataError: It is not installed.
    """
    try:
        names = ("pycocotools.coco", "pycocotools.cocoeval")
        first, second = (importlib.import_module(name) for name in names)
    except ImportError as error:
        raise DataError(
            "mean average precision needs pycocotools, which is not installed",
            hint="pip install 'acgraph[detection]', or give data without labels",
        ) from error
    return first, second
