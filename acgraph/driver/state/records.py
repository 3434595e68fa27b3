"""What a run remembers of what it did; the report and the checkpoints have forms of their own."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmmRecord:
    """One update of ADMM: how far weights are from the set, and how far the set moved."""

    primal: float
    dual: float
    rho: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """What a round came to.

    Attributes:
        rate: Before / after of the target metric, as it would be written.
        accuracy: On the selection split.
        epochs: Passes over the training data.
        seconds: Of the round.
        evaluations: Points that its search judged.
        admm: Its updates.
    """

    rate: float
    accuracy: float
    epochs: float
    seconds: float
    evaluations: int
    admm: tuple[AdmmRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """One point that a search judged, and the best score of its round so far."""

    round: int
    score: float
    best: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRecord:
    """A rate that was tried, and what it came to on the selection split."""

    rate: float
    accuracy: float
    epochs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How training runs, where that was chosen once for the whole run."""

    precision: Literal["fp32", "bf16"]
    channels_last: bool
    threads: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """How long the steps after training took before it, on a graph that was cut by magnitude.

    Attributes:
        cut_s: Seconds to cut it, which a run does in its rounds.
        check_s: Seconds to lower it and to check the equivalence.
        export_s: Seconds to write and convert the results, without timing them, and with few
            examples to judge by.
    """

    cut_s: float
    check_s: float
    export_s: float

    def describe(self) -> str:
        """Say in one line what was shown, and how long it took."""
        seconds = self.cut_s + self.check_s + self.export_s
        return f"a cut by magnitude is lowered, exported, equivalent and runs, in {seconds:.0f} s"
