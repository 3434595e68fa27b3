"""The state of a run, which a stage receives and returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acgraph.backends.ort.equivalence import EquivalenceResult
from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import Pace, RunSchedule
from acgraph.driver.state.context import Context
from acgraph.driver.state.positions import Positions
from acgraph.driver.state.records import (
    Mode,
    PassRecord,
    RateRecord,
    Rehearsal,
    RoundRecord,
    SearchRecord,
)
from acgraph.ir import Model
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.pruning.cut_plan import CutPlan
from acgraph.report import Report

_NO_SCHEDULE = RunSchedule(rates=(), admm=0.0, retrain=0.0, finish=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """The models that are made from a trained graph.

    Attributes:
        small: The compact model.
        masked: The original with the trained weights, and zeros where it was cut.
        plain: The trained graph without the BatchNormalization that was inserted for training.
        layers: The compact form of each layer.
        positions: The kept indices of the constants of ``plain`` in the original.
        plan: The removed indices in terms of the original.
    """

    small: Model
    masked: Model
    plain: Model
    layers: Sequence[LoweredLayer]
    positions: Positions
    plan: CutPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The written files.

    Attributes:
        folder: The temporary folder with the results.
        models: The files to measure: the original, the compact model, the quantised one if any.
        int8_examples: Number of examples that the quantised model was calibrated on; 0 without one.
    """

    folder: Path
    models: tuple[Path, ...]
    int8_examples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A run between two stages.

    Attributes:
        network: The graph after the last stage.
        prepared: The graph before anything was cut.
        inserted: BatchNormalization nodes that were inserted for training.
        mode: The training mode, if it was chosen once for the run.
        pace: The measured speed of the dense network, if it was timed.
        schedule: The split of the budget of epochs or time over the stages.
        rehearsal: The durations of the rehearsal of the last stages.
        positions: The kept indices of the graph's constants in the original.
        rounds: The result of each round.
        history: The points that the searches evaluated.
        training: The passes over the training data, except those of searches.
        frontier: All rates that were tried.
        warnings: Warnings for the report.
        number: Number of rounds, or attempts, that are done.
        aimed: The target rates of attempts, each with its entry in ``frontier``.
        is_exhausted: Whether nothing more can be cut.
        stage: The name of the last stage that is done; empty before the first.
        checkpoint: The name of the checkpoint that stores this state.
        partial_fit: A partial fine-tuning to resume.
        lowered: The models made from the graph, after lowering.
        files: The written files, after the export.
        equivalence: The equivalence check, after it was run.
        report: The report, after it was written.
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
    training: tuple[PassRecord, ...] = ()
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
    """Collects the warnings of a stage, without duplicates."""

    def __init__(self, context: Context, state: State) -> None:
        """Start with the warnings of a state."""
        self._reporter = context.reporter
        self._texts = list(state.warnings)

    def add(self, text: str) -> None:
        """Log a warning and keep it for the report."""
        self._reporter.warn(text)
        if text not in self._texts:
            self._texts.append(text)

    @property
    def texts(self) -> tuple[str, ...]:
        """All warnings, those of earlier stages first."""
        return tuple(self._texts)


def lowered_of(state: State) -> Lowered:
    """Return the models made from a trained graph, which the stage of lowering has set."""
    assert state.lowered is not None
    return state.lowered


def written(state: State) -> Files:
    """Return the written files, or the folder that they will be written to."""
    assert state.files is not None
    return state.files


def equivalence_of(state: State) -> EquivalenceResult:
    """Return the equivalence check, which an earlier stage has set."""
    assert state.equivalence is not None
    return state.equivalence
