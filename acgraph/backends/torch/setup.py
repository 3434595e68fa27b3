"""The training mode and micro-batch size of a trainer, measured once and applied."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.losses import Outputs
from acgraph.backends.torch.memory import images_that_fit, images_without_gradients, processes_here
from acgraph.backends.torch.micro_batch import MicroBatch
from acgraph.backends.torch.modes import PLAIN, Mode, apply_mode, choose_mode
from acgraph.backends.torch.runtime import settings
from acgraph.backends.torch.team import Team
from acgraph.backends.training import PROBE_SECONDS, TrainConfig
from acgraph.data import Dataset, cut_indices, first_example


class Setup:
    """The mode of a network and its teacher, and the micro-batch size.

    Args:
        module: The network that is trained, on its device.
        teacher: The teacher, which runs in the same mode; None if there is none.
        config: Options of training, which may fix parts of the mode.
        device: Device of both networks.
        team: The processes that share a batch.
        probe_s: Approximate seconds of a step that is timed to choose the mode.

    Attributes:
        chosen: The mode; None until it is chosen.
        micro_batch: Number of images that run at once.
        watch: Intermediate tensors that a training step returns after the outputs.
    """

    def __init__(
        self,
        module: GraphModule,
        teacher: GraphModule | None,
        config: TrainConfig,
        device: torch.device,
        team: Team,
        probe_s: float = PROBE_SECONDS,
    ) -> None:
        self.chosen: Mode | None = None
        self.micro_batch = MicroBatch()
        self.watch: tuple[str, ...] = ()
        self._module = module
        self._teacher = teacher
        self._config = config
        self._device = device
        self._team = team
        self._probe_s = probe_s
        self._images_without_gradients: int | None = None

    def __str__(self) -> str:
        """Describe mode and batch for users, such as ``bf16, contiguous, 1 thread; batch 8``."""
        mode, batch = self.mode, self._config.batch_size
        threads = self._config.threads or mode.threads or torch.get_num_threads()
        parts = [
            mode.precision,
            "channels last" if mode.channels_last else "contiguous",
            f"{threads} thread{'s' if threads > 1 else ''}"
            if self._device.type == "cpu"
            else str(self._device),
        ]
        size = self.micro_batch.size
        cut = f" in parts of {size}" if size is not None and size < batch else ""
        return f"{', '.join(parts)}; batch {batch}{cut}"

    @property
    def mode(self) -> Mode:
        """The mode of training; float32 and contiguous until it is chosen."""
        return self.chosen or PLAIN

    @property
    def evaluation_mode(self) -> Mode:
        """The mode of exact evaluation: float32 in the layout of training."""
        return Mode(precision="fp32", channels_last=self.mode.channels_last)

    @property
    def forward(self) -> Callable[..., Outputs]:
        """Function that runs the module in a training step; it returns watched tensors last."""
        return self._module.watching(self.watch)

    def settings(self) -> AbstractContextManager[None]:
        """Return a context manager with the process-wide settings of training."""
        return settings(self._config.threads or self.mode.threads, self._device)

    def images_at_once(self, data: Dataset) -> int:
        """Return the number of images that run at once without gradients, at most a batch."""
        if self._images_without_gradients is None:
            x = Inputs.of(first_example(data), self._module.input_names, self._device)
            self._images_without_gradients = images_without_gradients(
                self._module, x, self._config.batch_size
            )
        return self._images_without_gradients

    def prepare(self, train: Dataset) -> None:
        """Choose mode and micro-batch if not chosen yet, and apply them; call in ``settings``."""
        if self.chosen is not None:
            apply_mode(self._module, self.chosen)
            return
        x = self._typical_batch(train)
        self._fit_into_memory(x, PLAIN)
        mode = choose_mode(
            self._module,
            x[: self.micro_batch.size],
            precision=self._config.precision,
            channels_last=self._config.channels_last,
            choose_threads=self._config.threads is None,
            probe_s=self._probe_s,
        )
        self._apply(mode)
        if mode.threads is not None:  # the enclosing settings() restores the number
            torch.set_num_threads(mode.threads)
        if mode.precision == "bf16" and self.micro_batch.size is not None:
            self._fit_into_memory(x, mode)  # activations are smaller, so more images may fit

    def restore(self, mode: Mode, *, size: int | None = None) -> None:
        """Use a mode and a micro-batch size that were chosen earlier.

        Args:
            mode: The mode.
            size: Size of micro-batches; None does not split batches.
        """
        self.micro_batch.size = size
        self._apply(mode)

    def _apply(self, mode: Mode) -> None:
        self.chosen = mode
        apply_mode(self._module, mode)
        if self._teacher is not None:
            apply_mode(self._teacher, mode)

    def _typical_batch(self, train: Dataset) -> Inputs:
        """Read a batch of this process; if sizes differ, the largest batch with a single size."""
        count = min(len(train), -(-self._config.batch_size // self._team.size))
        batches = cut_indices(train, np.arange(len(train), dtype=np.int64), count)
        indices = next(batches) if train.groups is None else max(batches, key=len)
        return Inputs.of(train.batch(indices), self._module.input_names, self._device)

    def _fit_into_memory(self, x: Inputs, mode: Mode) -> None:
        fixed = self._module.fixed_batch
        if fixed is not None:  # micro-batches have the fixed batch size
            self.micro_batch.size = fixed
            return
        if self._config.micro_batch != "auto":
            self.micro_batch.size = self._config.micro_batch
            return
        count = images_that_fit(self._module, x, mode, self._config, processes_here())
        number = -(-len(x) // count)
        self.micro_batch.size = None if number == 1 else -(-len(x) // number)
