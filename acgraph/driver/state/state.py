"""What a stage of a run is given and returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acgraph.backends.ort.equivalence import EquivalenceResult
from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import Pace, RunSchedule
from acgraph.driver.state.context import Context
from acgraph.driver.state.positions import Positions
from acgraph.driver.state.records import Mode, RateRecord, Rehearsal, RoundRecord, SearchRecord
from acgraph.ir import Model
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.pruning.cut_plan import CutPlan
from acgraph.report import Report

_NO_SCHEDULE = RunSchedule(rates=(), admm=0.0, retrain=0.0, finish=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """What a trained graph becomes.

    Attributes:
        small: The compact model.
        masked: The original with the trained weights, and zeros where something was cut.
        plain: The trained graph without the BatchNormalization that was put in for training.
        layers: What lowering did to each layer.
        positions: Where the constants of ``plain`` lay in the original.
        plan: What was removed, in terms of the original.
    """

    small: Model
    masked: Model
    plain: Model
    layers: Sequence[LoweredLayer]
    positions: Positions
    plan: CutPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What was written.

    Attributes:
        folder: Where the results are until they are put in place.
        models: What is measured: the original, the compact model, the quantised one if any.
        int8_examples: Examples that gave the quantised model its ranges; 0 where there is none.
    """

    folder: Path
    models: tuple[Path, ...]
    int8_examples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A run between two stages.

    Attributes:
        network: The graph as the last stage left it.
        prepared: The graph before anything was cut.
        inserted: BatchNormalization nodes that were put in for training.
        mode: How training runs, where that was chosen once.
        pace: How fast the dense network is here, where it was timed.
        schedule: How the budget of epochs or time is spent.
        rehearsal: How long the end of the run took when it was rehearsed.
        positions: Where the constants of the graph lay in the original.
        rounds: What each round reached.
        history: What the searches judged.
        frontier: Every rate that was tried.
        warnings: What the reader of the report must know.
        number: Rounds, or attempts, that are done.
        aimed: The rates that attempts aimed at, each with its entry in ``frontier``.
        is_exhausted: Whether rounds can cut no more.
        stage: The last stage that is done, by name; empty before the first.
        checkpoint: The name of the checkpoint that holds this state.
        partial_fit: A fine-tuning under way, to go on from.
        lowered: What the graph becomes, once that is known.
        files: What was written, once it was.
        equivalence: The equivalence check, once it was made.
        report: The report, once it was written.
    """

    network: Network
    prepared: Network
    inserted: tuple[str, ...] = ()
    mode: Mode | None = None
    pace: Pace | None = None
    schedule: RunSchedule = _NO_SCHEDULE
    rehearsal: Rehearsal | None = None
    positions: Positions = field(default_factory=dict)
    rounds: tuple[RoundRecord, ...] = ()
    history: tuple[SearchRecord, ...] = ()
    frontier: tuple[RateRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    number: int = 0
    aimed: tuple[float, ...] = ()
    is_exhausted: bool = False
    stage: str = ""
    checkpoint: str = ""
    partial_fit: Path | None = None
    lowered: Lowered | None = None
    files: Files | None = None
    equivalence: EquivalenceResult | None = None
    report: Report | None = None


class Warnings:
    """Collects what a stage warns of, each thing once."""

    def __init__(self, context: Context, state: State) -> None:
        """Begin with the warnings of a state."""
        self._reporter = context.reporter
        self._texts = list(state.warnings)

    def add(self, text: str) -> None:
        """Log a warning and keep it for the report."""
        self._reporter.warn(text)
        if text not in self._texts:
            self._texts.append(text)

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them, those of earlier stages first."""
        return tuple(self._texts)


def lowered_of(state: State) -> Lowered:
    """Return what a trained graph became; lowering comes before what asks for it."""
    assert state.lowered is not None
    return state.lowered


def written(state: State) -> Files:
    """Return what was written, or where it will be."""
    assert state.files is not None
    return state.files


def equivalence_of(state: State) -> EquivalenceResult:
    """Return the equivalence check, which comes before what asks for it."""
    assert state.equivalence is not None
    return state.equivalence
