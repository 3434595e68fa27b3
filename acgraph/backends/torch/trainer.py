"""Train, recalibrate and evaluate a model on a CPU or GPU."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from acgraph.analysis.layers import Layer
from acgraph.backends.torch import checks
from acgraph.backends.torch.augment import with_flip
from acgraph.backends.torch.distillation import Distillation
from acgraph.backends.torch.evaluation import evaluate
from acgraph.backends.torch.export import export_model
from acgraph.backends.torch.fit_parts import FitOptions
from acgraph.backends.torch.fits import FitRunner
from acgraph.backends.torch.fixed_batch import describe_fixed_batch
from acgraph.backends.torch.grams import input_grams
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.losses import Outputs, UserLoss, ends_in_softmax
from acgraph.backends.torch.modes import Mode, run_module
from acgraph.backends.torch.recalibration import recalibrate
from acgraph.backends.torch.runtime import choose_device, evaluating
from acgraph.backends.torch.setup import Setup
from acgraph.backends.torch.teacher import Teacher
from acgraph.backends.torch.team import team
from acgraph.backends.training import (
    PROBE_SECONDS,
    Array,
    EpochStats,
    Evaluate,
    FitResult,
    Masks,
    NoProgress,
    ProgressSink,
    Proximal,
    Schedule,
    TrainConfig,
)
from acgraph.data import Batch, Dataset, first_example
from acgraph.errors import BackendError, UsageError
from acgraph.ir import Model
from acgraph.pruning.reconstruct import Gram
from acgraph.tasks import OutputTask


class TorchTrainer:
    """Trains a clone of a model; the model itself is not changed.

    The loss consists of the loss on labels, if there are any, the distillation loss, if there is a
    teacher, and an optional feature loss. If the labels are classes, the first output of the graph
    must be ``[N, classes]``. The same seed, mode and number of threads give the same weights.
    """

    def __init__(
        self,
        model: Model,
        train: Dataset | None,
        *,
        teacher: Model | None = None,
        config: TrainConfig | None = None,
        progress: ProgressSink | None = None,
        loss: UserLoss | None = None,
        metric: Evaluate | None = None,
        probe_s: float = PROBE_SECONDS,
        tasks: Sequence[OutputTask] | None = None,
    ) -> None:
        """Prepare a model for training.

        Args:
            model: The model to train.
            train: Training images; None if the trainer only evaluates.
            teacher: The teacher of distillation, usually the original model. Without labels,
                :meth:`evaluate` measures the agreement with it.
            config: Options of training.
            progress: Receives the progress of fits.
            loss: Replaces the loss: outputs, labels or None, outputs of the teacher or None -> a
                scalar.
            metric: Replaces the metric of :meth:`evaluate`.
            probe_s: Approximate seconds of a step that is timed to choose the mode; up to 20 steps
                are timed.
            tasks: The task of each output; None guesses it from the teacher's outputs.

        Raises:
            UnsupportedOpError: The backend cannot run the model.
            BackendError: The model and the data do not fit together, or a weight is not finite.
            UsageError: The options contradict each other.
        """
        self.config = with_flip(config or TrainConfig(), tasks or ())
        self.device = choose_device(self.config.device)
        self.module = GraphModule(model).to(self.device)
        self._model = model
        self._train = train
        self._user_loss = loss
        self._metric = metric
        size = self.config.batch_size
        self._teacher = None if teacher is None else Teacher(teacher, self.device, size)
        self._distillation = Distillation(
            config=self.config, teacher=self._teacher, is_probability=ends_in_softmax(model),
            user_loss=loss, tasks=tuple(tasks or ()),
        )  # fmt: skip
        teacher_module = None if self._teacher is None else self._teacher.module
        group = team()
        self._setup = Setup(self.module, teacher_module, self.config, self.device, group, probe_s)
        self._fits = FitRunner(
            model=model, module=self.module, teacher=teacher, distillation=self._distillation,
            setup=self._setup, config=self.config, device=self.device, team=group,
            progress=progress or NoProgress(),
        )  # fmt: skip
        self._check(train)
        if train is not None and self._distillation.compares_features:
            self._choose_features(train)

    @property
    def mode(self) -> Mode:
        """Precision, layout and threads of training; chosen before the first fit."""
        return self._setup.mode

    def fit(
        self,
        *,
        epochs: float,
        learning_rate: float | None = None,
        schedule: Schedule | None = None,
        masks: Masks | None = None,
        proximal: Proximal | None = None,
        time_budget_s: float | None = None,
        keep_statistics: bool = False,
        on_epoch: Callable[[EpochStats], None] | None = None,
        description: str = "training",
    ) -> FitResult:
        """Train for a number of passes over the training images, with a new optimizer.

        Args:
            epochs: Number of passes, which may be fractional: the fit has
                ``round(epochs * ceil(images / batch))`` steps.
            learning_rate: Peak learning rate; replaces the configured one.
            schedule: Schedule of the learning rate; replaces the configured one.
            masks: Masks of the weights (``True`` = kept), by name; removed entries are exactly zero
                throughout the fit.
            proximal: Proximal terms, which are part of the reported loss.
            time_budget_s: Stop after this many seconds of training. The schedule is shortened
                accordingly, so that the result depends on the speed of the host.
            keep_statistics: Use the running statistics of BatchNormalization and leave them as they
                are, instead of those of each batch.
            on_epoch: Called after every pass, and every few minutes within a long pass; may
                evaluate, and save :meth:`state_dict`.
            description: Name of the fit for ``progress``.

        Raises:
            BackendError: There is no training data, a weight is unknown, or an image is not finite
                (the last good weights are kept).
            DivergedError: Training diverged at every learning rate; the weights from before the
                fit are restored.
            UsageError: The number of epochs, the learning rate or the time budget is invalid.
        """
        train = self._require_train()
        checks.check_numbers(epochs, learning_rate, time_budget_s)
        options = FitOptions(
            epochs=epochs, learning_rate=learning_rate, schedule=schedule,
            masks=masks, proximal=proximal, time_budget_s=time_budget_s,
            keep_statistics=keep_statistics,
        )  # fmt: skip
        return self._fits.run(train, options, on_epoch, description)

    def join(self, images: int, options: FitOptions) -> None:
        """Take part in a fit of the leading process.

        Args:
            images: Number of training images of the leader.
            options: Arguments of the leader's :meth:`fit`.

        Raises:
            BackendError: The number of images differs, or the leader's :meth:`fit` raises it.
            DivergedError: The leader's :meth:`fit` raises it.
        """
        self._fits.join(self._require_train(), images, options)

    def evaluate(self, data: Dataset, limit: int | None = None, *, fast: bool = False) -> float:
        """Return a metric on data: the custom metric, the task's on labels, or the agreement.

        Args:
            data: The examples.
            limit: Largest number of images, evenly spaced; None for all.
            fast: Use the training precision, in which bfloat16 may change a few close decisions;
                otherwise float32.

        Raises:
            BackendError: There are neither labels, a teacher nor a metric.
        """
        with self._setup.settings():
            if fast and self._train is not None:
                self._setup.prepare(self._train)
            mode = self.mode if fast else self._setup.evaluation_mode
            with evaluating(self.module):
                return evaluate(
                    lambda x: run_module(self.module, x, mode),
                    data,
                    input_names=self.module.input_names,
                    device=self.device,
                    batch_size=self._setup.images_at_once(data),
                    limit=limit,
                    teacher=self._teacher,
                    metric=self._metric,
                    tasks=self._distillation.tasks or None,
                )

    def images_at_once(self, data: Dataset) -> int:
        """Return the number of images of a data set that run at once without gradients."""
        return self._setup.images_at_once(data)

    def choose_mode(self) -> Mode:
        """Choose precision and memory layout now instead of at the first fit.

        Raises:
            BackendError: There is no training data.
        """
        train = self._require_train()
        with self._setup.settings():
            self._setup.prepare(train)
        return self.mode

    def describe(self) -> str:
        """Describe precision, layout, threads, and the sizes of batches and micro-batches."""
        self.choose_mode()
        with self._setup.settings():
            return str(self._setup)

    def describe_fixed_batch(self) -> str:
        """Describe the training of a network with a fixed batch size; empty if it is dynamic."""
        return describe_fixed_batch(self.module)

    def input_grams(
        self, layers: Sequence[Layer], batches: Iterable[Batch], *, seed: int = 0
    ) -> dict[str, Gram]:
        """Measure the moments of the inputs of layers, see ``acgraph.backends.torch.grams``."""
        return input_grams(self.module, self._model, layers, batches, seed=seed)

    def recalibrate(self, batches: int, *, fast: bool = False, images: int | None = None) -> None:
        """Estimate the running statistics of BatchNormalization again; weights are not changed.

        The mean and variance become their averages over batches of training images without
        augmentation. Nothing happens if the model has no BatchNormalization, or if its fixed batch
        size is too small (``GraphModule.keeps_statistics``).

        Args:
            batches: Number of batches; they are smaller if a whole batch does not fit into memory.
            fast: Use the training precision instead of float32.
            images: Upper bound of the number of images.

        Raises:
            BackendError: There is no training data.
            UsageError: ``batches`` is less than 1.
        """
        train = self._require_train()
        if batches < 1:
            raise UsageError(f"cannot recalibrate on {batches} batches", hint="give at least 1")
        if self.module.keeps_statistics:
            return
        with self._setup.settings():
            recalibrate(
                self.module,
                train,
                images=min(batches * self.config.batch_size, images or len(train)),
                batch_size=self.module.fixed_batch or self._setup.images_at_once(train),
                seed=self.config.seed,
                mode=self.mode if fast else self._setup.evaluation_mode,
                device=self.device,
            )

    def weights(self) -> dict[str, Array]:
        """Copy all weights and running statistics, by ONNX name."""
        return self.module.weights()

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set the given weights; the others are not changed."""
        self.module.load_weights(weights)

    def model(self) -> Model:
        """Return a clone of the model with the trained weights."""
        return export_model(self.module, self._model)

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which training can be resumed bit for bit.

        Inside ``on_epoch`` it includes the state of the running fit. It needs no state of random
        generators, which are seeded by the seed, the fit and the step.
        """
        return self._fits.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state.

        If it was saved inside a fit, the next :meth:`fit` with the same arguments continues that
        fit.

        Raises:
            BackendError: The state belongs to another model or another seed.
        """
        self._fits.load_state_dict(state)

    def _check(self, train: Dataset | None) -> None:
        has_own_loss, has_teacher = self._user_loss is not None, self._teacher is not None
        checks.check_weights(self.module, self._model)
        checks.check_options(self.config, train, has_own_loss=has_own_loss)
        if train is not None and not has_own_loss:
            source = self._model.source
            checks.check_outputs(train, self._first_output, source, has_teacher=has_teacher)

    @torch.no_grad()
    def _first_output(self, batch: Batch) -> Tensor:
        self.module.eval()
        with self._setup.settings():
            outputs: Outputs = self.module(*self._inputs(batch).tensors)
        return outputs[0]

    def _choose_features(self, train: Dataset) -> None:
        with self._setup.settings():
            self._distillation.choose_features(self.module, self._inputs(first_example(train)))
        self._setup.watch = self._distillation.watch

    def _require_train(self) -> Dataset:
        if self._train is None:
            raise BackendError("there is no training data", hint="give --data")
        return self._train

    def _inputs(self, batch: Batch) -> Inputs:
        return Inputs.of(batch, self.module.input_names, self.device)
