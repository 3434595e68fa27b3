"""Check numerically that a graph can run at another batch size than that of its export.

`acgraph.analysis.batch` finds the changes that this requires.
"""

from collections.abc import Callable, Sequence

import torch

from acgraph.analysis.batch.plan import BatchPlan
from acgraph.diagnostics import Diagnostic, Location


def with_batch(x: torch.Tensor, batch: int, axis: int | None = 0) -> torch.Tensor:
    """Repeat or cut the examples of an input to a batch size.

    Args:
        x: The input.
        batch: Number of examples of the result.
        axis: Batch axis of the input; None if all examples share its value.
    """
    if axis is None or x.ndim == 0 or x.shape[axis] == batch:
        return x
    copies = [1] * x.ndim
    copies[axis] = -(-batch // x.shape[axis])
    return x.repeat(copies).narrow(axis, 0, batch)


def shuffled(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the elements in random order: other values with the same distribution."""
    order = torch.randperm(x.numel(), generator=generator).to(x.device)
    return x.reshape(-1)[order].reshape(x.shape)


def is_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors have one shape and differ by at most 1e-3 of the largest element."""
    if a.shape != b.shape:
        return False
    error = (a.double() - b.double()).abs().max()
    return bool(error <= 1e-3 * b.double().abs().max().clamp(min=1e-6))


def check_batch_plan(
    found: BatchPlan,
    like: Sequence[torch.Tensor],
    run: Callable[[Sequence[torch.Tensor], BatchPlan], tuple[torch.Tensor, ...]],
    names: Sequence[str],
    axes: Sequence[int | None],
) -> BatchPlan:
    """Check a batch plan numerically: one run on two batches must equal two runs on one each.

    Args:
        found: The plan.
        like: Inputs at the batch size of the export.
        run: Runs the graph according to a plan.
        names: Names of the outputs.
        axes: Batch axis of each input; None if all examples share its value.

    Returns:
        The plan, or a plan with a reason if the samples of an output depend on each other.
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
