"""What training is asked for and what it answers; known without loading a backend."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from acgraph.errors import UsageError

Array = npt.NDArray[Any]
#: Which entries of a weight are kept, by the weight's name; broadcastable to the weight.
Masks = Mapping[str, npt.NDArray[np.bool_]]

#: A user's metric: outputs of the network and labels or None of a batch -> a number, averaged over
#: the examples; the higher, the better.
Evaluate = Callable[[tuple[Array, ...], Array | None], float]

Schedule = Literal["onecycle", "cosine", "constant"]
Optimizer = Literal["sgd", "adam", "adamw"]
Precision = Literal["auto", "fp32", "bf16"]

#: Seconds of a step by which the mode of training is chosen, about; there are up to 20 such steps.
PROBE_SECONDS = 1.0

_CHOICES: dict[str, tuple[object, ...]] = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("onecycle", "cosine", "constant"),
    "precision": ("auto", "fp32", "bf16"),
    "channels_last": ("auto", True, False),
    "crop_fill": ("zero", "reflect"),
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
    """How to train.

    Attributes:
        learning_rate: The highest of the schedule.
        optimizer: SGD with Nesterov momentum, Adam, or AdamW.
        schedule: One cycle (short warm-up, cosine to zero), cosine to zero, or constant.
        batch_size: Images a step.
        momentum: Of SGD; the first beta of Adam.
        weight_decay: Not on biases, scales and shifts.
        label_smoothing: Share of the target spread over all classes.
        mixup: Images are mixed in pairs with weights from Beta(mixup, mixup); 0 is off.
        distill_weight: Share of the teacher's soft targets in the loss; the labels have the rest.
        distill_temperature: Softens both before they are compared.
        feature_weight: Of the difference between tensors inside the network and inside the
            teacher, which is added to the loss; 0 is off.
        ema: Decay of the running average of the weights that a fit ends with; 0 is off.
        grad_clip: Largest norm of the gradient of the loss; 0 is off. ``auto`` clips the gradients
            of layers that no BatchNormalization follows, each to a share of its weights.
        augment: Crop, flip and erase images as stated below; data that is no image never is.
        crop: Random shift by up to so many pixels.
        crop_fill: What a shift uncovers: zeros, or the image mirrored.
        flip: Mirror every other image, at random.
        erase: Share of the images in which a random square is set to zero.
        precision: Multiply in float32 or bfloat16; ``auto`` takes the fastest that agrees.
        channels_last: Memory layout of images; ``auto`` takes the fastest.
        micro_batch: The most images that run at once: larger batches are cut into parts, whose
            gradients are added up. ``auto`` takes as many as fit into memory.
        cache_teacher: Run the teacher once over all images; needs every image to stay the same.
        threads: CPU threads; None takes as many as there are or, where the mode is timed, fewer if
            that is faster.
        device: ``auto`` is the GPU where there is one.
        seed: Of order, augmentation and dropout.
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
    flip: bool = True
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
            UsageError: a value that cannot be meant.
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
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads is {self.threads}", hint="give at least 1")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}", hint="give a seed of at least 0")


def score_of(evaluate: Evaluate, outputs: Sequence[Array], labels: Array | None) -> float:
    """Judge a batch by a user's metric.

    Raises:
        UsageError: it gives no finite number.
    """
    found = evaluate(tuple(outputs), labels)
    try:
        score = float(found)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        shown = f"a {type(found).__name__}" if np.ndim(found) else repr(found)
        raise UsageError(
            f"evaluate: gave {shown} for a batch", hint="return a finite number for each batch"
        )
    return score


def steps_per_pass(count: int, batch_size: int) -> int:
    """Return how many steps visit every image once."""
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
        epochs: Passes asked for.
        loss: Mean over the steps of this pass.
        learning_rate: At the last step.
        images_per_second: Of this pass.
        seconds: Since the start of the fit.
    """

    epoch: float
    epochs: float
    loss: float
    learning_rate: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """What a fit did.

    Attributes:
        epochs: Passes over the training images, fractional.
        seconds: Wall time, callbacks excluded.
        loss: Mean over the steps of the last pass; NaN where there was no step.
        steps: Optimizer steps.
        images_per_second: Mean.
        is_stopped: True where the time budget ended before the epochs.
        trouble: What happened where training diverged and went on with smaller steps, in one line.
    """

    epochs: float
    seconds: float
    loss: float
    steps: int
    images_per_second: float
    is_stopped: bool = field(default=False)
    trouble: str = ""


class ProgressSink(Protocol):
    """Whoever shows how far training is."""

    def start(self, total_steps: int, description: str) -> None:
        """Begin a run of so many steps."""

    def update(self, step: int, loss: float, images_per_second: float) -> None:
        """Tell that ``step`` steps are done."""

    def finish(self) -> None:
        """End the run, complete or not."""


class NoProgress:
    """Shows nothing."""

    def start(self, total_steps: int, description: str) -> None:
        """Do nothing."""

    def update(self, step: int, loss: float, images_per_second: float) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""
