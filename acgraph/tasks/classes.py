"""``classification`` and ``segmentation``: the same classes as the original, or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.tasks.figures import Explained, percent
from acgraph.tasks.kinds import Array, OutputTask

#: From this probability on, a sigmoid says yes.
YES = 0.5


@dataclass(slots=True)
class SameClass:
    """``classification``: share of examples, or positions, with the same class."""

    axis: int = 1
    _same: int = 0
    _count: int = 0

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch; what holds a NaN has no class."""
        mine, other = ours[0], theirs[0]
        is_same = mine.argmax(self.axis) == other.argmax(self.axis)
        is_same &= ~np.isnan(mine).any(self.axis)
        self._same += int(np.count_nonzero(is_same))
        self._count += is_same.size

    @property
    def value(self) -> float:
        """The share."""
        return self._same / max(self._count, 1)

    @property
    def text(self) -> str:
        """In words."""
        return f"{percent(self.value)} get the same class"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        return {"same class": self.value}


@dataclass(slots=True)
class SameDecision:
    """``classification`` by sigmoids: shares of the original's yes and no that stay.

    Most answers are no, so that the mean of both is the value: who always says no gets a half.
    """

    _stayed: list[int] = field(default_factory=lambda: [0, 0])
    _said: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch of probabilities; a NaN is no answer."""
        mine, other = ours[0], theirs[0] >= YES
        for answer, is_said in enumerate((~other, other)):
            stays = is_said & ((mine >= YES) if answer else (mine < YES))
            self._said[answer] += int(np.count_nonzero(is_said))
            self._stayed[answer] += int(np.count_nonzero(stays))

    def _share(self, answer: int) -> float:
        return self._stayed[answer] / self._said[answer]

    @property
    def value(self) -> float:
        """Mean share over the answers that the original gives."""
        given = [answer for answer in (0, 1) if self._said[answer]]
        return float(np.mean([self._share(answer) for answer in given])) if given else 1.0

    @property
    def text(self) -> str:
        """In words."""
        parts = [
            f"{percent(self._share(answer))} of {self._said[answer]} {word} stay"
            for answer, word in ((1, "yes"), (0, "no"))
            if self._said[answer]
        ]
        missing = "" if self._said[1] else "; the original never says yes"
        return f"of its decisions at {YES:g}, {' and '.join(parts)}{missing}"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        words = {0: "no that stays", 1: "yes that stays"}
        return {words[a]: self._share(a) for a in (1, 0) if self._said[a]}


@dataclass(slots=True)
class MeanOverlap:
    """``segmentation``: mean over classes of the intersection over union with the original's map.

    A map of one channel marks what is at least 0.5 (0 where it is raw); only what it marks counts.
    Where the original marks nothing, the explained variance is the value.
    """

    task: OutputTask
    _table: Array | None = None
    _explained: Explained = field(init=False)

    def __post_init__(self) -> None:
        self._explained = Explained(self.task.axis)

    def _classes(self, output: Array) -> tuple[Array, int]:
        axis = 1 if self.task.axis is None else self.task.axis
        if output.dtype.kind != "f":
            return output, int(output.max(initial=0)) + 1
        if output.shape[axis] == 1:
            return (output >= (0.0 if self.task.form == "logits" else YES)).astype(np.int64), 2
        return np.where(np.isnan(output).any(axis), -1, output.argmax(axis)), output.shape[axis]

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch."""
        (mine, first), (other, second) = self._classes(ours[0]), self._classes(theirs[0])
        count = max(first, second)
        if self._table is None:
            self._table = np.zeros((count + 1, count + 1), np.int64)
        count = max(count + 1, len(self._table)) - 1
        grown = np.zeros((count + 1, count + 1), np.int64)
        grown[: len(self._table), : len(self._table)] = self._table
        # The last row takes what has no class.
        places = np.where(mine < 0, count, mine).ravel() * (count + 1) + other.ravel()
        grown += np.bincount(places, minlength=(count + 1) ** 2).reshape(count + 1, count + 1)
        self._table = grown
        self._explained.add(ours, theirs)

    @property
    def is_mask(self) -> bool:
        """Whether it is a map of one channel."""
        axis = 1 if self.task.axis is None else self.task.axis
        return len(self.task.shape) > axis and self.task.shape[axis] == 1

    @property
    def overlap(self) -> float | None:
        """The mean intersection over union; None where the original marks nothing."""
        if self._table is None:
            return None
        shared = np.diag(self._table).astype(np.float64)
        union = self._table.sum(axis=0) + self._table.sum(axis=1) - shared
        is_counted = union > 0
        is_counted[-1] = False
        if self.is_mask:
            is_counted[0] = False
            if not self._table.sum(axis=0)[1]:
                return None
        return float((shared[is_counted] / union[is_counted]).mean()) if is_counted.any() else None

    @property
    def value(self) -> float:
        """The overlap."""
        found = self.overlap
        return self._explained.value if found is None else found

    @property
    def text(self) -> str:
        """In words."""
        found = self.overlap
        if found is None:
            return f"the original marks nothing here; {self._explained.text}"
        return f"mean IoU with the original {percent(found)}"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        found = self.overlap
        return self._explained.numbers if found is None else {"mean IoU": found}
