"""What a fit is made of: its plan, what it trains, and its tally."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.loader import Batch
from acgraph.backends.torch.losses import Mix, Outputs
from acgraph.backends.torch.modes import Mode
from acgraph.backends.training import Schedule, TrainConfig

LossOf = Callable[[Outputs, Tensor | None, Outputs | None, Mix | None], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """What a fit is to do; a fit is only resumed by the same plan.

    Attributes:
        number: Which fit of its trainer this is, from 0.
        epochs: Passes over the training images.
        total_steps: The same in steps.
        learning_rate: Peak.
        schedule: Of the learning rate.
    """

    number: int
    epochs: float
    total_steps: int
    learning_rate: float
    schedule: Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """What is trained, and by what.

    Attributes:
        module: The network, in the layout of ``mode``.
        forward: Runs it, on a tensor for each input.
        loss: Of a batch.
        teacher: Gives the teacher's outputs for mixed, augmented images and their numbers.
        mode: Precision and layout.
        device: Where the network is.
        config: How to train.
        input_names: Of the network, in the order of the graph.
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
    """Sums over the steps of the present pass."""

    loss: float = 0.0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0

    def mean_loss(self) -> float:
        """Mean over the steps; NaN before the first."""
        return self.loss / self.steps if self.steps else math.nan

    def speed(self) -> float:
        """Images a second; 0 before the first."""
        return self.images / self.seconds if self.seconds > 0 else 0.0
