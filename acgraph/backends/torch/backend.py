"""The PyTorch implementation of the training backend that the driver uses."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from acgraph.backends.interface import PairedRun, Statistics, Trainer
from acgraph.backends.torch.batchnorm import channel_statistics
from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.checks import check_operators
from acgraph.backends.torch.fit_inputs import fit_inputs, normalisations
from acgraph.backends.torch.follow import follow, leading
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.lockstep import Lockstep
from acgraph.backends.torch.losses import UserLoss
from acgraph.backends.torch.memory import MAX_STEP_BYTES, bytes_of_an_image
from acgraph.backends.torch.runtime import choose_device
from acgraph.backends.torch.team import team
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import PROBE_SECONDS, Evaluate, ProgressSink, TrainConfig
from acgraph.data import Array, Batch, Dataset, Layout
from acgraph.ir import Model
from acgraph.tasks import OutputTask


class TorchBackend:
    """Trains with PyTorch; see :class:`acgraph.backends.interface.TrainingBackend`."""

    def __init__(self, loss: UserLoss | None = None, evaluate: Evaluate | None = None) -> None:
        """Store the loss and the metric that replace those of every trainer, if given."""
        self._loss = loss
        self._evaluate = evaluate

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
        """Make a trainer for a model."""
        return TorchTrainer(
            model, train, teacher=teacher, config=config, progress=progress,
            probe_s=PROBE_SECONDS if probe_s is None else probe_s, tasks=tasks,
            loss=self._loss, metric=self._evaluate,
        )  # fmt: skip

    def check_operators(self, model: Model) -> None:
        """Raise UnsupportedOpError if a model has operators without a training kernel."""
        check_operators(model)

    def channel_statistics(
        self, model: Model, names: Collection[str], batches: Iterable[Batch]
    ) -> dict[str, Statistics]:
        """Measure the mean and variance of each channel of the named tensors, by name."""
        return channel_statistics(GraphModule(model), names, batches)

    def has_statistics(self, model: Model) -> bool:
        """Whether a network contains BatchNormalization with running statistics."""
        return bool(normalisations(GraphModule(model)))

    def fit_inputs(
        self, model: Model, x: Array, *, layout: Layout, task: OutputTask | None, seed: int = 0
    ) -> Array:
        """Fit generated inputs to the BatchNormalization statistics of a network."""
        return fit_inputs(model, x, layout=layout, task=task, seed=seed)

    def batch_of(self, model: Model) -> int | None:
        """Return the fixed batch size of a network; None if it runs at any batch size."""
        return GraphModule(model).fixed_batch

    def side_by_side(
        self, model: Model, read: Callable[[int], Batch], count: int, *, seed: int = 0
    ) -> PairedRun:
        """Start a paired run of a network and a copy of it."""
        return Lockstep(model, read, count, device=choose_device("auto"), seed=seed)

    def step_bytes(self, model: Model, data: Dataset, batch_size: int) -> int:
        """Estimate the bytes of a training step, at most the bound that micro-batches keep to."""
        return min(MAX_STEP_BYTES, batch_size * bytes_of_an_image(model, data))

    def save_state(self, path: Path, state: dict[str, Any]) -> None:
        """Write the state of a trainer atomically."""
        save_checkpoint(path, state)

    def load_state(self, path: Path) -> dict[str, Any]:
        """Read a state that ``save_state`` wrote."""
        return load_checkpoint(path)

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        return team().size

    @property
    def is_leader(self) -> bool:
        """Whether this process is the leader."""
        return team().is_leader

    def follow(self, open_train: Callable[[Model], Dataset]) -> None:
        """Take part in every fit of the leader until it releases this process."""
        follow(open_train)

    def leading(self) -> AbstractContextManager[None]:
        """Release the other processes at the end."""
        return leading()
