"""Recovery of a fit that diverges: earlier weights, and a smaller learning rate."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

#: Number of times that a diverged fit continues; each time halves the learning rate.
MAX_RETRIES = 5
#: A fit has diverged if its loss is this many times the larger of the first loss and 1, or if the
#: norm of a weight is this many times the larger of its first norm and that of a tensor of ones.
DIVERGED_FACTOR = 1000.0


@dataclass(slots=True)
class Fallback:
    """Copies of good weights of a fit, and how often it had to return to them.

    Attributes:
        module: The network that is trained.
        factor: Factor of the learning rate.
        times: How often the fit diverged and continued.
        first: Description of the first divergence, with its step; empty if there was none.
    """

    module: nn.Module
    factor: float = 1.0
    times: int = 0
    first: str = ""
    _start: dict[str, Tensor] = field(default_factory=dict)
    _good: dict[str, Tensor] = field(default_factory=dict)
    _max_norms: Tensor = field(default_factory=lambda: torch.zeros(0))
    _first_loss: float | None = None

    @torch.no_grad()
    def begin(self) -> None:
        """Copy the initial weights of the fit."""
        self._start = {name: v.clone() for name, v in self.module.state_dict().items()}
        self._good = self._start
        parameters = list(self.module.parameters())
        ones = torch.tensor([p.numel() ** 0.5 for p in parameters])
        self._max_norms = DIVERGED_FACTOR * torch.maximum(_norms(parameters).cpu(), ones)

    @torch.no_grad()
    def keep(self) -> None:
        """Copy the current weights, unless one is not finite."""
        state = self.module.state_dict()
        if all(bool(v.isfinite().all()) for v in state.values()):
            self._good = {name: value.clone() for name, value in state.items()}

    @torch.no_grad()
    def diverged_weight(self) -> str:
        """Return the key of a parameter that has diverged; empty if there is none."""
        parameters = dict(self.module.named_parameters())
        is_good = _norms(list(parameters.values())).cpu() <= self._max_norms  # False for NaN
        return "" if bool(is_good.all()) else list(parameters)[int(is_good.int().argmin())]

    def has_diverged(self, loss: float) -> bool:
        """Whether a loss is not finite, or far above the first loss."""
        if not math.isfinite(loss):
            return True
        if self._first_loss is None:
            self._first_loss = loss
        return loss > DIVERGED_FACTOR * max(self._first_loss, 1.0)

    def restore(self, what: str) -> bool:
        """Restore the last good weights and halve the learning rate.

        Args:
            what: Description of the divergence, with its step.

        Returns:
            Whether to continue. False after ``MAX_RETRIES``: then the initial weights are restored.
        """
        self.first = self.first or what
        is_last = self.times == MAX_RETRIES
        self.module.load_state_dict(self._start if is_last else self._good)
        if is_last:
            return False
        self.times += 1
        self.factor /= 2
        return True

    def describe(self) -> str:
        """Describe the divergence in one line; empty if there was none."""
        if not self.first:
            return ""
        often = "" if self.times == 1 else f", and {self.times - 1} more times after that"
        return (
            f"{self.first}{often}: training continued from the last good weights at "
            f"1/{round(1 / self.factor)} of the learning rate"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for :meth:`load_state_dict`."""
        return {"times": self.times, "first": self.first, "loss": self._first_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self.times, self.first, self._first_loss = state["times"], state["first"], state["loss"]
        self.factor = 0.5**self.times


def _norms(parameters: list[nn.Parameter]) -> Tensor:
    if not parameters:
        return torch.zeros(0)
    return torch.stack(torch._foreach_norm([p.detach() for p in parameters])).float()
