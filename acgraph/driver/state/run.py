"""The state of a run: what the next stage needs."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from acgraph.analysis.cost import model_cost
from acgraph.backends.interface import TrainingBackend
from acgraph.backends.training import ProgressSink
from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.cost.compact import Limit, compact
from acgraph.driver.inputs.data import RunData
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.latency.target import share_of_latency
from acgraph.driver.schedule.plan import Pace, Stages
from acgraph.driver.space.space import open_space
from acgraph.driver.stages.purify import without_dead
from acgraph.driver.state.positions import Positions
from acgraph.errors import UsageError
from acgraph.ir import Model
from acgraph.lowering.base import Chooser
from acgraph.report import FrontierPoint, Round, SearchPoint

log = logging.getLogger(__name__)

_NO_STAGES = Stages(rates=(), admm=0.0, retrain=0.0, finish=0.0)


@dataclass(frozen=True, slots=True)
class State:
    """What a round starts from and leaves."""

    model: Model
    positions: Positions
    rounds: tuple[Round, ...]
    history: tuple[SearchPoint, ...]


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


@dataclass(slots=True)
class Run:
    """A run under way.

    Attributes:
        asked: What was asked for: what a run that goes on is compared with.
        config: The same, with what had to be learned on this host: ``align``.
        original: The model as it was read.
        data: Disjoint images.
        backend: What trains.
        chooser: Which compact form a layer takes.
        progress: Who shows how far training is.
        say: Who prints a line about each stage.
        stages: How the budget of epochs or time is spent; none before it is planned.
        model: The graph as the last stage left it.
        inserted: BatchNormalization nodes that were put in for training.
        copies: Copies of merged constants, with the names that they had.
        start: When this part of it started, on the clock of ``time.perf_counter``.
        earlier_s: Seconds that its earlier parts took, where it was interrupted.
        pace: How fast the dense network is here, where it was timed.
        positions: Where the constants of the graph lay in the original.
        rounds: What each round reached.
        history: What the searches evaluated.
        baseline: Accuracy of the original on the selection split.
        frontier: Every rate that was tried.
        warnings: What the reader of the report must know.
        done: Stages that are done and saved.
        fine_tune: State of a fine-tuning that was interrupted, to go on from.
        rehearsal: How long the end of the run took when it was rehearsed; None where it was not.
        is_rehearsed: Whether this is a copy for the rehearsal, whose warnings are not logged: the
            run itself will say them.
    """

    asked: CompressConfig
    config: CompressConfig
    original: Model
    data: RunData
    backend: TrainingBackend
    chooser: Chooser
    progress: ProgressSink | None
    say: Callable[[str], None]
    model: Model
    inserted: list[str]
    copies: dict[str, str]
    baseline: float
    stages: Stages = _NO_STAGES
    start: float = field(default_factory=time.perf_counter)
    earlier_s: float = 0.0
    pace: Pace | None = None
    positions: Positions = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    history: list[SearchPoint] = field(default_factory=list)
    frontier: list[FrontierPoint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    done: int = 0
    fine_tune: Path | None = None
    rehearsal: Rehearsal | None = None
    is_rehearsed: bool = False

    @property
    def floor(self) -> float:
        """The least accuracy on the selection split that was asked for."""
        drop = math.inf if self.config.max_drop is None else self.config.max_drop
        # What binary fractions lose of a drop that is exactly as large is no drop.
        return self.baseline - drop / 100 - 1e-9

    def tell_frontier(self, rate: float, accuracy: float, epochs: float) -> None:
        """Remember what a rate came to."""
        point = FrontierPoint(
            rate=rate, accuracy=accuracy, epochs=epochs, within_floor=accuracy >= self.floor
        )
        self.frontier.append(point)

    @property
    def state(self) -> State:
        """What the next round would start from."""
        return State(self.model, self.positions, tuple(self.rounds), tuple(self.history))

    def restore(self, state: State) -> None:
        """Go back, or over, to a state."""
        self.model, self.positions = state.model, state.positions
        self.rounds, self.history = list(state.rounds), list(state.history)

    @property
    def elapsed_s(self) -> float:
        """Seconds that the run has taken so far, all parts together."""
        return self.earlier_s + time.perf_counter() - self.start

    @property
    def left_s(self) -> float | None:
        """Seconds that are left of the time budget, 0 where it is spent; None without one."""
        budget_s = self.asked.time_budget
        return None if budget_s is None else max(budget_s - self.elapsed_s, 0.0)

    def warn(self, text: str) -> None:
        """Log a warning and keep it for the report, once."""
        if not self.is_rehearsed:
            log.warning("%s", text)
        if text not in self.warnings:
            self.warnings.append(text)


def check_metric(config: CompressConfig, model: Model) -> None:
    """Refuse a target whose rate could not be told once all is done.

    Raises:
        UsageError: the target is one of MACs, and those of some nodes are unknown.
    """
    unknown = model_cost(model).unknown if config.metric == "macs" else ()
    if unknown:
        more = f" and {len(unknown) - 1} other nodes" if len(unknown) > 1 else ""
        raise UsageError(
            f"the target is one of MACs, and those of '{unknown[0]}'{more} are unknown",
            location=Location(model=model.source),
            hint="choose another --metric",
        )


def can_cut(model: Model, config: CompressConfig) -> bool:
    """Whether anything of a graph may be cut at all."""
    return bool(open_space(model, config).knobs)


def written_cost(run: Run, model: Model) -> float:
    """Cost of a shrunk model as it would be written, in the metric of the target.

    What purification takes of an untrained network does not count. Where the target is one of
    params or bytes, the export makes layers small in spite of their speed if it must, so the
    smallest form counts; where it is one of MACs, the form that the export will take. Latency is
    measured, as a share of the original's.
    """
    metric = run.config.metric
    if run.config.purify:
        model = without_dead(model, run.config)
    if metric == "latency":
        settings = run_settings(run.config)
        return share_of_latency(run.original, model, run.chooser, settings)
    limit = Limit(metric, 0)
    chooser = run.chooser if metric == "macs" else limit.chooser
    return limit.size_of(compact(model, chooser)[0])


def limit_of(run: Run) -> Limit | None:
    """What the target allows of the file, where it is counted."""
    metric = run.config.metric
    if metric == "latency":
        return None
    if run.config.target_rate is not None:
        return Limit(metric, int(budget_of(run, run.config.target_rate.value)))
    if not run.rounds:
        return None
    # What the last attempt came to, a whole number again.
    return Limit(metric, round(budget_of(run, run.rounds[-1].rate)))


def budget_of(run: Run, rate: float) -> float:
    """The most that the target metric may be where a rate is reached."""
    cost = model_cost(run.original)
    before = {"params": cost.params, "size": cost.bytes, "macs": cost.macs, "latency": 1.0}
    return before[run.config.metric] / rate
