"""Run a graph whose export fixed the batch at other batch sizes, where that is provably right.

Exporters write the batch of the example input into constants: ``Reshape(x, [1, 768])``. One walk
follows the batch axis through the graph. It gives, for every node, the axis of its output that
holds the batch, and for Reshape, Expand, Concat and Resize the constants to use instead. A node
that mixes samples, or that the walk does not know, ends it: the batch stays fixed, with that node
as reason.

The batch axis may hold more than the batch, the batch varying slowest (windows of an image:
``[batch * windows, ...]``): every rule here holds for those as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from acgraph.backends.torch import batch_compute, batch_movement
from acgraph.backends.torch.batch_walk import FixedBatchError, Rule, Shape, Walk
from acgraph.backends.torch.program import Program
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array

_RULES: dict[str, Rule] = {**batch_compute.RULES, **batch_movement.RULES}


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What to change for another batch size.

    Attributes:
        rebatch: For every node to change: the new target of Reshape (-1 for the batch) and Expand
            (1 keeps the input's size), the batch axis of Concat and Resize, the elements of one
            sample of Gather, the axis along which a constant state of LSTM, GRU and RNN
            is the same.
        axes: The batch axis of every graph output; None where it has none.
        reason: Why the batch is fixed; None where it is not.
    """

    rebatch: Mapping[str, Shape] = field(default_factory=dict)
    axes: tuple[int | None, ...] = ()
    reason: Diagnostic | None = None


def plan_batch(
    program: Program, shapes: Mapping[str, Shape], measured: Mapping[str, Array], batch: int
) -> BatchPlan:
    """Follow the batch axis through a program.

    Args:
        program: The program.
        shapes: Sizes of every tensor at the batch of the export.
        measured: Values of the shape arithmetic at that batch.
        batch: The batch of the export.
    """
    walk = Walk(program, shapes, {**program.known, **measured}, batch)
    for name in program.inputs:
        if shapes[name] and shapes[name][0] == batch:
            walk.axis[name] = 0
    for node in program.needed(program.outputs, program.known):
        try:
            walk.visit(node, _RULES)
        except FixedBatchError as error:
            reason = Diagnostic(message=str(error), location=program.model.location(node))
            return BatchPlan(reason=reason)
    axes = tuple(walk.axis.get(program.resolve(name)) for name in program.outputs)
    return BatchPlan(rebatch=walk.rebatch, axes=axes)


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
