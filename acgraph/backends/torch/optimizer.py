"""The optimizer of a fit, with proximal terms, masks and the moving average of the weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acgraph.backends.torch.sgd import SGD
from acgraph.backends.training import TrainConfig

Optimizer = torch.optim.Optimizer | SGD


def build_optimizer(module: nn.Module, config: TrainConfig, rate: float) -> Optimizer:
    """Build the configured optimizer; only weights of layers have weight decay."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in parameters if has_decay(p)]
    plain = [p for p in parameters if not has_decay(p)]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return SGD(groups, lr=rate, momentum=config.momentum)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, betas=(config.momentum, 0.999), foreach=True)


def has_decay(parameter: Tensor) -> bool:
    """Whether a parameter is a layer's weight: at least two of its axes are larger than 1."""
    return sum(size > 1 for size in parameter.shape) >= 2


@dataclass(frozen=True, slots=True)
class ProximalTerm:
    """The proximal term of one weight ``W``: ``rho/2 * ||W - T||^2``.

    Attributes:
        weight: The weight ``W``.
        target: The target ``T``, in the shape of the weight.
        rho: Strength.
    """

    weight: nn.Parameter
    target: Tensor
    rho: float


@torch.no_grad()
def add_proximal_terms(proximal_terms: list[ProximalTerm]) -> float:
    """Add the gradients of the proximal terms to ``.grad``; return the sum of the terms.

    The gradient ``rho * (W - T)`` is exact, and far cheaper to compute than by autograd.
    """
    total = 0.0
    for term in proximal_terms:
        difference = term.weight - term.target
        if term.weight.grad is None:
            term.weight.grad = term.rho * difference
        else:
            term.weight.grad.add_(difference, alpha=term.rho)
        total += term.rho / 2 * float(difference.square().sum())
    return total


@torch.no_grad()
def mask_gradients(masks: Mapping[nn.Parameter, Tensor]) -> None:
    """Set the gradients of removed entries to zero, so that they gain no momentum."""
    for weight, removed in masks.items():
        if weight.grad is not None:
            weight.grad.masked_fill_(removed, 0.0)


@torch.no_grad()
def mask_weights(masks: Mapping[nn.Parameter, Tensor]) -> None:
    """Set removed entries to zero."""
    for weight, removed in masks.items():
        weight.masked_fill_(removed, 0.0)


class Average:
    """Exponential moving average of all floating-point weights and statistics of a module.

    The decay of step ``k`` is at most ``(1 + k) / (10 + k)``, so that the initial weights have
    little influence on short runs.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._values = {k: v.detach().clone() for k, v in _floating(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Update the average with the module's current values."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for name, value in _floating(module).items():
            self._values[name].lerp_(value, 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Copy the average to the module."""
        for name, value in _floating(module).items():
            value.copy_(self._values[name])

    def state_dict(self) -> dict[str, object]:
        """Return the state for :meth:`load_state_dict`."""
        values = {name: value.clone() for name, value in self._values.items()}
        return {"steps": self._steps, "values": values}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore a saved state."""
        steps, values = state["steps"], state["values"]
        if not isinstance(steps, int) or not isinstance(values, dict):
            raise TypeError("not the state of a moving average")
        self._steps = steps
        for name, value in values.items():
            self._values[name].copy_(value)


def _floating(module: nn.Module) -> dict[str, Tensor]:
    return {k: v for k, v in module.state_dict().items() if v.is_floating_point()}
