"""Stochastic gradient descent with the same steps as ``torch.optim.SGD``.

The first optimizer of ``torch.optim`` imports the compiler of PyTorch, which takes seconds. This
can exceed the training time of a small network with a short time budget.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


class SGD:
    """SGD with Nesterov momentum and weight decay.

    Attributes:
        param_groups: Groups with ``params``, ``lr``, ``momentum`` and ``weight_decay``, as in
            ``torch.optim``; ``lr`` may be changed between steps.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]], *, lr: float, momentum: float) -> None:
        """Create the optimizer.

        Args:
            groups: Parameter groups with ``params`` and ``weight_decay``.
            lr: Learning rate of all groups.
            momentum: Momentum of all groups; 0 is off.
        """
        self.param_groups: list[dict[str, Any]] = [
            {"lr": lr, "momentum": momentum, **group, "params": list(group["params"])}
            for group in groups
        ]
        self._momenta: dict[Tensor, Tensor] = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None or to zero."""
        for parameter in self._parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step(parameters, group["lr"], group["momentum"], group["weight_decay"])

    def _step(self, parameters: list[Tensor], rate: float, momentum: float, decay: float) -> None:
        moves = [p.grad for p in parameters if p.grad is not None]
        if decay:
            moves = list(torch._foreach_add(moves, parameters, alpha=decay))
        if momentum:
            known = [(p, m) for p, m in zip(parameters, moves, strict=True) if p in self._momenta]
            for parameter, move in zip(parameters, moves, strict=True):
                if parameter not in self._momenta:
                    self._momenta[parameter] = move.detach().clone()
            if known:
                momenta = [self._momenta[p] for p, _ in known]
                torch._foreach_mul_(momenta, momentum)
                torch._foreach_add_(momenta, [move for _, move in known])
            torch._foreach_add_(moves, [self._momenta[p] for p in parameters], alpha=momentum)
        torch._foreach_add_(parameters, moves, alpha=-rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for :meth:`load_state_dict`, in the format of ``torch.optim``."""
        numbers = {p: number for number, p in enumerate(self._parameters())}
        return {
            "state": {numbers[p]: {"momentum_buffer": m} for p, m in self._momenta.items()},
            "param_groups": [
                {**group, "params": [numbers[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state.

        Raises:
            ValueError: The parameter groups differ.
        """
        saved = state["param_groups"]
        if [len(g["params"]) for g in saved] != [len(g["params"]) for g in self.param_groups]:
            raise ValueError("the state belongs to an optimizer with other parameter groups")
        for group, other in zip(self.param_groups, saved, strict=True):
            group.update({key: other[key] for key in ("lr", "momentum", "weight_decay")})
        parameters = self._parameters()
        self._momenta = {
            parameters[number]: entry["momentum_buffer"].detach().clone().to(parameters[number])
            for number, entry in state["state"].items()
            if entry.get("momentum_buffer") is not None
        }

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]
