"""The trainers of a run: stages that work on the same network share one."""

from collections.abc import Sequence

from acgraph.backends.interface import Trainer, TrainingBackend
from acgraph.backends.training import ProgressSink, TrainConfig
from acgraph.data import Dataset
from acgraph.ir import Model
from acgraph.tasks import OutputTask


class TrainerPool:
    """Makes trainers with one teacher, and caches the last one, as each needs much memory."""

    def __init__(
        self,
        backend: TrainingBackend,
        teacher: Model,
        progress: ProgressSink | None = None,
        tasks: Sequence[OutputTask] | None = None,
    ) -> None:
        """Make an empty pool.

        Args:
            backend: The training backend.
            teacher: The teacher of distillation, with which agreement is measured as well.
            progress: Callback for the progress of training.
            tasks: The task of each output.
        """
        self._tasks = tasks
        self._backend = backend
        self._teacher = teacher
        self._progress = progress
        self._last: tuple[Model, Dataset | None, TrainConfig, Trainer] | None = None

    def release(self) -> None:
        """Free the memory of the last trainer."""
        self._last = None

    def get(self, model: Model, train: Dataset | None, config: TrainConfig) -> Trainer:
        """Return a trainer for a model: the last one if it has the same model, else a new one.

        Args:
            model: The model to train or evaluate.
            train: Training images; None if it is only evaluated.
            config: Options of training.
        """
        if self._last is not None:
            known, images, before, trainer = self._last
            if known is model and images is train and before == config:
                return trainer
            del trainer
            self._last = None  # free it before the next one is made: two may not fit into memory
        made = self._backend.trainer(
            model, train, teacher=self._teacher, config=config, progress=self._progress,
            tasks=self._tasks,
        )  # fmt: skip
        self._last = (model, train, config, made)
        return made
