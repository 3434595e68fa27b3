"""How a trainer runs its networks: chosen once by measurement, and applied to all of them."""

from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

from acgraph.backends.torch.modes import PLAIN, Mode, apply_mode, choose_mode
from acgraph.backends.torch.runtime import settings
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset


class Setup:
    """The mode of a network and of its teacher.

    Args:
        module: What is trained, on its device.
        teacher: What it learns from, which runs in the same mode; None where there is none.
        config: What is stated of the mode.
        device: Where both are.

    Attributes:
        chosen: The mode, None before it was measured.
    """

    def __init__(
        self,
        module: nn.Module,
        teacher: nn.Module | None,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.chosen: Mode | None = None
        self._module = module
        self._teacher = teacher
        self._config = config
        self._device = device

    @property
    def mode(self) -> Mode:
        """The mode of training; float32 and contiguous before it was measured."""
        return self.chosen or PLAIN

    @property
    def evaluation_mode(self) -> Mode:
        """The mode of what must be exact: that of training, in float32."""
        return Mode(precision="fp32", channels_last=self.mode.channels_last)

    def settings(self) -> AbstractContextManager[None]:
        """Return the process-wide settings that all running happens in."""
        return settings(self._config.threads or self.mode.threads, self._device)

    def prepare(self, train: Dataset) -> None:
        """Choose the mode where it is not chosen yet, and apply it; inside :meth:`settings`."""
        if self.chosen is not None:
            apply_mode(self._module, self.chosen)
            return
        count = min(len(train), self._config.batch_size)
        x, _ = train.batch(np.arange(count, dtype=np.int64))
        mode = choose_mode(
            self._module,
            torch.from_numpy(np.ascontiguousarray(x)).to(self._device),
            precision=self._config.precision,
            channels_last=self._config.channels_last,
            choose_threads=self._config.threads is None,
        )
        self.use(mode)
        if mode.threads is not None:  # here inside settings, which restore the number
            torch.set_num_threads(mode.threads)

    def use(self, mode: Mode) -> None:
        """Take a mode that was chosen before."""
        self.chosen = mode
        apply_mode(self._module, mode)
        if self._teacher is not None:
            apply_mode(self._teacher, mode)
