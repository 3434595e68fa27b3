"""How a trainer runs its networks: chosen by measurement, once, and applied to all of them."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from acgraph.backends.torch.compiled import Compiled, choose_compiled
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.loader import part_sizes
from acgraph.backends.torch.losses import Outputs
from acgraph.backends.torch.memory import images_that_fit, images_to_judge, processes_here
from acgraph.backends.torch.micro_batch import MicroBatch
from acgraph.backends.torch.modes import PLAIN, PROBE_SECONDS, Mode, apply_mode, choose_mode
from acgraph.backends.torch.runtime import settings
from acgraph.backends.torch.team import Team
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset
from acgraph.diagnostics import Diagnostic
from acgraph.errors import BackendError

log = logging.getLogger(__name__)


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
        compiled: Runs the module as compiled code; None where it is not compiled.
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
        self.compiled: Compiled | None = None
        self.watch: tuple[str, ...] = ()
        self._module = module
        self._teacher = teacher
        self._config = config
        self._device = device
        self._team = team
        self._probe_s = probe_s
        self._was_compiled: bool | None = None
        self._is_hopeless = False
        self._judged_at_once: int | None = None

    def __str__(self) -> str:
        """Say it as the user reads it: bf16, channels last, 1 thread; batch 128.

        A fit compiles at its start, and with ``auto`` decides by its number of steps.
        """
        mode, batch = self.mode, self._config.batch_size
        threads = self._config.threads or mode.threads or torch.get_num_threads()
        parts = [
            mode.precision,
            "channels last" if mode.channels_last else "contiguous",
            f"{threads} thread{'s' if threads > 1 else ''}"
            if self._device.type == "cpu"
            else str(self._device),
        ]
        if self.compiled is not None or self._config.compile is True:
            parts.append("compiled")
        elif self._config.compile == "auto" and not self._is_hopeless:
            parts.append("compiled where it pays")
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
    def forward(self) -> Callable[[Tensor], Outputs]:
        """What runs the module in a training step; watched tensors stand behind its outputs."""
        return self.compiled or self._module.watching(self.watch)

    def settings(self) -> AbstractContextManager[None]:
        """Return the process-wide settings that all running happens in."""
        return settings(self._config.threads or self.mode.threads, self._device)

    def images_at_once(self, data: Dataset) -> int:
        """Return how many images run at once where no gradients are needed: a batch, or less."""
        if self._judged_at_once is None:
            example, _ = data.batch(np.zeros(1, np.int64))
            x = torch.from_numpy(np.ascontiguousarray(example)).to(self._device)
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

    def use(self, mode: Mode, *, size: int | None = None, is_compiled: bool | None = None) -> None:
        """Take what was chosen before.

        Args:
            mode: The mode.
            size: Images at once; None for whole batches.
            is_compiled: Whether the fit that goes on was compiled; None where that is open.
        """
        self.micro_batch.size = size
        self._was_compiled = is_compiled
        self._take(mode)

    def _take(self, mode: Mode) -> None:
        self.chosen = mode
        apply_mode(self._module, mode)
        if self._teacher is not None:
            apply_mode(self._teacher, mode)

    def compile(
        self, train: Dataset, steps: int, time_budget_s: float | None, *, goes_on: bool
    ) -> float:
        """Compile the module where that is asked for, or where it pays; after :meth:`prepare`.

        Args:
            train: Training images.
            steps: How many are ahead.
            time_budget_s: Seconds for compiling and for these steps; None for no limit.
            goes_on: Whether they are those of a fit that was interrupted.

        Returns:
            The seconds that it took, trials included.

        Raises:
            BackendError: it must be compiled, and cannot be.
        """
        wanted = self._config.compile
        if wanted is False or self.compiled is not None or self._is_hopeless or steps == 0:
            return 0.0
        if self._module.fixed_reason is not None:
            return self._stay_uncompiled(self._module.fixed_reason)
        start = time.perf_counter()
        if wanted == "auto" and goes_on and self._was_compiled is not None:
            wanted = self._was_compiled
        try:
            self.compiled = choose_compiled(
                self._module,
                self._typical(train)[: self.micro_batch.size],
                self.mode,
                wanted=wanted,
                steps=steps,
                time_budget_s=time_budget_s,
                sizes=self._sizes(train),
                watch=self.watch,
            )
        except BackendError as error:
            if self._config.compile is True:
                raise
            self._is_hopeless = True
            log.warning("training goes on uncompiled: %s", error)
        return time.perf_counter() - start

    def _stay_uncompiled(self, reason: Diagnostic) -> float:
        """Compile nothing where the batch is fixed: a last part would be of another size.

        Raises:
            BackendError: it must be compiled.
        """
        if self._config.compile is True:
            raise BackendError(
                f"cannot be compiled, since its batch is fixed ({reason.message})",
                location=reason.location,
                hint="leave train.compile at auto",
            )
        self._is_hopeless = True
        return 0.0

    def _sizes(self, train: Dataset) -> Sequence[int]:
        """Return how many images run at once in the steps of a pass."""
        counts = part_sizes(len(train), self._config.batch_size, self._team.rank, self._team.size)
        parts = [part for count in counts for part in self.micro_batch.parts_of(count)]
        return sorted({part.stop - part.start for part in parts}, reverse=True)

    def _typical(self, train: Dataset) -> Tensor:
        """Read as many images as this process gets of a batch."""
        count = min(len(train), -(-self._config.batch_size // self._team.size))
        x, _ = train.batch(np.arange(count, dtype=np.int64))
        return torch.from_numpy(np.ascontiguousarray(x)).to(self._device)

    def _fit_into_memory(self, x: Tensor, mode: Mode) -> None:
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
