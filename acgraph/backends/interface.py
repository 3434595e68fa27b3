"""What the driver needs of a backend that trains: nothing here loads one."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from acgraph.analysis.layers import Layer
from acgraph.analysis.tail import Tail
from acgraph.backends.training import (
    Array,
    EpochStats,
    FitResult,
    Masks,
    ProgressSink,
    Proximal,
    Schedule,
    TrainConfig,
)
from acgraph.data import Batch, Dataset
from acgraph.ir import Model
from acgraph.pruning.reconstruct import Gram
from acgraph.pruning.regression import ColumnPart, PairedMoments
from acgraph.tasks import OutputTask

#: Mean and variance, ``float32 [channels]``.
Statistics = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class TrainingMode(Protocol):
    """How a network runs while it is trained."""

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """What convolutions and products multiply in."""
        ...

    @property
    def channels_last(self) -> bool:
        """Whether images lie in memory with their channels innermost."""
        ...

    @property
    def threads(self) -> int | None:
        """Threads of the CPU; None leaves them as they are."""
        ...


class Trainer(Protocol):
    """Trains, recalibrates and evaluates a clone of one model."""

    config: TrainConfig

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
        """Train for so many passes over the training images, with a fresh optimizer."""
        ...

    def evaluate(self, data: Dataset, limit: int | None = None, *, fast: bool = False) -> float:
        """Return the metric on data; ``fast`` in the precision of training."""
        ...

    def recalibrate(self, batches: int, *, fast: bool = False, images: int | None = None) -> None:
        """Estimate BatchNormalization's statistics anew; ``fast`` in the precision of training."""
        ...

    def images_at_once(self, data: Dataset) -> int:
        """Return how many images of a dataset run at once where no gradients are needed."""
        ...

    def choose_mode(self) -> TrainingMode:
        """Choose precision and memory layout now, rather than at the first fit."""
        ...

    def describe(self) -> str:
        """Say how training will run, which is chosen now where it was not before."""
        ...

    def describe_fixed_batch(self) -> str:
        """Say how a network trains whose batch is fixed; empty where it is not."""
        ...

    def input_grams(
        self, layers: Sequence[Layer], batches: Iterable[Batch], *, seed: int = 0
    ) -> dict[str, Gram]:
        """Measure the second moments of what layers read, by the name of their weight."""
        ...

    def weights(self) -> dict[str, Array]:
        """Copy all weights and running statistics, by ONNX name."""
        ...

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set the named weights; the others stay."""
        ...

    def model(self) -> Model:
        """Return a clone of the model with the trained weights."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that training needs to go on bit for bit."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        ...


class PairedRun(Protocol):
    """A network and the same network cut, run side by side and halted at each layer in turn.

    Layers are asked for in the order in which they run. The cut network has not run a layer when it
    is asked for, so that new weights of it count from there on.
    """

    def weights(self) -> dict[str, Array]:
        """Copy the weights of the cut network, by ONNX name."""
        ...

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set weights of the cut network."""
        ...

    def reaches(self, name: str) -> bool:
        """Whether a node runs at all, and is not computed beforehand."""
        ...

    def moments(
        self, tail: Tail, gain: Array, offset: Array, part: ColumnPart | None = None
    ) -> PairedMoments:
        """Measure what a layer reads in the cut network, and what its tail shall give there.

        That is what the original gives. Where the tail ends in a sum whose other part is known by
        then, it is the original's sum less that part as it is in the cut network.

        Args:
            tail: The layer and what is behind it.
            gain: What its output is multiplied with in the original, ``[filters]``.
            offset: What is then added.
            part: The columns that count, of a layer of one group; None for all of them.
        """
        ...


class TrainingBackend(Protocol):
    """Makes trainers, and answers what depends on how networks are trained."""

    def trainer(
        self,
        model: Model,
        train: Dataset | None,
        *,
        teacher: Model | None = None,
        config: TrainConfig | None = None,
        progress: ProgressSink | None = None,
        probe_s: float | None = None,
        tasks: Sequence[OutputTask] | None = None,
    ) -> Trainer:
        """Make a trainer of a model.

        Args:
            model: What to train; it stays as it is.
            train: Training images; None where the trainer only evaluates.
            teacher: What to learn from, and what to agree with.
            config: How to train.
            progress: Who shows how far a fit is.
            probe_s: Seconds of a step by which the mode of training is chosen, about.
            tasks: What each output means; guessed by what the teacher makes of examples where None.

        Raises:
            UnsupportedOpError: the backend cannot run the model.
            BackendError: the model and the data do not go together.
        """
        ...

    def check_operators(self, model: Model) -> None:
        """Raise UnsupportedOpError where the backend cannot run a model."""
        ...

    def channel_statistics(
        self, model: Model, names: Collection[str], batches: Iterable[Batch]
    ) -> dict[str, Statistics]:
        """Measure mean and variance of tensors of a model for every channel, by name."""
        ...

    def batch_of(self, model: Model) -> int | None:
        """Return the batch that a network insists on; None where any will do."""
        ...

    def side_by_side(
        self, model: Model, read: Callable[[int], Batch], count: int, *, seed: int = 0
    ) -> PairedRun:
        """Begin to run a network and a copy of it side by side.

        Args:
            model: The network.
            read: Returns the examples of a batch.
            count: How many batches there are, at least 1.
            seed: Of the draw of positions that are looked at.
        """
        ...

    def step_bytes(self, model: Model, data: Dataset, batch_size: int) -> int:
        """Return about how many bytes a step of training takes beside the weights."""
        ...

    def save_state(self, path: Path, state: dict[str, Any]) -> None:
        """Write the state of a trainer, whole or not at all."""
        ...

    def load_state(self, path: Path) -> dict[str, Any]:
        """Read what ``save_state`` wrote."""
        ...

    @property
    def processes(self) -> int:
        """How many processes train together."""
        ...

    @property
    def is_leader(self) -> bool:
        """Whether this process leads them, and so does everything but train."""
        ...

    def follow(self, open_train: Callable[[Model], Dataset]) -> None:
        """Join every fit of the leader until it dismisses this process."""
        ...

    def leading(self) -> AbstractContextManager[None]:
        """Dismiss the other processes at the end, however it ends."""
        ...
