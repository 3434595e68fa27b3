"""The loss of a training step, and the teacher's outputs that it compares with."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from acgraph.backends.torch.features import Feature, FeatureLoss, choose_features
from acgraph.backends.torch.fit_parts import LossOf
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.imitation import SCALED, Scale, measure_scales
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.loader import Batch
from acgraph.backends.torch.losses import (
    AdaptedLoss,
    Loss,
    Outputs,
    UserLoss,
    tasks_of,
)
from acgraph.backends.torch.modes import PLAIN, Mode
from acgraph.backends.torch.teacher import Teacher
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset, iterate_batches
from acgraph.errors import UsageError
from acgraph.tasks import OutputTask, learns_no_labels

#: Number of examples on which the variance of the teacher's outputs is measured.
SCALE_EXAMPLES = 256


@dataclass(slots=True, kw_only=True)
class Distillation:
    """The terms of the loss: labels, the teacher's outputs and features, or a custom loss.

    Attributes:
        config: Weights of the terms.
        teacher: The teacher of knowledge distillation, if any.
        is_probability: Whether the network ends in a Softmax.
        user_loss: A custom loss, which replaces all terms.
        tasks: Task of each output; if empty, it is guessed from the teacher's outputs.
        scales: Scale of the errors of each output; empty until it is measured.
        features: Intermediate tensors that are compared.
    """

    config: TrainConfig
    teacher: Teacher | None
    is_probability: bool
    user_loss: UserLoss | None
    tasks: tuple[OutputTask, ...] = ()
    scales: tuple[Scale, ...] = ()
    features: tuple[Feature, ...] = ()

    @property
    def watch(self) -> tuple[str, ...]:
        """Names of the intermediate tensors that both networks return after their outputs."""
        return tuple(feature.name for feature in self.features)

    @property
    def compares_features(self) -> bool:
        """Whether features are part of the loss."""
        return self.teacher is not None and self.config.feature_weight > 0

    def choose_features(self, student: GraphModule, x: Inputs) -> None:
        """Choose the intermediate tensors to compare, given one example.

        Raises:
            UsageError: The networks have no comparable tensor.
        """
        if self.teacher is not None:
            self.features = choose_features(student, self.teacher.module, x)

    def measure_scales(self, train: Dataset, batch_size: int, device: torch.device) -> None:
        """Guess the tasks of the outputs if they are not given, and measure their scales, once.

        Args:
            train: Training examples; the teacher runs on up to ``SCALE_EXAMPLES`` of them.
            batch_size: Examples per run.
            device: Device of the teacher.
        """
        if self.teacher is None or self.user_loss is not None or self.scales:
            return
        teacher, has_labels = self.teacher, train.labels is not None
        if not self.tasks and has_labels and len(teacher.module.output_names) == 1:
            return  # the loss of a classifier needs no scale
        if self.tasks and all(task.kind not in SCALED for task in self.tasks):
            return
        batches = (
            teacher(Inputs.of(batch, teacher.module.input_names, device), PLAIN)
            for batch in iterate_batches(train, batch_size, SCALE_EXAMPLES)
        )
        first = next(batches)
        if not self.tasks:
            self.tasks = tasks_of(first, is_probability=self.is_probability, has_labels=has_labels)
        if any(task.kind in SCALED for task in self.tasks):
            self.scales = measure_scales(self.tasks, itertools.chain([first], batches))

    def check(self) -> None:
        """Check that the options of training suit the tasks and the teacher.

        Raises:
            UsageError: An option does not suit them.
        """
        is_class = not self.tasks or self.tasks[0].kind == "classification"
        if self.config.mixup > 0 and not is_class:
            raise UsageError(
                f"train.mixup requires classification, but the task of output "
                f"{self.tasks[0].described} is {self.tasks[0].kind}",
                hint="leave train.mixup at 0",
            )
        if self.config.cache_teacher and any(task.batch_axis for task in self.tasks):
            raise UsageError(
                "train.cache_teacher requires outputs whose batch axis is 0, but that of output "
                f"{next(t.described for t in self.tasks if t.batch_axis)} is another",
                hint="switch train.cache_teacher off",
            )
        if self.teacher is None and self.config.feature_weight > 0:
            raise UsageError(
                "feature_weight requires a teacher, but there is none",
                hint="leave feature_weight at 0",
            )

    def loss(self) -> LossOf:
        """Return the loss of a batch."""
        if self.user_loss is not None:
            return AdaptedLoss(self.user_loss)
        loss = Loss(self.config, self.is_probability, self.tasks, self.scales)
        if not self.features:
            return loss
        return FeatureLoss(loss, self.features, self.config.feature_weight)

    def teacher_outputs(
        self, train: Dataset, mode: Mode
    ) -> Callable[[Inputs, Batch], Outputs] | None:
        """Return a function that computes the teacher's outputs; None if the loss needs none.

        Args:
            train: The training examples.
            mode: Precision and layout of the teacher.
        """
        teacher, weight = self.teacher, self.config.distill_weight
        uses_labels = train.labels is not None and not learns_no_labels(self.tasks)
        is_ignored = uses_labels and self.user_loss is None and weight == 0
        if teacher is None or (is_ignored and not self.features):
            return None
        if self.config.cache_teacher:
            return lambda _, batch: teacher.cached_outputs(train, batch.indices, mode)
        return lambda x, _: teacher(x, mode, self.watch)
