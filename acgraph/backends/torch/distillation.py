"""What a step minimises, and whom it asks for that."""

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
    learns_no_labels,
    tasks_of,
)
from acgraph.backends.torch.modes import PLAIN, Mode
from acgraph.backends.torch.teacher import Teacher
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset, iterate_batches
from acgraph.errors import UsageError
from acgraph.tasks import OutputTask

#: Examples on which the spread of the teacher's outputs is measured.
SCALE_EXAMPLES = 256


@dataclass(slots=True, kw_only=True)
class Distillation:
    """The parts of the loss of a batch: labels, a teacher's outputs and features, or a user's loss.

    Attributes:
        config: Weights of the parts.
        teacher: Who is learnt from; None where there is nobody.
        is_probability: Whether the network ends in a Softmax.
        user_loss: Replaces all parts.
        tasks: What the outputs mean; guessed by what the teacher makes of a batch where none.
        scales: What errors of each output are divided by; none before they are measured.
        features: What inside both networks is compared.
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
        """Names of the tensors that both networks return after their outputs."""
        return tuple(feature.name for feature in self.features)

    @property
    def compares_features(self) -> bool:
        """Whether features are part of the loss."""
        return self.teacher is not None and self.config.feature_weight > 0

    def choose_features(self, student: GraphModule, x: Inputs) -> None:
        """Choose what to compare, by one example.

        Raises:
            UsageError: there is nothing to compare.
        """
        if self.teacher is not None:
            self.features = choose_features(student, self.teacher.module, x)

    def measure_scales(self, train: Dataset, batch_size: int, device: torch.device) -> None:
        """Find out, once, what outputs mean where nobody says, and on what scales they vary.

        Args:
            train: Training examples, a few of which the teacher answers.
            batch_size: How many at once.
            device: Where the teacher is.
        """
        if self.teacher is None or self.user_loss is not None or self.scales:
            return
        teacher, has_labels = self.teacher, train.labels is not None
        if not self.tasks and has_labels and len(teacher.module.output_names) == 1:
            return  # a classifier, whose loss has no scale
        if self.tasks and all(task.kind not in SCALED for task in self.tasks):
            return
        answers = (
            teacher(Inputs.of(batch, teacher.module.input_names, device), PLAIN)
            for batch in iterate_batches(train, batch_size, SCALE_EXAMPLES)
        )
        first = next(answers)
        if not self.tasks:
            self.tasks = tasks_of(first, is_probability=self.is_probability, has_labels=has_labels)
        if any(task.kind in SCALED for task in self.tasks):
            self.scales = measure_scales(self.tasks, itertools.chain([first], answers))

    def check(self) -> None:
        """Check that options of training fit what there is to learn from.

        Raises:
            UsageError: they do not.
        """
        is_class = not self.tasks or self.tasks[0].kind == "classification"
        if self.config.mixup > 0 and not is_class:
            raise UsageError(
                f"train.mixup mixes labels of classes, and output {self.tasks[0].described} is "
                f"taken for {self.tasks[0].kind}",
                hint="leave it at 0",
            )
        if self.config.cache_teacher and any(task.batch_axis for task in self.tasks):
            raise UsageError(
                "train.cache_teacher keeps outputs whose first axis counts the examples, and "
                f"{next(task.described for task in self.tasks if task.batch_axis)} has another",
                hint="leave it off",
            )
        if self.teacher is None and self.config.feature_weight > 0:
            raise UsageError(
                "feature_weight compares with a teacher, and there is none", hint="leave it at 0"
            )

    def loss(self) -> LossOf:
        """Return the loss of a batch."""
        if self.user_loss is not None:
            return AdaptedLoss(self.user_loss)
        loss = Loss(self.config, self.is_probability, self.tasks, self.scales)
        if not self.features:
            return loss
        return FeatureLoss(loss, self.features, self.config.feature_weight)

    def ask(self, train: Dataset, mode: Mode) -> Callable[[Inputs, Batch], Outputs] | None:
        """Return what gives the teacher's outputs for a batch; None where nothing depends on them.

        Args:
            train: Where batches come from.
            mode: How the teacher runs.
        """
        teacher, weight = self.teacher, self.config.distill_weight
        is_taught = train.labels is not None and not learns_no_labels(self.tasks)
        is_ignored = is_taught and self.user_loss is None and weight == 0
        if teacher is None or (is_ignored and not self.features):
            return None
        if self.config.cache_teacher:
            return lambda _, batch: teacher.recall(train, batch.indices, mode)
        return lambda x, _: teacher(x, mode, self.watch)
