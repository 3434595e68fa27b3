"""``classification``: the same classes as the original, or not."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.tasks.figures import percent
from acgraph.tasks.kinds import Array

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
        return f"{percent(self.value)} have the same class"

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
            f"{percent(self._share(answer))} of {self._said[answer]} {word} kept"
            for answer, word in ((1, "yes"), (0, "no"))
            if self._said[answer]
        ]
        missing = "" if self._said[1] else "; the original never decides yes"
        return f"decisions at threshold {YES:g}: {' and '.join(parts)}{missing}"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        words = {0: "no that stays", 1: "yes that stays"}
        return {words[a]: self._share(a) for a in (1, 0) if self._said[a]}
