"""The constant context of a run: its options, data, trainers and choosers."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

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
from acgraph.tasks import learns_no_labels

log = logging.getLogger(__name__)

#: Factor of the learning rate without labels, at the batch size below: the refitted network is near
#: its target already, and larger steps lose what the refit has gained. With smaller batches, it
#: falls with the square root of the batch size.
IMITATION_RATE, IMITATION_BATCH = 0.2, 128


@dataclass(frozen=True, slots=True)
class Reporter:
    """Reports the progress of a run.

    Attributes:
        status: Callback for status lines.
        progress: Callback for the progress of training.
        is_silent: Whether warnings are not logged, because those of a rehearsal are repeated later.
    """

    status: Callable[[str], None] = log.info
    progress: ProgressSink | None = None
    is_silent: bool = False

    def warn(self, text: str) -> None:
        """Log a warning."""
        if not self.is_silent:
            log.warning("%s", text)


@dataclass(frozen=True, slots=True)
class Clock:
    """Measures the duration of a run, including its parts before an interruption.

    Attributes:
        begin: Start of this part in seconds of ``time.perf_counter``.
        earlier_s: Seconds that earlier parts took, if the run was interrupted.
        budget_s: Time budget in seconds; None for no limit.
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
        """Seconds left of the time budget, 0 if it is exceeded; None without a budget."""
        return None if self.budget_s is None else max(self.budget_s - self.elapsed_s, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The context of a run, which is shared by its stages and never changes.

    Attributes:
        requested: The options that the user passed, which a resumed run must repeat.
        config: The same options, with ``align`` replaced by its measured value.
        original: The model as it was read.
        untied: The same model, with the constants untied that an exporter merged.
        copies: The constants that untying created, each with the name of its origin.
        data: The disjoint splits of the data.
        backend: The training backend.
        trainers: Makes trainers, and caches the last one.
        chooser: Chooses the compact form of each layer.
        passes: How the passes are instrumented that make the trainable and the written graph.
        reporter: Reports progress and warnings.
        clock: Measures the duration of the run.
        functions: Functions of the user: loss, score, importance.
        baseline: Accuracy of the original on the selection split.
        is_rehearsal: Whether this is the rehearsal of the last stages.
    """

    requested: CompressConfig
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
        """The smallest acceptable accuracy on the selection split."""
        drop = math.inf if self.config.max_drop is None else self.config.max_drop
        # Tolerance for rounding, so that a drop of exactly the allowed size is accepted.
        return self.baseline - drop / 100 - 1e-9

    @property
    def imitates(self) -> bool:
        """Whether the network learns from the outputs of the original alone, without labels."""
        has_labels = self.data.train.labels is not None and not learns_no_labels(self.data.tasks)
        return not has_labels and self.functions.loss is None

    def healing(self, rate: float = 1.0, batch_size: int | None = None) -> dict[str, Any]:
        """Return the arguments of a fit after a cut: the learning rate, and what it keeps.

        Args:
            rate: Peak learning rate, relative to that of the final fine-tuning.
            batch_size: Images per step; None for that of the options.
        """
        if self.imitates:
            size = batch_size or self.config.train.batch_size
            rate *= IMITATION_RATE * math.sqrt(min(size / IMITATION_BATCH, 1.0))
        return {
            "learning_rate": rate * self.config.train.learning_rate,
            "keep_statistics": self.imitates,
        }

    def training(self, mode: Mode | None, batch_size: int | None = None) -> TrainConfig:
        """Return the options of training, with the training mode if one was chosen."""
        train = self.config.train
        train = replace(train, batch_size=batch_size or train.batch_size)
        if mode is None:
            return train
        return replace(
            train, precision=mode.precision, channels_last=mode.channels_last, threads=mode.threads
        )

    def trainer(
        self,
        network: Network,
        mode: Mode | None,
        *,
        round_number: int = 0,
        batch_size: int | None = None,
    ) -> Trainer:
        """Return a trainer for a network, with the original as its teacher.

        Args:
            network: The network to train.
            mode: The training mode, if one was chosen.
            round_number: A number that is added to the seed.
            batch_size: Images per step; None for that of the options.
        """
        config = self.training(mode, batch_size)
        config = replace(config, seed=config.seed + round_number)
        return self.trainers.get(network.model, self.data.train, config)

    def evaluator(self, network: Network, mode: Mode | None = None) -> Trainer:
        """Return a trainer that only evaluates a network."""
        return self.trainers.get(network.model, None, self.training(mode))
