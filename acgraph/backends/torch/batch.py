"""Run a graph at another batch than that of its export, and check by numbers that it may be.

How to do so is found by `acgraph.analysis.batch`.
"""

from collections.abc import Callable, Sequence

import torch

from acgraph.analysis.batch.plan import BatchPlan
from acgraph.diagnostics import Diagnostic, Location


def with_batch(x: torch.Tensor, batch: int) -> torch.Tensor:
    """Repeat or cut an input to a batch size."""
    if x.ndim == 0 or x.shape[0] == batch:
        return x
    copies = -(-batch // x.shape[0])
    return x.repeat(copies, *(1,) * (x.ndim - 1))[:batch]


def shuffled(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return other numbers of the same kind: the elements in another order."""
    order = torch.randperm(x.numel(), generator=generator).to(x.device)
    return x.reshape(-1)[order].reshape(x.shape)


def is_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two tensors agree to 1e-3 of the largest element."""
    if a.shape != b.shape:
        return False
    error = (a.double() - b.double()).abs().max()
    return bool(error <= 1e-3 * b.double().abs().max().clamp(min=1e-6))


def tried(
    found: BatchPlan,
    like: Sequence[torch.Tensor],
    run: Callable[[Sequence[torch.Tensor], BatchPlan], tuple[torch.Tensor, ...]],
    names: Sequence[str],
) -> BatchPlan:
    """Check a batch plan by numbers: twice the batch must give what two runs give.

    Args:
        found: The plan.
        like: Inputs at the batch of the export.
        run: Runs the graph by a plan.
        names: Of the outputs.

    Returns:
        The plan; one with a reason where the samples of an output depend on each other.
    """
    generator = torch.Generator().manual_seed(0)
    other = [shuffled(x, generator) for x in like]
    twice = [torch.cat(pair) if pair[0].ndim else pair[0] for pair in zip(like, other, strict=True)]
    with torch.no_grad():
        alone = [run(inputs, BatchPlan()) for inputs in (like, other)]
        both = run(twice, found)
    for name, axis, *parts, out in zip(names, found.axes, *alone, both, strict=True):
        wanted = torch.cat(parts, dim=axis) if axis is not None else parts[0]
        if not is_close(out, wanted):
            reason = Diagnostic(
                message="its samples depend on each other", location=Location(value=name)
            )
            return BatchPlan(reason=reason)
    return found
