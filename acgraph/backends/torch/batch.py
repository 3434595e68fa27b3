"""Run a graph at another batch than that of its export, and check by numbers that it may be.

How to do so is found by `acgraph.analysis.batch`.
"""

from collections.abc import Callable, Sequence

import torch

from acgraph.analysis.batch.plan import BatchPlan
from acgraph.diagnostics import Diagnostic, Location


def with_batch(x: torch.Tensor, batch: int, axis: int | None = 0) -> torch.Tensor:
    """Repeat or cut an input to a batch size.

    Args:
        x: The input.
        batch: How many examples there are to be.
        axis: Where they lie; None where all share the value.
    """
    if axis is None or x.ndim == 0 or x.shape[axis] == batch:
        return x
    copies = [1] * x.ndim
    copies[axis] = -(-batch // x.shape[axis])
    return x.repeat(copies).narrow(axis, 0, batch)


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
    axes: Sequence[int | None],
) -> BatchPlan:
    """Check a batch plan by numbers: twice the batch must give what two runs give.

    Args:
        found: The plan.
        like: Inputs at the batch of the export.
        run: Runs the graph by a plan.
        names: Of the outputs.
        axes: Where the examples lie in each input; None where all share the value.

    Returns:
        The plan; one with a reason where the samples of an output depend on each other.
    """
    generator = torch.Generator().manual_seed(0)
    other = [
        x if axis is None else shuffled(x, generator) for x, axis in zip(like, axes, strict=True)
    ]
    twice = [
        x if axis is None else torch.cat((x, y), dim=axis)
        for x, y, axis in zip(like, other, axes, strict=True)
    ]
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
