"""Masks and proximal terms, from names and arrays to parameters and tensors."""

import numpy as np
import torch
from torch import Tensor, nn

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.optimizer import Pull
from acgraph.backends.training import Masks, Proximal
from acgraph.diagnostics import Location
from acgraph.errors import BackendError


def find_removed(module: GraphModule, masks: Masks) -> dict[nn.Parameter, Tensor]:
    """Return which entries are held at zero, ``True`` where they are, by parameter.

    Raises:
        BackendError: a name that is no weight, or a mask that does not fit it.
    """
    removed = {}
    for name, mask in masks.items():
        weight = module.parameter(name)
        keep = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.bool_))
        removed[weight] = ~_broadcast(keep, weight, name, "mask").to(weight.device)
    return removed


def find_pulls(module: GraphModule, proximal: Proximal | None) -> list[Pull]:
    """Return the proximal terms by parameter.

    Raises:
        BackendError: a name that is no weight, a target that does not fit it, or a target without
            its rho.
    """
    if proximal is None:
        return []
    if proximal.targets.keys() != proximal.rho.keys():
        odd = sorted(proximal.targets.keys() ^ proximal.rho.keys())
        raise BackendError(
            f"the proximal term has only one of target and rho for {', '.join(odd)}",
            hint="give both",
        )
    pulls = []
    for name, value in proximal.targets.items():
        weight = module.parameter(name)
        target = torch.from_numpy(np.array(value, dtype=np.float32))
        target = _broadcast(target, weight, name, "target").to(weight.device)
        pulls.append(Pull(weight=weight, target=target, rho=float(proximal.rho[name])))
    return pulls


def _broadcast(value: Tensor, weight: nn.Parameter, name: str, what: str) -> Tensor:
    try:
        return value.expand(weight.shape)
    except RuntimeError as error:
        raise BackendError(
            f"a {what} of shape {list(value.shape)} does not fit the weight {list(weight.shape)}",
            location=Location(value=name),
            hint="give it the weight's shape, or one that broadcasts to it",
        ) from error
