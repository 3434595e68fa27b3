"""Trainers of a run: stages that work on one network share one."""

from collections.abc import Sequence

from acgraph.backends.interface import Trainer, TrainingBackend
from acgraph.backends.training import ProgressSink, TrainConfig
from acgraph.data import Dataset
from acgraph.ir import Model
from acgraph.tasks import OutputTask


class TrainerPool:
    """Makes trainers that learn from one network, and keeps the last: each holds much memory."""

    def __init__(
        self,
        backend: TrainingBackend,
        teacher: Model,
        progress: ProgressSink | None = None,
        tasks: Sequence[OutputTask] | None = None,
    ) -> None:
        """Begin without any.

        Args:
            backend: What trains.
            teacher: What networks learn from, and what they agree with.
            progress: Who shows how far a fit is.
            tasks: What each output means.
        """
        self._tasks = tasks
        self._backend = backend
        self._teacher = teacher
        self._progress = progress
        self._last: tuple[Model, Dataset | None, TrainConfig, Trainer] | None = None

    def release(self) -> None:
        """Give up the memory of the last trainer."""
        self._last = None

    def get(self, model: Model, train: Dataset | None, config: TrainConfig) -> Trainer:
        """Return the trainer of a model; the last one where it is of the same, else a new one.

        Args:
            model: What to train or evaluate.
            train: Training images; None where it is only evaluated.
            config: How to train.
        """
        if self._last is not None:
            known, images, before, trainer = self._last
            if known is model and images is train and before == config:
                return trainer
            del trainer
            self._last = None  # before the next is made: two may not fit into memory
        made = self._backend.trainer(
            model, train, teacher=self._teacher, config=config, progress=self._progress,
            tasks=self._tasks,
        )  # fmt: skip
        self._last = (model, train, config, made)
        return made
