"""Convert masks and proximal terms from names and arrays to parameters and tensors."""

import numpy as np
import torch
from torch import Tensor, nn

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.optimizer import ProximalTerm
from acgraph.backends.training import Masks, Proximal
from acgraph.diagnostics import Location
from acgraph.errors import BackendError


def find_removed(module: GraphModule, masks: Masks) -> dict[nn.Parameter, Tensor]:
    """Return a mask of the entries that stay zero (``True`` = removed), by parameter.

    Raises:
        BackendError: A name is not a weight, or a mask cannot be broadcast to its weight.
    """
    removed = {}
    for name, mask in masks.items():
        weight = module.parameter(name)
        keep = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.bool_))
        removed[weight] = ~_broadcast(keep, weight, name, "mask").to(weight.device)
    return removed


def find_proximal_terms(module: GraphModule, proximal: Proximal | None) -> list[ProximalTerm]:
    """Return the proximal terms, one per weight.

    Raises:
        BackendError: A name is not a weight, a target cannot be broadcast to its weight, or a
            target or its rho is missing.
    """
    if proximal is None:
        return []
    if proximal.targets.keys() != proximal.rho.keys():
        odd = sorted(proximal.targets.keys() ^ proximal.rho.keys())
        raise BackendError(
            f"the proximal term has only a target or only a rho for {', '.join(odd)}",
            hint="give both for each weight",
        )
    proximal_terms = []
    for name, value in proximal.targets.items():
        weight = module.parameter(name)
        target = torch.from_numpy(np.array(value, dtype=np.float32))
        target = _broadcast(target, weight, name, "target").to(weight.device)
        proximal_terms.append(
            ProximalTerm(weight=weight, target=target, rho=float(proximal.rho[name]))
        )
    return proximal_terms


def _broadcast(value: Tensor, weight: nn.Parameter, name: str, what: str) -> Tensor:
    try:
        return value.expand(weight.shape)
    except RuntimeError as error:
        raise BackendError(
            f"the {what} of shape {list(value.shape)} does not fit the weight of shape "
            f"{list(weight.shape)}",
            location=Location(value=name),
            hint="give a shape that broadcasts to that of the weight",
        ) from error
