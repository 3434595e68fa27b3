"""How a trainer runs its networks: chosen by measurement, once, and applied to all of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.losses import Outputs
from acgraph.backends.torch.memory import images_that_fit, images_to_judge, processes_here
from acgraph.backends.torch.micro_batch import MicroBatch
from acgraph.backends.torch.modes import PLAIN, Mode, apply_mode, choose_mode
from acgraph.backends.torch.runtime import settings
from acgraph.backends.torch.team import Team
from acgraph.backends.training import PROBE_SECONDS, TrainConfig
from acgraph.data import Dataset, cut_indices, first_example


class Setup:
    """The mode of a network and of its teacher, and how many images run at once.

    Args:
        module: What is trained, on its device.
        teacher: What it learns from, which runs in the same mode; None where there is none.
        config: What is stated of the mode.
        device: Where both are.
        team: The processes that share a batch.
        probe_s: Seconds of a step by which the mode is chosen, about.

    Attributes:
        chosen: The mode, None before it was measured.
        micro_batch: How many images run at once.
        watch: Tensors inside the networks that a training step reads.
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
        self._judged_at_once: int | None = None

    def __str__(self) -> str:
        """Say it as the user reads it: bf16, channels last, 1 thread; batch 128."""
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
        """The mode of training; float32 and contiguous before it was measured."""
        return self.chosen or PLAIN

    @property
    def evaluation_mode(self) -> Mode:
        """The mode of what must be exact: that of training, in float32."""
        return Mode(precision="fp32", channels_last=self.mode.channels_last)

    @property
    def forward(self) -> Callable[..., Outputs]:
        """What runs the module in a training step; watched tensors stand behind its outputs."""
        return self._module.watching(self.watch)

    def settings(self) -> AbstractContextManager[None]:
        """Return the process-wide settings that all running happens in."""
        return settings(self._config.threads or self.mode.threads, self._device)

    def images_at_once(self, data: Dataset) -> int:
        """Return how many images run at once where no gradients are needed: a batch, or less."""
        if self._judged_at_once is None:
            x = Inputs.of(first_example(data), self._module.input_names, self._device)
            self._judged_at_once = images_to_judge(self._module, x, self._config.batch_size)
        return self._judged_at_once

    def prepare(self, train: Dataset) -> None:
        """Choose what is not chosen yet, and apply it; inside :meth:`settings`."""
        if self.chosen is not None:
            apply_mode(self._module, self.chosen)
            return
        x = self._typical(train)
        self._fit_into_memory(x, PLAIN)
        mode = choose_mode(
            self._module,
            x[: self.micro_batch.size],
            precision=self._config.precision,
            channels_last=self._config.channels_last,
            choose_threads=self._config.threads is None,
            probe_s=self._probe_s,
        )
        self._take(mode)
        if mode.threads is not None:  # here inside settings, which restore the number
            torch.set_num_threads(mode.threads)
        if mode.precision == "bf16" and self.micro_batch.size is not None:
            self._fit_into_memory(x, mode)  # half as large, so that more may fit

    def use(self, mode: Mode, *, size: int | None = None) -> None:
        """Take what was chosen before.

        Args:
            mode: The mode.
            size: Images at once; None for whole batches.
        """
        self.micro_batch.size = size
        self._take(mode)

    def _take(self, mode: Mode) -> None:
        self.chosen = mode
        apply_mode(self._module, mode)
        if self._teacher is not None:
            apply_mode(self._teacher, mode)

    def _typical(self, train: Dataset) -> Inputs:
        """Read as many images as this process gets of a batch; the most of one size there are."""
        count = min(len(train), -(-self._config.batch_size // self._team.size))
        batches = cut_indices(train, np.arange(len(train), dtype=np.int64), count)
        indices = next(batches) if train.groups is None else max(batches, key=len)
        return Inputs.of(train.batch(indices), self._module.input_names, self._device)

    def _fit_into_memory(self, x: Inputs, mode: Mode) -> None:
        fixed = self._module.fixed_batch
        if fixed is not None:  # parts of that batch, whose gradients are added up
            self.micro_batch.size = fixed
            return
        if self._config.micro_batch != "auto":
            self.micro_batch.size = self._config.micro_batch
            return
        count = images_that_fit(self._module, x, mode, self._config, processes_here())
        number = -(-len(x) // count)
        self.micro_batch.size = None if number == 1 else -(-len(x) // number)
