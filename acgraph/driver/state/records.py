"""Records of a run's rounds, searches and rates, from which reports and checkpoints are made."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from acgraph.backends.training import EpochStats


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmmRecord:
    """One update of ADMM: its primal residual, its dual residual, and rho."""

    primal: float
    dual: float
    rho: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """A layer that was refitted: the error of its output before and after."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """The result of a round.

    Attributes:
        rate: The target metric before / after, of the model as it would be written.
        accuracy: Accuracy on the selection split.
        epochs: Passes over the training data.
        seconds: Duration of the round.
        evaluations: Number of points that its search evaluated.
        admm: The updates of ADMM.
        fits: The layers that were refitted in order.
    """

    rate: float
    accuracy: float
    epochs: float
    seconds: float
    evaluations: int
    admm: tuple[AdmmRecord, ...] = ()
    fits: tuple[FitRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRecord:
    """One point that a search evaluated.

    Attributes:
        round: Number of the round.
        score: Its score.
        best: The best score of the round so far.
        cost: Its cost divided by the budget of the search.
        accepted: Whether the search moved to it.
        temperature: Temperature of annealing, in units of the score; 0 for other methods.
        chosen: Whether the round cut the network to it.
    """

    round: int
    score: float
    best: float
    cost: float
    accepted: bool
    temperature: float
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRecord:
    """One pass over the training data: what trained, and how it went."""

    stage: str
    epoch: float
    loss: float
    learning_rate: float
    seconds: float


def pass_records(passes: Iterable[tuple[str, EpochStats]]) -> tuple[PassRecord, ...]:
    """Make the records of passes, each given with the name of what trained."""
    return tuple(
        PassRecord(
            stage=stage,
            epoch=stats.epoch,
            loss=stats.loss,
            learning_rate=stats.learning_rate,
            seconds=stats.seconds,
        )
        for stage, stats in passes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRecord:
    """A rate that was tried, and the accuracy on the selection split."""

    rate: float
    accuracy: float
    epochs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """The training mode, if it was chosen once for the whole run."""

    precision: Literal["fp32", "bf16"]
    channels_last: bool
    threads: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """Durations of the rehearsal of the last stages, on a graph that was cut by magnitude.

    Attributes:
        cut_s: Seconds to cut the graph, which a run does in its rounds.
        check_s: Seconds for lowering and for the equivalence check.
        export_s: Seconds to write and convert the results, without timing, and with an evaluation
            on few examples.
    """

    cut_s: float
    check_s: float
    export_s: float

    def describe(self) -> str:
        """Describe the rehearsal and its duration in one line."""
        seconds = self.cut_s + self.check_s + self.export_s
        return (
            "an untrained cut by magnitude was lowered, exported, checked and run in "
            f"{seconds:.0f} s"
        )
