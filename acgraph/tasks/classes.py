"""Agreement of classes with the original, for ``classification``."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.tasks.kinds import Array
from acgraph.tasks.metrics import percent

#: A sigmoid of at least this probability is a positive decision.
DECISION_THRESHOLD = 0.5


@dataclass(slots=True)
class SameClass:
    """``classification``: share of examples, or of positions, that have the same class.

    Attributes:
        axis: The axis of the classes.
    """

    axis: int = 1
    _same: int = 0
    _count: int = 0

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch; scores that contain NaN count as a different class."""
        mine, other = ours[0], theirs[0]
        is_same = mine.argmax(self.axis) == other.argmax(self.axis)
        is_same &= ~np.isnan(mine).any(self.axis)
        self._same += int(np.count_nonzero(is_same))
        self._count += is_same.size

    @property
    def value(self) -> float:
        """The share, from 0 to 1."""
        return self._same / max(self._count, 1)

    @property
    def text(self) -> str:
        """The share as text."""
        return f"{percent(self.value)} have the same class"

    @property
    def numbers(self) -> dict[str, float]:
        """The share by name."""
        return {"same class": self.value}


@dataclass(slots=True)
class SameDecision:
    """``classification`` by sigmoids: shares of the original's decisions that are kept.

    Most decisions are negative. The value is therefore the mean of the shares of kept positive and
    kept negative decisions (balanced accuracy): a network that is always negative gets 0.5.
    """

    _kept: list[int] = field(default_factory=lambda: [0, 0])  # negative, positive
    _count: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch of probabilities; a NaN counts as a changed decision."""
        mine, other = ours[0], theirs[0]
        is_positive = other >= DECISION_THRESHOLD
        both_negative = ~is_positive & (mine < DECISION_THRESHOLD)
        both_positive = is_positive & (mine >= DECISION_THRESHOLD)
        for sign, (theirs_all, kept) in enumerate(
            ((~is_positive, both_negative), (is_positive, both_positive))
        ):
            self._count[sign] += int(np.count_nonzero(theirs_all))
            self._kept[sign] += int(np.count_nonzero(kept))

    def _share(self, sign: int) -> float:
        return self._kept[sign] / self._count[sign]

    @property
    def value(self) -> float:
        """Mean share over the signs that occur among the original's decisions; 1 if none do."""
        found = [sign for sign in (0, 1) if self._count[sign]]
        return float(np.mean([self._share(sign) for sign in found])) if found else 1.0

    @property
    def text(self) -> str:
        """The shares as text."""
        parts = [
            f"{percent(self._share(sign))} of {self._count[sign]} {word} kept"
            for sign, word in ((1, "positive"), (0, "negative"))
            if self._count[sign]
        ]
        missing = "" if self._count[1] else "; the original makes no positive decision"
        return f"decisions at threshold {DECISION_THRESHOLD:g}: {' and '.join(parts)}{missing}"

    @property
    def numbers(self) -> dict[str, float]:
        """The shares by name."""
        words = {0: "negative decisions kept", 1: "positive decisions kept"}
        return {words[sign]: self._share(sign) for sign in (1, 0) if self._count[sign]}
