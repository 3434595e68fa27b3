"""Agreement of class maps with the original, for ``segmentation``."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.tasks.classes import DECISION_THRESHOLD
from acgraph.tasks.kinds import Array, OutputTask
from acgraph.tasks.metrics import ExplainedVariance, percent


def classes_of(task: OutputTask, output: Array) -> tuple[Array, int]:
    """Return the class of each position, and the number of classes.

    The class is -1 at positions with NaN. A map of one channel is a mask: its class is 1 where it
    is at least 0.5, or at least 0 for logits.
    """
    axis = 1 if task.axis is None else task.axis
    if output.dtype.kind != "f":
        return output, int(output.max(initial=0)) + 1
    if output.shape[axis] == 1:
        threshold = 0.0 if task.form == "logits" else DECISION_THRESHOLD
        return (output >= threshold).astype(np.int64).squeeze(axis), 2
    found = np.where(np.isnan(output).any(axis), -1, output.argmax(axis))
    return found, output.shape[axis]


@dataclass(slots=True)
class ConfusionMatrix:
    """Number of positions for each pair of a predicted and a true class.

    Attributes:
        is_mask: Whether the map is a mask, of which only class 1 counts.
    """

    is_mask: bool
    _table: Array | None = None

    def add(self, mine: Array, other: Array, count: int) -> None:
        """Add the classes of some positions; a negative number stands for no class.

        Args:
            mine: The predicted classes.
            other: The true classes, of the same shape; positions without a class are ignored.
            count: The smallest possible number of classes.
        """
        known = 0 if self._table is None else len(self._table) - 1
        count = max(known, count, int(mine.max(initial=0)) + 1, int(other.max(initial=0)) + 1)
        table = np.zeros((count + 1, count + 1), np.int64)
        if self._table is not None:
            # The last row counts positions for which no class is predicted.
            table[:known, :known] = self._table[:known, :known]
            table[count, :known] = self._table[known, :known]
        is_counted = other.ravel() >= 0
        rows = np.where(mine < 0, count, mine).ravel()[is_counted]
        indices = rows * (count + 1) + other.ravel()[is_counted]
        table += np.bincount(indices, minlength=table.size).reshape(table.shape)
        self._table = table

    @property
    def mean_iou(self) -> float | None:
        """Mean over classes of the intersection over union; None if the true mask is empty."""
        if self._table is None:
            return None
        shared = np.diag(self._table).astype(np.float64)
        union = self._table.sum(axis=0) + self._table.sum(axis=1) - shared
        is_counted = union > 0
        is_counted[-1] = False
        if self.is_mask:
            is_counted[0] = False
            if not self._table[:, 1].sum():
                return None
        return float((shared[is_counted] / union[is_counted]).mean()) if is_counted.any() else None


def is_mask(task: OutputTask) -> bool:
    """Return whether an output is a map of one channel."""
    axis = 1 if task.axis is None else task.axis
    return len(task.shape) > axis and task.shape[axis] == 1


@dataclass(slots=True)
class IoUWithOriginal:
    """Mean over classes of the intersection over union (IoU) with the original's map.

    For a mask, only class 1 counts. If the original's masks are empty, the value is the explained
    variance.

    Attributes:
        task: The task of the output.
    """

    task: OutputTask
    _confusion: ConfusionMatrix = field(init=False)
    _explained: ExplainedVariance = field(init=False)

    def __post_init__(self) -> None:
        self._confusion = ConfusionMatrix(is_mask(self.task))
        self._explained = ExplainedVariance(self.task.axis)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch."""
        mine, _ = classes_of(self.task, ours[0])
        other, count = classes_of(self.task, theirs[0])
        self._confusion.add(mine, other, count)
        if self._confusion.mean_iou is None:
            self._explained.add(ours, theirs)

    @property
    def value(self) -> float:
        """The mean IoU, or the explained variance; see the class."""
        found = self._confusion.mean_iou
        return self._explained.value if found is None else found

    @property
    def text(self) -> str:
        """The value as text."""
        found = self._confusion.mean_iou
        if found is None:
            return f"the original's masks are empty for these examples; {self._explained.text}"
        return f"mean IoU with the original {percent(found)}"

    @property
    def numbers(self) -> dict[str, float]:
        """The value by name."""
        found = self._confusion.mean_iou
        return self._explained.numbers if found is None else {"mean IoU": found}
