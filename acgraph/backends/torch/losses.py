"""What training minimises, and what it is measured by."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from acgraph.backends.training import TrainConfig
from acgraph.ir import Model
from acgraph.operators import Trait, operators_with

Outputs = tuple[Tensor, ...]
#: A user's loss: outputs of the network, labels or None, outputs of the teacher or None -> scalar.
UserLoss = Callable[[Outputs, Tensor | None, Outputs | None], Tensor]

#: Operators behind a Softmax that leave its probabilities as they are: views, but for those that
#: move the classes to another axis or round them.
_SHAPERS = operators_with(Trait.VIEW) - {"Cast", "Transpose", "Unsqueeze"}


@dataclass(frozen=True, slots=True)
class Mix:
    """How images of a batch were mixed in pairs.

    Attributes:
        share: Of the image itself.
        labels: Of the images that have the rest; None where there are none.
    """

    share: float
    labels: Tensor | None

    def cut(self, rows: slice) -> "Mix":
        """Return the mixture of some of the images."""
        return Mix(self.share, None if self.labels is None else self.labels[rows])


@dataclass(frozen=True, slots=True)
class Loss:
    """Cross-entropy with the labels and divergence from the teacher.

    With labels and a teacher: ``a * T^2 * KL(teacher/T, student/T) + (1 - a) * cross-entropy``
    (Hinton et al., arXiv 1503.02531). Without labels the teacher alone is followed, on every
    output of the network; without a teacher the labels alone.

    Attributes:
        config: Weights of the parts.
        is_probability: True where the network ends in a Softmax, whose logarithm are the logits.
    """

    config: TrainConfig
    is_probability: bool = False

    def __call__(
        self, outputs: Outputs, y: Tensor | None, teacher: Outputs | None, mix: Mix | None = None
    ) -> Tensor:
        """Return the loss of a batch, a float32 scalar."""
        if y is None:
            if teacher is None:
                raise ValueError("neither labels nor a teacher")
            return self._imitate(outputs, teacher)
        logits = logits_of(outputs[0], self.is_probability)
        weight = self.config.distill_weight if teacher is not None else 0.0
        loss = logits.new_zeros(())
        if weight < 1:
            loss = loss + (1 - weight) * self._cross_entropy(logits, y, mix)
        if teacher is not None and weight > 0:
            loss = loss + weight * self._divergence(
                logits, logits_of(teacher[0], self.is_probability)
            )
        return loss

    def _cross_entropy(self, logits: Tensor, y: Tensor, mix: Mix | None) -> Tensor:
        smoothing = self.config.label_smoothing
        loss = F.cross_entropy(logits, y, label_smoothing=smoothing)
        if mix is None or mix.labels is None:
            return loss
        other = F.cross_entropy(logits, mix.labels, label_smoothing=smoothing)
        return mix.share * loss + (1 - mix.share) * other

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        temperature = self.config.distill_temperature
        return temperature**2 * F.kl_div(
            F.log_softmax(student / temperature, dim=1),
            F.log_softmax(teacher / temperature, dim=1),
            reduction="batchmean",
            log_target=True,
        )

    def _imitate(self, outputs: Outputs, teacher: Outputs) -> Tensor:
        loss = outputs[0].new_zeros((), dtype=torch.float32)
        for number, (mine, other) in enumerate(zip(outputs, teacher, strict=True)):
            if number == 0 and mine.ndim == 2 and mine.shape[1] > 1:
                loss = loss + self._divergence(
                    logits_of(mine, self.is_probability), logits_of(other, self.is_probability)
                )
            elif mine.is_floating_point():
                loss = loss + relative_error(mine, other)
        return loss


def logits_of(output: Tensor, is_probability: bool) -> Tensor:
    """Return logits in float32; the logarithm of probabilities serves, as softmax undoes it."""
    output = output.float()
    return output.clamp_min(1e-12).log() if is_probability else output


def relative_error(mine: Tensor, other: Tensor) -> Tensor:
    """Return ``||mine - other||^2 / ||other - mean(other)||^2`` in float32: 0 is equal."""
    other = other.float()
    spread = (other - other.mean()).square().mean().clamp_min(1e-12)
    return (mine.float() - other).square().mean() / spread


def ends_in_softmax(model: Model) -> bool:
    """Tell whether the first output of a model holds probabilities in place of logits."""
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
    """A user's loss in the form of ours."""

    def __init__(self, loss: UserLoss) -> None:
        self._loss = loss

    def __call__(
        self, outputs: Outputs, y: Tensor | None, teacher: Outputs | None, mix: Mix | None = None
    ) -> Tensor:
        """Return the loss of a batch; it is never mixed."""
        return self._loss(outputs, y, teacher)
