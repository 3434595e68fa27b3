"""Records of a fit: its arguments, its plan, the network with its loss, and running sums."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.loader import Batch
from acgraph.backends.torch.losses import Mix, Outputs
from acgraph.backends.torch.modes import Mode
from acgraph.backends.training import Masks, Proximal, Schedule, TrainConfig

LossOf = Callable[[Outputs, Tensor | None, Outputs | None, Mix | None], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """The arguments of a fit, see ``TorchTrainer.fit``.

    Attributes:
        epochs: Passes over the training images, which may be fractional.
        learning_rate: Peak learning rate; None uses the configured one.
        schedule: Schedule of the learning rate; None uses the configured one.
        masks: Masks of the weights (``True`` = kept), by name.
        proximal: Proximal terms.
        time_budget_s: Seconds after which the fit ends; None for no limit.
        keep_statistics: Whether BatchNormalization uses and keeps its running statistics.
    """

    epochs: float
    learning_rate: float | None = None
    schedule: Schedule | None = None
    masks: Masks | None = None
    proximal: Proximal | None = None
    time_budget_s: float | None = None
    keep_statistics: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """The length and learning rates of a fit; a fit can only be resumed with the same plan.

    Attributes:
        number: Index of the fit among those of its trainer, from 0.
        epochs: Passes over the training images.
        total_steps: Number of optimizer steps in these passes.
        learning_rate: Peak learning rate.
        schedule: Schedule of the learning rate.
    """

    number: int
    epochs: float
    total_steps: int
    learning_rate: float
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """A network and everything that is needed to compute its loss.

    Attributes:
        module: The network, in the layout of ``mode``.
        forward: Runs the network on one tensor per input.
        loss: Loss of a batch.
        teacher: Computes the teacher's outputs for the inputs of a batch; None if not needed.
        mode: Precision and layout.
        device: Device of the network.
        config: Options of training.
        input_names: Names of the network's inputs, in graph order.
    """

    module: nn.Module
    forward: Callable[..., Outputs]
    loss: LossOf
    teacher: Callable[[Inputs, Batch], Outputs] | None
    mode: Mode
    device: torch.device
    config: TrainConfig
    input_names: Sequence[str]


@dataclass(slots=True)
class Tally:
    """Sums over the steps of the current pass."""

    loss: float = 0.0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0

    def mean_loss(self) -> float:
        """Return the mean loss of the steps; NaN before the first step."""
        return self.loss / self.steps if self.steps else math.nan

    def speed(self) -> float:
        """Return images per second; 0 before the first step."""
        return self.images / self.seconds if self.seconds > 0 else 0.0
