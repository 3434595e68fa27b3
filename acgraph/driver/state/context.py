"""What does not change during a run: what was asked for, and what the stages work with."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from acgraph.backends.interface import Trainer, TrainingBackend
from acgraph.backends.training import ProgressSink, TrainConfig
from acgraph.config import CompressConfig
from acgraph.driver.inputs.data import RunData
from acgraph.driver.network import Network
from acgraph.driver.passes import PassSettings
from acgraph.driver.state.functions import NO_FUNCTIONS, UserFunctions
from acgraph.driver.state.records import Mode
from acgraph.driver.training.pool import TrainerPool
from acgraph.lowering.base import Chooser

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who is told how a run goes.

    Attributes:
        say: Prints a line about a stage.
        progress: Shows how far training is.
        is_silent: Whether warnings are not logged: those of a rehearsal come again.
    """

    say: Callable[[str], None] = log.info
    progress: ProgressSink | None = None
    is_silent: bool = False

    def warn(self, text: str) -> None:
        """Log a warning."""
        if not self.is_silent:
            log.warning("%s", text)


@dataclass(frozen=True, slots=True)
class Clock:
    """How long a run has taken.

    Attributes:
        begin: When this part of it started, on the clock of ``time.perf_counter``.
        earlier_s: Seconds that its earlier parts took, where it was interrupted.
        budget_s: Seconds that it may take in all; None for no limit.
    """

    begin: float
    earlier_s: float = 0.0
    budget_s: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds that the run has taken so far, all parts together."""
        return self.earlier_s + time.perf_counter() - self.begin

    @property
    def left_s(self) -> float | None:
        """Seconds that are left of the time budget, 0 where it is spent; None without one."""
        return None if self.budget_s is None else max(self.budget_s - self.elapsed_s, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A run, as its stages see it; nothing of it changes.

    Attributes:
        asked: What was asked for: what a run that goes on is compared with.
        config: The same, with what had to be learned on this host: ``align``.
        original: The model as it was read.
        untied: The same with constants apart that an exporter merged.
        copies: The constants that this made, with the names that they had.
        data: Disjoint examples.
        backend: What trains.
        trainers: Makes trainers, and keeps the last.
        chooser: Which compact form a layer takes.
        passes: How the passes are watched that make a trainable graph, and a written one.
        reporter: Who is told how the run goes.
        clock: How long it has taken.
        functions: What the user's own functions take the place of.
        baseline: Accuracy of the original on the selection split.
        is_rehearsal: Whether this is the rehearsal of the end of a run.
    """

    asked: CompressConfig
    config: CompressConfig
    original: Network
    untied: Network
    copies: Mapping[str, str]
    data: RunData
    backend: TrainingBackend
    trainers: TrainerPool
    chooser: Chooser
    passes: PassSettings
    reporter: Reporter
    clock: Clock
    baseline: float
    is_rehearsal: bool = False
    functions: UserFunctions = NO_FUNCTIONS

    @property
    def floor(self) -> float:
        """The least accuracy on the selection split that was asked for."""
        drop = math.inf if self.config.max_drop is None else self.config.max_drop
        # What binary fractions lose of a drop that is exactly as large is no drop.
        return self.baseline - drop / 100 - 1e-9

    def training(self, mode: Mode | None) -> TrainConfig:
        """Return how to train, in a mode where one was chosen."""
        train = self.config.train
        if mode is None:
            return train
        return replace(
            train, precision=mode.precision, channels_last=mode.channels_last, threads=mode.threads
        )

    def trainer(self, network: Network, mode: Mode | None, *, round_number: int = 0) -> Trainer:
        """Return a trainer of a network, which learns from the original.

        Args:
            network: What to train.
            mode: How it runs, where that was chosen.
            round_number: Added to the seed.
        """
        config = self.training(mode)
        config = replace(config, seed=config.seed + round_number)
        return self.trainers.get(network.model, self.data.train, config)

    def judge(self, network: Network, mode: Mode | None = None) -> Trainer:
        """Return a trainer that only evaluates a network."""
        return self.trainers.get(network.model, None, self.training(mode))
