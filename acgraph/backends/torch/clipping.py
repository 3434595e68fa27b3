"""Bounds of the gradients of weights that nothing normalises.

What BatchNormalization follows may be trained with large steps: its function does not depend on
the size of its weights, and a large step makes the next ones smaller. Without it a step that is
large beside the weights destroys the network: where BatchNormalization was folded into a layer and
cannot be put back, and where LayerNormalization stands before a layer in its place. There the
gradient is clipped to a share of the weights, as in Brock et al. (arXiv 2102.06171), so that
the learning rate says by what share of itself a layer moves at most, whatever its size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.operators import OPERATORS

#: Largest norm of a gradient as a share of the norm of its weights.
SHARE = 0.04
#: Root mean square that weights count with at least: those of layers, and vectors such as biases.
MIN_LAYER, MIN_VECTOR = 1e-3, 0.1
_LAYERS = frozenset(name for name, operator in OPERATORS.items() if operator.layer)


def free_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that no BatchNormalization follows, and are not its own."""
    if not isinstance(module, GraphModule):
        return list(module.parameters())
    steps = list(module.walk())
    readers: dict[str, list[str]] = {}
    for node, inputs in steps:
        for name in inputs:
            readers.setdefault(name, []).append(node.op)
    held: set[str] = set()
    for node, inputs in steps:
        followers = readers.get(node.outputs[0].name, []) if node.outputs else []
        is_normalised = bool(followers) and all(op == "BatchNormalization" for op in followers)
        if node.op == "BatchNormalization" or (node.op in _LAYERS and is_normalised):
            held.update(inputs[1:])
    names = module.parameter_names()
    return [p for key, p in module.named_parameters() if names[key] not in held]


@torch.no_grad()
def clip_to_weights(parameters: Sequence[nn.Parameter]) -> None:
    """Scale down each gradient that is large beside its weights, in place."""
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
