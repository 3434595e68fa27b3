"""Train, recalibrate and evaluate a model on the CPU or a GPU."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from acgraph.analysis.layers import Layer
from acgraph.backends.torch import checks
from acgraph.backends.torch.constraints import find_pulls, find_removed
from acgraph.backends.torch.distillation import Distillation
from acgraph.backends.torch.evaluation import evaluate
from acgraph.backends.torch.export import export_model
from acgraph.backends.torch.fit_parts import FitPlan, Learner
from acgraph.backends.torch.fixed_batch import describe_fixed_batch
from acgraph.backends.torch.grams import input_grams
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.jobs import announce
from acgraph.backends.torch.loader import Loader, count_steps
from acgraph.backends.torch.loop import Fit
from acgraph.backends.torch.losses import Outputs, UserLoss, ends_in_softmax
from acgraph.backends.torch.modes import Mode, run_module
from acgraph.backends.torch.recalibration import recalibrate
from acgraph.backends.torch.runtime import choose_device, evaluating
from acgraph.backends.torch.setup import Setup
from acgraph.backends.torch.state import pack, unpack
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
    """Trains a clone of a model; the model itself stays as it is.

    The loss is cross-entropy with the labels and, where there is a teacher, divergence from it (the
    teacher alone where there are no labels) and, if wanted, the difference of features. The first
    output of the graph is ``[N, classes]`` wherever there are labels. The same seed, mode and
    number of threads give the same weights.
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
        """Set a model up for training.

        Args:
            model: What to train.
            train: Training images; None where the trainer only evaluates.
            teacher: Usually the original model: what to learn from, and what to agree with.
            config: How to train.
            progress: Who shows how far a fit is.
            loss: Replaces the loss: outputs, labels or None, outputs of the teacher or None -> a
                scalar.
            metric: Replaces the metric of :meth:`evaluate`.
            probe_s: Seconds of a step by which the mode is chosen, about; there are up to 20.
            tasks: What each output means; guessed by the teacher's outputs where not given.

        Raises:
            UnsupportedOpError: the backend cannot run the model.
            BackendError: the model and the data do not go together, or a weight is not finite.
            UsageError: options that contradict each other.
        """
        self.config = config or TrainConfig()
        self._team = team()
        self.device = choose_device(self.config.device)
        self.module = GraphModule(model).to(self.device)
        self._model = model
        self._train = train
        self._progress = progress or NoProgress()
        self._user_loss = loss
        self._metric = metric
        self._taught_by = teacher
        size = self.config.batch_size
        self._teacher = None if teacher is None else Teacher(teacher, self.device, size)
        self._distillation = Distillation(
            config=self.config, teacher=self._teacher, is_probability=ends_in_softmax(model),
            user_loss=loss, tasks=tuple(tasks or ()),
        )  # fmt: skip
        taught_by = None if self._teacher is None else self._teacher.module
        self._setup = Setup(self.module, taught_by, self.config, self.device, self._team, probe_s)
        self._fits = 0
        self._fit: Fit | None = None
        self._pending: Mapping[str, Any] | None = None
        self._check(train)
        if train is not None and self._distillation.compares_features:
            self._choose_features(train)

    @property
    def mode(self) -> Mode:
        """Precision, layout and threads of training; measured before the first fit."""
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
        on_epoch: Callable[[EpochStats], None] | None = None,
        description: str = "training",
    ) -> FitResult:
        """Train for so many passes over the training images, with a fresh optimizer.

        Args:
            epochs: Passes, fractional ones too: ``round(epochs * ceil(images / batch))`` steps.
            learning_rate: Peak, in place of the configured one.
            schedule: In place of the configured one.
            masks: What to keep, by the weight's name; everything else is zero from the start to
                the end, exactly.
            proximal: Pulls weights to targets; part of the reported loss.
            time_budget_s: Stop after so many seconds of training; the schedule is
                shortened to end by then, so that the result depends on the speed of the host.
            on_epoch: Called after every pass, and every few minutes within a long one; may evaluate
                and save :meth:`state_dict`.
            description: What progress calls the fit.

        Raises:
            BackendError: no training data, an unknown weight, or a loss or weight that is no
                longer finite (the last good weights are kept).
            UsageError: a number of epochs, rate or budget that cannot be meant.
        """
        train = self._require_train()
        checks.check_numbers(epochs, learning_rate, time_budget_s)
        self._distillation.check()
        options: dict[str, Any] = {
            "epochs": epochs, "learning_rate": learning_rate, "schedule": schedule,
            "masks": masks, "proximal": proximal, "time_budget_s": time_budget_s,
        }  # fmt: skip
        with self._setup.settings():
            self._setup.prepare(train)
            find_removed(self.module, masks or {})
            find_pulls(self.module, proximal)
            checks.check_team(
                self._team, train, self.config, has_own_loss=self._user_loss is not None
            )
            state = {**self.state_dict(), "fit": self._pending}
            announce(
                self._team, self._model, self._taught_by, train, self.config, state, options,
                self._distillation.tasks or None,
            )  # fmt: skip
            return self._fit_with_all(train, on_epoch, description, **options)

    def join(self, images: int, **options: Any) -> None:
        """Take part in a fit of the leading process.

        Args:
            images: How many training images the leader has.
            options: What its :meth:`fit` was called with.

        Raises:
            BackendError: other images, or what :meth:`fit` of the leader raises.
        """
        train = self._require_train()
        if len(train) != images:
            raise BackendError(
                f"process {self._team.rank} has {len(train)} training images, the leader {images}",
                hint="give every host the same data",
            )
        with self._setup.settings():
            self._setup.prepare(train)
            self._fit_with_all(train, None, "", **options)

    def _fit_with_all(
        self,
        train: Dataset,
        on_epoch: Callable[[EpochStats], None] | None,
        description: str,
        *,
        epochs: float,
        learning_rate: float | None,
        schedule: Schedule | None,
        masks: Masks | None,
        proximal: Proximal | None,
        time_budget_s: float | None,
    ) -> FitResult:
        self._distillation.measure_scales(train, self.images_at_once(train), self.device)
        plan = FitPlan(
            number=self._fits,
            epochs=epochs,
            total_steps=round(epochs * count_steps(train, self.config.batch_size)),
            learning_rate=learning_rate or self.config.learning_rate,
            schedule=schedule or self.config.schedule,
        )
        rank, size = self._team.rank, self._team.size
        self._fit = Fit(
            learner=self._learner(),
            plan=plan,
            loader=Loader(train, self.config, plan.number, rank=rank, size=size),
            removed=find_removed(self.module, masks or {}),
            pulls=find_pulls(self.module, proximal),
            names=self.module.parameter_names(),
            time_budget_s=time_budget_s,
            team=self._team,
            micro_batch=self._setup.micro_batch,
        )
        try:
            if self._pending is not None:
                self._fit.load_state_dict(self._pending)
                self._pending = None
            result = self._fit.run(self._progress, description, on_epoch)
        finally:
            self._fit = None
        self._fits += 1
        return result

    def evaluate(self, data: Dataset, limit: int | None = None, *, fast: bool = False) -> float:
        """Return the share of images whose label the model finds.

        Without labels: the agreement with the teacher. With a metric of the user's: that.

        Args:
            data: What to evaluate on.
            limit: At most so many images, evenly spaced.
            fast: Run in the mode of training, where bfloat16 may flip a few close decisions;
                otherwise in float32.

        Raises:
            BackendError: neither labels, teacher nor metric.
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
        """Return how many images of a dataset run at once where no gradients are needed."""
        return self._setup.images_at_once(data)

    def choose_mode(self) -> Mode:
        """Choose precision and memory layout by measurement now, rather than at the first fit.

        Raises:
            BackendError: no training data.
        """
        train = self._require_train()
        with self._setup.settings():
            self._setup.prepare(train)
        return self.mode

    def describe(self) -> str:
        """Say how training will run: precision, layout, threads, images a step and at once."""
        self.choose_mode()
        with self._setup.settings():
            return str(self._setup)

    def describe_fixed_batch(self) -> str:
        """Say how a network trains whose batch is fixed; empty where it is not."""
        return describe_fixed_batch(self.module)

    def input_grams(
        self, layers: Sequence[Layer], batches: Iterable[Batch], *, seed: int = 0
    ) -> dict[str, Gram]:
        """Measure the moments of what layers read, see ``acgraph.backends.torch.grams``."""
        return input_grams(self.module, self._model, layers, batches, seed=seed)

    def recalibrate(self, batches: int, *, fast: bool = False, images: int | None = None) -> None:
        """Estimate the running statistics of BatchNormalization anew, weights unchanged.

        Mean and variance of each become their averages over so many batches of training images,
        not augmented. A model without BatchNormalization stays as it is, and so does one that
        runs on so few images at once that they say too little, see ``GraphModule``.

        Args:
            batches: How many; smaller ones where memory holds no whole batch.
            fast: Run in the mode of training, where float32 is the rule: for searches.
            images: No more than so many, where that is less than the batches hold.

        Raises:
            BackendError: no training data.
            UsageError: fewer than one batch.
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
        """Set the named weights; the others stay."""
        self.module.load_weights(weights)

    def model(self) -> Model:
        """Return a clone of the model with the trained weights."""
        return export_model(self.module, self._model)

    def state_dict(self) -> dict[str, Any]:
        """Return all that training needs to go on bit for bit, for ``save_checkpoint``.

        Called inside ``on_epoch`` it holds the fit under way. Random numbers are functions of the
        seed, the fit and the step, so their state is these three.
        """
        return pack(self.module, self.config.seed, self._setup, self._fits, self._fit)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Where it was taken inside a fit, the next :meth:`fit`, called with the same arguments,
        continues that one.

        Raises:
            BackendError: it belongs to another model or another seed.
        """
        found = unpack(state, self.module, self.config.seed, self._model.source)
        if found.mode is not None:
            self._setup.use(found.mode, size=found.micro_batch)
        self._fits, self._pending = found.fits, found.fit

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

    def _learner(self) -> Learner:
        train = self._require_train()
        return Learner(
            module=self.module, forward=self._setup.forward, loss=self._distillation.loss(),
            teacher=self._distillation.ask(train, self.mode), mode=self.mode, device=self.device,
            config=self.config, input_names=self.module.input_names,
        )  # fmt: skip

    def _inputs(self, batch: Batch) -> Inputs:
        return Inputs.of(batch, self.module.input_names, self.device)
