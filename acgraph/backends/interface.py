"""Protocols of a training backend, as the driver uses it; nothing here imports one."""

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
from acgraph.data import Batch, Dataset, Layout
from acgraph.ir import Model
from acgraph.pruning.reconstruct import Gram
from acgraph.pruning.regression import ColumnPart, PairedMoments
from acgraph.tasks import OutputTask

#: Mean and variance, ``float32 [channels]``.
Statistics = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class TrainingMode(Protocol):
    """The numeric precision, memory layout and threads of training."""

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """Data type in which convolutions and matrix products are computed."""
        ...

    @property
    def channels_last(self) -> bool:
        """Whether images are stored in memory with the channels last."""
        ...

    @property
    def threads(self) -> int | None:
        """Number of CPU threads; None does not change it."""
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
        keep_statistics: bool = False,
        on_epoch: Callable[[EpochStats], None] | None = None,
        description: str = "training",
    ) -> FitResult:
        """Train for this many passes over the training images, with a new optimizer.

        ``keep_statistics`` leaves the statistics of BatchNormalization unchanged.
        """
        ...

    def evaluate(self, data: Dataset, limit: int | None = None, *, fast: bool = False) -> float:
        """Return the metric on data; ``fast`` uses the training precision."""
        ...

    def recalibrate(self, batches: int, *, fast: bool = False, images: int | None = None) -> None:
        """Estimate BatchNormalization statistics again; ``fast`` uses the training precision."""
        ...

    def images_at_once(self, data: Dataset) -> int:
        """Return the batch size that fits into memory without gradients."""
        ...

    def choose_mode(self) -> TrainingMode:
        """Choose precision and memory layout now instead of at the first fit."""
        ...

    def describe(self) -> str:
        """Describe the training mode, which is chosen now if it was not yet."""
        ...

    def describe_fixed_batch(self) -> str:
        """Describe the training of a network with a fixed batch size; empty if it is dynamic."""
        ...

    def input_grams(
        self, layers: Sequence[Layer], batches: Iterable[Batch], *, seed: int = 0
    ) -> dict[str, Gram]:
        """Measure the second moments of the inputs of layers, by the name of their weight."""
        ...

    def weights(self) -> dict[str, Array]:
        """Copy all weights and running statistics, by ONNX name."""
        ...

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set the named weights; the others are not changed."""
        ...

    def model(self) -> Model:
        """Return a clone of the model with the trained weights."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which training can be resumed bit for bit."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state."""
        ...


class PairedRun(Protocol):
    """A network and its cut copy, executed in parallel and paused before each layer in turn.

    Layers must be requested in their execution order. When a layer is requested, the cut network
    has not yet executed it, so that new weights of the layer take effect.
    """

    def weights(self) -> dict[str, Array]:
        """Copy the weights of the cut network, by ONNX name."""
        ...

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set weights of the cut network."""
        ...

    def reaches(self, name: str) -> bool:
        """Whether a node is executed, and not computed in advance as a constant."""
        ...

    def moments(
        self, tail: Tail, gain: Array, offset: Array, part: ColumnPart | None = None
    ) -> PairedMoments:
        """Measure the moments of a layer's input in the cut network and of its target.

        The target is the output of the layer's tail in the original. If the tail ends in a sum
        whose other operand is already computed, that operand in the cut network is subtracted.

        Args:
            tail: The layer and the nodes after it.
            gain: Scale of the layer's output in the original, ``[filters]``.
            offset: Offset that is added after scaling, ``[filters]``.
            part: The columns to measure, for a layer with one group; None for all columns.
        """
        ...


class TrainingBackend(Protocol):
    """Makes trainers, and answers questions that depend on the training backend."""

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
        """Make a trainer for a model.

        Args:
            model: The model to train, which is not changed.
            train: Training images; None if the trainer only evaluates.
            teacher: The teacher of distillation, with which agreement is measured as well.
            config: Options of training.
            progress: Callback for the progress of training.
            probe_s: Approximate seconds of a step that is timed to choose the training mode.
            tasks: The task of each output; None guesses it from the teacher's outputs.

        Raises:
            UnsupportedOpError: The backend cannot run the model.
            BackendError: The model and the data do not fit together.
        """
        ...

    def check_operators(self, model: Model) -> None:
        """Raise UnsupportedOpError if the backend cannot run a model."""
        ...

    def channel_statistics(
        self, model: Model, names: Collection[str], batches: Iterable[Batch]
    ) -> dict[str, Statistics]:
        """Measure the mean and variance of each channel of the named tensors, by name."""
        ...

    def has_statistics(self, model: Model) -> bool:
        """Whether a network contains BatchNormalization with running statistics."""
        ...

    def fit_inputs(
        self, model: Model, x: Array, *, layout: Layout, task: OutputTask | None, seed: int = 0
    ) -> Array:
        """Fit generated inputs to the BatchNormalization statistics of a network with one input.

        Args:
            model: The network, which has such statistics.
            x: The inputs, ``float32 [N, ...]``, with mean 0 and standard deviation 1.
            layout: Their layout if they are images; empty for others.
            task: The task of the first output if it is ``[N, classes]`` of a classifier.
            seed: Seed of all random numbers.

        Returns:
            The fitted inputs, with the shape of ``x``.
        """
        ...

    def batch_of(self, model: Model) -> int | None:
        """Return the fixed batch size of a network; None if it is dynamic."""
        ...

    def side_by_side(
        self, model: Model, read: Callable[[int], Batch], count: int, *, seed: int = 0
    ) -> PairedRun:
        """Start a paired run of a network and a copy of it.

        Args:
            model: The network.
            read: Returns the examples of a batch, given its number.
            count: Number of batches, at least 1.
            seed: Seed of the sampled positions.
        """
        ...

    def step_bytes(self, model: Model, data: Dataset, batch_size: int) -> int:
        """Estimate the bytes that a training step needs in addition to the weights."""
        ...

    def save_state(self, path: Path, state: dict[str, Any]) -> None:
        """Write the state of a trainer atomically."""
        ...

    def load_state(self, path: Path) -> dict[str, Any]:
        """Read a state that ``save_state`` wrote."""
        ...

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        ...

    @property
    def is_leader(self) -> bool:
        """Whether this process is the leader, which runs everything besides training."""
        ...

    def follow(self, open_train: Callable[[Model], Dataset]) -> None:
        """Join all training of the leader until it ends this process."""
        ...

    def leading(self) -> AbstractContextManager[None]:
        """Context manager that ends the other processes, even after an error."""
        ...
