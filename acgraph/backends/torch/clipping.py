"""Adaptive gradient clipping for weights that no BatchNormalization follows.

A layer followed by BatchNormalization tolerates large steps: its output does not depend on the
norm of its weights, and a large step increases the norm, which makes the next steps smaller. In
other layers, a step that is large relative to the weights destroys the network. These are layers
into which BatchNormalization was folded and cannot be inserted again, and layers of networks with
LayerNormalization. Their gradients are clipped to a share of the norm of the weights, as in Brock
et al. (arXiv 2102.06171). The learning rate then bounds the relative change of a layer per step.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.operators import OPERATORS

#: Largest norm of a gradient as a share of the norm of its weights.
SHARE = 0.04
#: Lower bound of the root mean square of weights: for layers, and for vectors such as biases.
MIN_LAYER, MIN_VECTOR = 1e-3, 0.1
_LAYERS = frozenset(name for name, operator in OPERATORS.items() if operator.layer)


def free_parameters(module: nn.Module, *, is_normalised: bool = True) -> list[nn.Parameter]:
    """Return the parameters without those of BatchNormalization and the layers right before it.

    Args:
        module: The network.
        is_normalised: Whether BatchNormalization uses the statistics of each batch; with its
            running statistics it is only a scale, and all parameters are returned.
    """
    if not isinstance(module, GraphModule) or not is_normalised:
        return list(module.parameters())
    steps = list(module.walk())
    readers: dict[str, list[str]] = {}
    for node, inputs in steps:
        for name in inputs:
            readers.setdefault(name, []).append(node.op)
    normalised: set[str] = set()
    for node, inputs in steps:
        followers = readers.get(node.outputs[0].name, []) if node.outputs else []
        is_normalised = bool(followers) and all(op == "BatchNormalization" for op in followers)
        if node.op == "BatchNormalization" or (node.op in _LAYERS and is_normalised):
            normalised.update(inputs[1:])
    names = module.parameter_names()
    return [p for key, p in module.named_parameters() if names[key] not in normalised]


@torch.no_grad()
def clip_to_weights(parameters: Sequence[nn.Parameter]) -> None:
    """Scale down, in place, each gradient whose norm exceeds its share of the weights' norm."""
    found = [p for p in parameters if p.grad is not None]
    if not found:
        return
    gradients: list[Tensor] = [p.grad for p in found if p.grad is not None]
    norms = torch.stack(torch._foreach_norm(gradients)).float()
    sizes = torch.stack(torch._foreach_norm([p.detach() for p in found])).float()
    least = [
        (MIN_VECTOR if p.ndim < 2 else MIN_LAYER) * p.numel() ** 0.5 for p in found
    ]  # fmt: skip
    bounds = SHARE * torch.maximum(sizes, torch.tensor(least, device=sizes.device))
    factors = (bounds / norms.clamp_min(1e-30)).clamp_max(1.0)
    for gradient, factor in zip(gradients, factors.unbind(), strict=True):
        gradient.mul_(factor.to(gradient.dtype))
