"""What a fit that diverges falls back to: weights that were good, and smaller steps."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

#: A fit that diverges goes on so many times, each time with half the learning rate.
MAX_TIMES = 5
#: A loss so many times that of the first step, or 1 where that is less, is one that diverged; so is
#: a weight whose norm is so many times that before, or that of as many ones.
EXPLODED = 1000.0


@dataclass(slots=True)
class Fallback:
    """Good weights of a fit under way, and how often it had to return to them.

    Attributes:
        module: What is trained.
        factor: What learning rates are multiplied by.
        times: How often the fit diverged and went on.
        first: What happened the first time, with its step; empty before.
    """

    module: nn.Module
    factor: float = 1.0
    times: int = 0
    first: str = ""
    _start: dict[str, Tensor] = field(default_factory=dict)
    _good: dict[str, Tensor] = field(default_factory=dict)
    _most: Tensor = field(default_factory=lambda: torch.zeros(0))
    _first_loss: float | None = None

    @torch.no_grad()
    def begin(self) -> None:
        """Remember the weights that the fit starts with."""
        self._start = {name: v.clone() for name, v in self.module.state_dict().items()}
        self._good = self._start
        parameters = list(self.module.parameters())
        ones = torch.tensor([p.numel() ** 0.5 for p in parameters])
        self._most = EXPLODED * torch.maximum(_norms(parameters).cpu(), ones)

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the weights of now, unless one is not finite."""
        state = self.module.state_dict()
        if all(bool(v.isfinite().all()) for v in state.values()):
            self._good = {name: value.clone() for name, value in state.items()}

    @torch.no_grad()
    def exploded_weight(self) -> str:
        """Key of a parameter that is no longer finite, or beyond all bounds; empty for none."""
        parameters = dict(self.module.named_parameters())
        is_good = _norms(list(parameters.values())).cpu() <= self._most  # False for NaN
        return "" if bool(is_good.all()) else list(parameters)[int(is_good.int().argmin())]

    def has_exploded(self, loss: float) -> bool:
        """Whether a loss is no longer a number, or beyond all bounds."""
        if not math.isfinite(loss):
            return True
        if self._first_loss is None:
            self._first_loss = loss
        return loss > EXPLODED * max(self._first_loss, 1.0)

    def go_back(self, what: str) -> bool:
        """Put good weights back; False where those of the start are, and nothing is left to try.

        Args:
            what: What happened, with its step.
        """
        self.first = self.first or what
        is_last = self.times == MAX_TIMES
        self.module.load_state_dict(self._start if is_last else self._good)
        if is_last:
            return False
        self.times += 1
        self.factor /= 2
        return True

    def describe(self) -> str:
        """Say in one line what happened; empty where nothing did."""
        if not self.first:
            return ""
        often = "" if self.times == 1 else f", and {self.times - 1} more times after that"
        return (
            f"{self.first}{often}: training went on from the last good weights, at "
            f"1/{round(1 / self.factor)} of the learning rate"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs to go on."""
        return {"times": self.times, "first": self.first, "loss": self._first_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.times, self.first, self._first_loss = state["times"], state["first"], state["loss"]
        self.factor = 0.5**self.times


def _norms(parameters: list[nn.Parameter]) -> Tensor:
    if not parameters:
        return torch.zeros(0)
    return torch.stack(torch._foreach_norm([p.detach() for p in parameters])).float()
