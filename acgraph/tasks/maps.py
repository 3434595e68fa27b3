"""``segmentation``: how far maps of classes overlap."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.tasks.classes import YES
from acgraph.tasks.figures import Explained, percent
from acgraph.tasks.kinds import Array, OutputTask


def classes_of(task: OutputTask, output: Array) -> tuple[Array, int]:
    """Return the class of every position, -1 where there is none, and how many there are.

    A map of one channel marks what is at least 0.5, or 0 where it is raw.
    """
    axis = 1 if task.axis is None else task.axis
    if output.dtype.kind != "f":
        return output, int(output.max(initial=0)) + 1
    if output.shape[axis] == 1:
        least = 0.0 if task.form == "logits" else YES
        return (output >= least).astype(np.int64).squeeze(axis), 2
    found = np.where(np.isnan(output).any(axis), -1, output.argmax(axis))
    return found, output.shape[axis]


@dataclass(slots=True)
class Overlaps:
    """Counts of pairs of classes, one for each position.

    Attributes:
        is_mask: Whether class 1 alone counts: what a map of one channel marks.
    """

    is_mask: bool
    _table: Array | None = None

    def add(self, mine: Array, other: Array, count: int) -> None:
        """Take in the classes of some positions; below 0 there is none.

        Args:
            mine: Of the network.
            other: What they should be; positions below 0 do not count.
            count: How many classes there are, at least.
        """
        known = 0 if self._table is None else len(self._table) - 1
        count = max(known, count, int(mine.max(initial=0)) + 1, int(other.max(initial=0)) + 1)
        table = np.zeros((count + 1, count + 1), np.int64)
        if self._table is not None:
            # The last row takes what has no class.
            table[:known, :known] = self._table[:known, :known]
            table[count, :known] = self._table[known, :known]
        is_counted = other.ravel() >= 0
        rows = np.where(mine < 0, count, mine).ravel()[is_counted]
        places = rows * (count + 1) + other.ravel()[is_counted]
        table += np.bincount(places, minlength=table.size).reshape(table.shape)
        self._table = table

    @property
    def mean(self) -> float | None:
        """Mean over classes of intersection over union; None where a mask is to be empty."""
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
    """Whether an output is a map of one channel."""
    axis = 1 if task.axis is None else task.axis
    return len(task.shape) > axis and task.shape[axis] == 1


@dataclass(slots=True)
class MeanOverlap:
    """Mean over classes of the intersection over union with the original's map.

    Of a map of one channel only what it marks counts. Where the original marks nothing, the
    explained variance is the value.
    """

    task: OutputTask
    _overlaps: Overlaps = field(init=False)
    _explained: Explained = field(init=False)

    def __post_init__(self) -> None:
        self._overlaps = Overlaps(is_mask(self.task))
        self._explained = Explained(self.task.axis)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch."""
        mine, _ = classes_of(self.task, ours[0])
        other, count = classes_of(self.task, theirs[0])
        self._overlaps.add(mine, other, count)
        if self._overlaps.mean is None:
            self._explained.add(ours, theirs)

    @property
    def value(self) -> float:
        """The overlap."""
        found = self._overlaps.mean
        return self._explained.value if found is None else found

    @property
    def text(self) -> str:
        """In words."""
        found = self._overlaps.mean
        if found is None:
            return f"the original marks nothing in these examples; {self._explained.text}"
        return f"mean IoU with the original {percent(found)}"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        found = self._overlaps.mean
        return self._explained.numbers if found is None else {"mean IoU": found}
