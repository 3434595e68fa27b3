"""Options and results of training, independent of the backend."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from acgraph.errors import UsageError
from acgraph.limits import check_threads

Array = npt.NDArray[Any]
#: Masks (True = kept) by the name of the weight; broadcastable to the weight.
Masks = Mapping[str, npt.NDArray[np.bool_]]

#: A user's metric: outputs of the network and labels or None of a batch -> a number, averaged over
#: the examples; the higher, the better.
Evaluate = Callable[[tuple[Array, ...], Array | None], float]

Schedule = Literal["onecycle", "cosine", "constant"]
Optimizer = Literal["sgd", "adam", "adamw"]
Precision = Literal["auto", "fp32", "bf16"]

#: Approximate seconds of a step that is timed to choose the training mode; up to 20 are timed.
PROBE_SECONDS = 1.0

_CHOICES: dict[str, tuple[object, ...]] = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("onecycle", "cosine", "constant"),
    "precision": ("auto", "fp32", "bf16"),
    "channels_last": ("auto", True, False),
    "crop_fill": ("zero", "reflect"),
    "flip": ("auto", True, False),
    "device": ("auto", "cpu", "cuda"),
}
#: Lowest and highest value of each number, both allowed.
_RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-12, math.inf),
    "batch_size": (1, math.inf),
    "momentum": (0, 1 - 1e-12),
    "weight_decay": (0, math.inf),
    "label_smoothing": (0, 1 - 1e-12),
    "mixup": (0, math.inf),
    "distill_weight": (0, 1),
    "distill_temperature": (1e-6, math.inf),
    "feature_weight": (0, math.inf),
    "ema": (0, 1 - 1e-12),
    "grad_clip": (0, math.inf),
    "crop": (0, math.inf),
    "erase": (0, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Options of training.

    Attributes:
        learning_rate: Peak learning rate of the schedule.
        optimizer: SGD with Nesterov momentum, Adam, or AdamW.
        schedule: One cycle (short warm-up, cosine to zero), cosine to zero, or constant.
        batch_size: Images per step. ``compress`` takes fewer for a short training without labels.
        momentum: Momentum of SGD; the first beta of Adam.
        weight_decay: Weight decay; not applied to biases, scales and shifts.
        label_smoothing: Share of the target that is distributed over all classes.
        mixup: Images are mixed in pairs with weights from Beta(mixup, mixup); 0 is off.
        distill_weight: Weight of knowledge distillation in the loss; labels have the rest.
        distill_temperature: Temperature of both softmax distributions in distillation.
        feature_weight: Weight of the difference between intermediate tensors of the network and
            the teacher, which is added to the loss; 0 is off.
        ema: Decay of the exponential moving average of the weights that a fit returns; 0 is off.
        grad_clip: Largest norm of the gradient of the loss; 0 is off. ``auto`` clips the gradients
            of layers that no BatchNormalization follows, each to a share of its weights.
        augment: Crop, flip and erase images as configured below; other data is not augmented.
        crop: Largest random shift in pixels.
        crop_fill: Fill of the border that a shift uncovers: zeros, or the mirrored image.
        flip: Mirror a random half of the images. ``auto`` does so unless an output reads text
            (its task is ``ctc``).
        erase: Share of the images in which a random square is set to zero.
        precision: Multiply in float32 or bfloat16; ``auto`` takes the fastest accurate one.
        channels_last: Memory layout of images; ``auto`` takes the fastest.
        micro_batch: Largest number of images that run at once: larger batches are split into
            micro-batches with gradient accumulation. ``auto`` takes as many as fit into memory.
        cache_teacher: Run the teacher once over all images and cache its outputs; requires that
            images are not augmented.
        threads: CPU threads; None uses all or, if the mode is timed, fewer if that is faster.
        device: ``auto`` is the GPU if there is one.
        seed: Seed of the order, augmentation and dropout.
    """

    learning_rate: float = 0.05
    optimizer: Optimizer = "sgd"
    schedule: Schedule = "onecycle"
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    mixup: float = 0.0
    distill_weight: float = 0.7
    distill_temperature: float = 4.0
    feature_weight: float = 0.0
    ema: float = 0.0
    grad_clip: Literal["auto"] | float = "auto"
    augment: bool = True
    crop: int = 4
    crop_fill: Literal["zero", "reflect"] = "zero"
    flip: Literal["auto"] | bool = "auto"
    erase: float = 0.0
    precision: Precision = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    micro_batch: Literal["auto"] | int = "auto"
    cache_teacher: bool = False
    threads: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: A value is invalid.
        """
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                allowed = ", ".join(str(choice) for choice in choices)
                raise UsageError(f"{name} is {value!r}", hint=f"choose one of {allowed}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value != "auto" and not low <= value <= high:
                raise UsageError(
                    f"{name} is {value}", hint=f"give a number from {low:g} to {high:g}"
                )
        if self.micro_batch != "auto" and self.micro_batch < 1:
            raise UsageError(f"micro_batch is {self.micro_batch}", hint="give at least 1, or auto")
        if self.threads is not None:
            check_threads(self.threads)
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}", hint="give a seed of at least 0")


def score_of(evaluate: Evaluate, outputs: Sequence[Array], labels: Array | None) -> float:
    """Score a batch by a metric of the user.

    Raises:
        UsageError: The metric does not return a finite number.
    """
    found = evaluate(tuple(outputs), labels)
    try:
        score = float(found)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        shown = f"a {type(found).__name__}" if np.ndim(found) else repr(found)
        raise UsageError(
            f"evaluate: returned {shown} for a batch", hint="return a finite number for each batch"
        )
    return score


def steps_per_pass(count: int, batch_size: int) -> int:
    """Return the number of steps in a pass over all images."""
    return -(-count // batch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proximal:
    """Pull weights to targets: adds ``sum rho/2 * ||W - T||^2`` to the loss.

    Attributes:
        targets: ``T`` by the name of the weight; in ADMM ``Z - U``.
        rho: Strength by the name of the weight.
    """

    targets: Mapping[str, Array]
    rho: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStats:
    """One pass over the training images.

    Attributes:
        epoch: Passes done in this fit, fractional at its end.
        epochs: Requested number of passes.
        loss: Mean loss over the steps of this pass.
        learning_rate: Learning rate of the last step.
        images_per_second: Throughput of this pass.
        seconds: Seconds since the start of the fit.
    """

    epoch: float
    epochs: float
    loss: float
    learning_rate: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """The result of a fit.

    Attributes:
        epochs: Passes over the training images, fractional.
        seconds: Wall time in seconds without callbacks.
        loss: Mean loss over the steps of the last pass; NaN if there was no step.
        steps: Number of optimizer steps.
        images_per_second: Mean throughput.
        is_stopped: Whether the time budget ended before the epochs.
        trouble: If training diverged and continued at a lower learning rate: a line about it.
    """

    epochs: float
    seconds: float
    loss: float
    steps: int
    images_per_second: float
    is_stopped: bool = field(default=False)
    trouble: str = ""


class ProgressSink(Protocol):
    """Receives the progress of training."""

    def start(self, total_steps: int, description: str) -> None:
        """Start a fit of ``total_steps`` steps."""

    def update(self, step: int, loss: float, images_per_second: float) -> None:
        """Report that ``step`` steps are done."""

    def finish(self) -> None:
        """End the fit, complete or not."""


class NoProgress:
    """Ignores the progress."""

    def start(self, total_steps: int, description: str) -> None:
        """Do nothing."""

    def update(self, step: int, loss: float, images_per_second: float) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
