"""Agreement of decoded sequences with the original, for ``ctc``."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.diagnostics import counted
from acgraph.tasks.kinds import Array, OutputTask
from acgraph.tasks.metrics import ExplainedVariance, percent

Text = tuple[int, ...]


def blank_of(best: Array, classes: int) -> int:
    """Return the class of the blank: the first or the last class, whichever is more frequent.

    Args:
        best: The best class of each step of some examples.
        classes: The number of classes.
    """
    first, last = np.count_nonzero(best == 0), np.count_nonzero(best == classes - 1)
    return classes - 1 if last > first else 0


def decode(best: Array, blank: int) -> list[Text]:
    """Decode a batch greedily: merge repetitions, then remove blanks.

    Args:
        best: The best class of each step, ``[N, T]``.
        blank: The class of the blank.

    Returns:
        One sequence of classes for each example.
    """
    texts = []
    for row in best:
        is_new = np.append(True, row[1:] != row[:-1])
        texts.append(tuple(int(entry) for entry in row[is_new & (row != blank)]))
    return texts


def edits(ours: Text, theirs: Text) -> int:
    """Return the edit distance of two sequences: insertions, deletions and substitutions.

    >>> edits((1, 2, 3), (1, 3, 4))
    2
    """
    before = list(range(len(theirs) + 1))
    for row, mine in enumerate(ours, 1):
        now = [row]
        for column, other in enumerate(theirs, 1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (mine != other)))
        before = now
    return before[-1]


@dataclass(slots=True)
class EqualSequences:
    """``ctc``: character error rate against the original, and the share of equal sequences.

    The value is 1 minus the error rate. If the original decodes nothing at all, it is the explained
    variance.

    Attributes:
        task: The task of the output.
        blank: The class of the blank; None until it is known.
    """

    task: OutputTask
    blank: int | None = field(init=False)
    _equal: int = 0
    _count: int = 0
    _edits: int = 0
    _characters: int = 0
    _explained: ExplainedVariance = field(init=False)

    def __post_init__(self) -> None:
        self.blank = self.task.blank
        self._explained = ExplainedVariance(self.task.axis)

    def best(self, output: Array) -> Array:
        """Return the best class of each step, ``[N, T]``."""
        if output.dtype.kind != "f":
            return np.moveaxis(output, self.task.batch_axis, 0)
        axis = -1 if self.task.axis is None else self.task.axis
        found: Array = output.argmax(axis)
        return found.T if self.task.batch_axis == 1 else found

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch."""
        mine, other = self.best(ours[0]), self.best(theirs[0])
        axis = -1 if self.task.axis is None else self.task.axis
        if self.blank is None:
            self.blank = blank_of(other, theirs[0].shape[axis])
        self.compare(decode(mine, self.blank), decode(other, self.blank))
        if not self._characters:
            self._explained.add(ours, theirs)

    def compare(self, ours: Sequence[Text], theirs: Sequence[Text]) -> None:
        """Add decoded sequences."""
        for mine, other in zip(ours, theirs, strict=True):
            self._count += 1
            self._equal += mine == other
            self._edits += 0 if mine == other else edits(mine, other)
            self._characters += len(other)

    @property
    def error_rate(self) -> float:
        """Number of edits, divided by the number of characters."""
        return self._edits / max(self._characters, 1)

    @property
    def equal(self) -> float:
        """Share of equal sequences."""
        return self._equal / max(self._count, 1)

    @property
    def value(self) -> float:
        """1 minus the error rate, at least 0, or the explained variance; see the class."""
        if not self._characters:
            return self._explained.value
        return max(0.0, 1.0 - self.error_rate)

    @property
    def text(self) -> str:
        """The result as text."""
        if not self._characters:
            return f"the original decodes nothing in these examples; {self._explained.text}"
        return (
            f"{percent(self.equal)} of {counted(self._count, 'decoded sequence')} equal, "
            f"{percent(self.error_rate)} of the characters differ"
        )

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers in ``text``, by name."""
        if not self._characters:
            return self._explained.numbers
        return {"equal sequences": self.equal, "character error": self.error_rate}
