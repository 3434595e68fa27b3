"""Losses of training: labels, distillation, and custom losses."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from acgraph.backends.torch.imitation import (
    Imitation,
    Outputs,
    Scale,
    logits_of,
    relative_error,
)
from acgraph.backends.torch.label_loss import label_loss
from acgraph.backends.training import TrainConfig
from acgraph.errors import UsageError
from acgraph.ir import Model
from acgraph.operators import Trait, operators_with
from acgraph.tasks import OutputTask, guess_by_values, learns_no_labels

#: A custom loss: outputs of the network, labels or None, outputs of the teacher or None -> scalar.
UserLoss = Callable[[Outputs, Tensor | None, Outputs | None], Tensor]

#: Operators after a Softmax that keep its probabilities: views, except those that move the classes
#: to another axis or round the values.
_SHAPERS = operators_with(Trait.VIEW) - {"Cast", "Transpose", "Unsqueeze"}


@dataclass(frozen=True, slots=True)
class Mix:
    """The mixup of a batch, whose images are mixed in pairs.

    Attributes:
        share: Weight of the image itself.
        labels: Labels of the other image of each pair; None without labels.
    """

    share: float
    labels: Tensor | None

    def cut(self, rows: slice) -> "Mix":
        """Return the mixup of some of the images."""
        return Mix(self.share, None if self.labels is None else self.labels[rows])


@dataclass(frozen=True)
class Loss:
    """Loss on labels and distillation loss.

    With labels and a teacher it is
    ``a * T^2 * KL(teacher/T, student/T) + (1 - a) * cross-entropy`` (Hinton et al., arXiv
    1503.02531), plus distillation terms for further outputs. Without labels it consists of the
    distillation terms of all outputs (`acgraph.backends.torch.imitation`); without a teacher, of
    the loss on labels.

    Attributes:
        config: Weights of the terms.
        is_probability: Whether the network ends in a Softmax, so that the logits are logarithms.
        tasks: Task of each output; if empty, it is guessed from the teacher's outputs.
        scales: Scale of the errors of each output; if empty, it is computed for each batch.
    """

    config: TrainConfig
    is_probability: bool = False
    tasks: tuple[OutputTask, ...] = ()
    scales: tuple[Scale, ...] = ()

    def __call__(
        self, outputs: Outputs, y: Tensor | None, teacher: Outputs | None, mix: Mix | None = None
    ) -> Tensor:
        """Return the loss of a batch, a float32 scalar."""
        if y is None or learns_no_labels(self.tasks):
            if teacher is None:
                raise ValueError("neither labels nor a teacher")
            return self._imitate(outputs, teacher)
        weight = self.config.distill_weight if teacher is not None else 0.0
        loss = outputs[0].new_zeros((), dtype=torch.float32)
        if weight < 1:
            loss = loss + (1 - weight) * self._labelled(outputs[0], y, mix)
        if teacher is not None and weight > 0:
            loss = loss + weight * self._imitate(outputs, teacher, has_labels=True)
        return loss

    def _labelled(self, output: Tensor, y: Tensor, mix: Mix | None) -> Tensor:
        task = self.tasks[0] if self.tasks else None
        if task is not None and (task.kind != "classification" or y.ndim > 1):
            return label_loss(task, output, y)
        logits = logits_of(output, self.is_probability)
        smoothing = self.config.label_smoothing
        loss = F.cross_entropy(logits, y, label_smoothing=smoothing)
        if mix is None or mix.labels is None:
            return loss
        other = F.cross_entropy(logits, mix.labels, label_smoothing=smoothing)
        return mix.share * loss + (1 - mix.share) * other

    def _imitate(self, outputs: Outputs, teacher: Outputs, *, has_labels: bool = False) -> Tensor:
        tasks = self.tasks or tasks_of(
            teacher, is_probability=self.is_probability, has_labels=has_labels
        )
        return Imitation(tasks, self.scales, self.config.distill_temperature)(outputs, teacher)


def tasks_of(
    teacher: Outputs, *, is_probability: bool, has_labels: bool = False
) -> tuple[OutputTask, ...]:
    """Guess the task of each output from the teacher's outputs on a batch.

    Args:
        teacher: Outputs of the teacher.
        is_probability: Whether the first output ends in a Softmax.
        has_labels: Whether the data has class labels for the first output.
    """
    arrays = [output.detach().float().cpu().numpy() if output.is_floating_point()
              else output.cpu().numpy() for output in teacher]  # fmt: skip
    first, *others = guess_by_values(arrays)
    if first.kind == "classification" or has_labels:
        first = replace(first, kind="classification", axis=1)
        first = replace(first, form="softmax" if is_probability else "logits")
    return (first, *others)


def ends_in_softmax(model: Model) -> bool:
    """Whether the first output of a model is probabilities instead of logits."""
    tensor = model.graph.outputs[0]
    while tensor.inputs:
        node = tensor.inputs[0]
        if node.op == "Softmax":
            return True
        if node.op not in _SHAPERS:
            return False
        tensor = node.inputs[0]
    return False


class AdaptedLoss:
    """Adapts a custom loss to the signature of :class:`Loss`."""

    def __init__(self, loss: UserLoss) -> None:
        self._loss = loss

    def __call__(
        self, outputs: Outputs, y: Tensor | None, teacher: Outputs | None, mix: Mix | None = None
    ) -> Tensor:
        """Return the loss of a batch, without mixup.

        Raises:
            UsageError: The custom loss does not return a scalar tensor with a gradient.
        """
        found = self._loss(outputs, y, teacher)
        if not isinstance(found, Tensor) or found.ndim > 0:
            shape = list(found.shape) if isinstance(found, Tensor) else ""
            raise UsageError(
                f"loss: returned a {type(found).__name__}{shape and f' of shape {shape}'}",
                hint="return the mean over the batch as a scalar tensor",
            )
        if torch.is_grad_enabled() and not found.requires_grad:
            raise UsageError(
                "loss: has no gradient", hint="compute it from the outputs with PyTorch operations"
            )
        return found


__all__ = [
    "AdaptedLoss", "Loss", "Mix", "Outputs", "UserLoss", "ends_in_softmax", "logits_of",
    "relative_error", "tasks_of",
]  # fmt: skip
