"""Find how to run a graph that was exported with a fixed batch size at other batch sizes.

Exporters write the batch size of the example input into constants: ``Reshape(x, [1, 768])``. One
walk propagates the batch axis through the graph. It returns the batch axis of every output, and new
constants for Reshape, Expand, Concat and Resize. A node that mixes samples, or that has no rule,
ends the walk: the batch stays fixed, and that node is the reason.

The batch may be the outer part of its axis (windows of an image: ``[batch * windows, ...]``) or an
inner part (``[tokens * batch, ...]``). The rules are valid for both, since they treat all positions
of the axis equally.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from acgraph.analysis.batch import compute, movement
from acgraph.analysis.batch.walk import FixedBatchError, Program, Rule, Shape, Walk
from acgraph.diagnostics import Diagnostic, Location
from acgraph.ir import Array

#: Largest number of combinations of readings of Reshapes; each is one walk over the graph.
_MAX_READINGS = 200

#: All rules, by the name in the table of operators.
RULES: dict[str, Rule] = {**compute.RULES, **movement.RULES}


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The changes to a graph for another batch size.

    Attributes:
        rebatch: For every node to change: the new shape of Reshape (-1 for the batch) and Expand (1
            keeps the size of the input), the batch axis of Concat and Resize, the shape of one
            sample of Gather, the axis along which a constant state of LSTM, GRU and RNN is equal.
        axes: The batch axis of every graph output; None where it has none.
        reason: Why the batch size is fixed; None where it is not.
    """

    rebatch: Mapping[str, Shape] = field(default_factory=dict)
    axes: tuple[int | None, ...] = ()
    reason: Diagnostic | None = None


def plan_batch(
    program: Program, shapes: Mapping[str, Shape], measured: Mapping[str, Array], batch: int
) -> BatchPlan:
    """Propagate the batch axis through a program.

    Args:
        program: The program.
        shapes: Shapes of every tensor at the exported batch size.
        measured: Values of the shape arithmetic at that batch size.
        batch: The exported batch size.
    """
    values = {**program.known, **measured}
    nodes = program.needed(program.outputs, program.known)
    walk = Walk(program, shapes, values, batch)
    first = found = _follow(walk, nodes)
    for _ in range(_MAX_READINGS):
        choices = _next_choices(walk.made)
        if found.reason is None or choices is None:
            break
        walk = Walk(program, shapes, values, batch, choices)
        found = _follow(walk, nodes)
    return first if found.reason is not None else found


def _follow(walk: Walk, nodes: Sequence[gs.Node]) -> BatchPlan:
    program = walk.program
    for name, axis in zip(program.inputs, program.axes, strict=True):
        if axis is not None and walk.shapes[name][axis] == walk.batch:
            walk.axis[name] = axis
    for node in nodes:
        try:
            walk.visit(node, RULES)
        except FixedBatchError as error:
            reason = Diagnostic(message=str(error), location=program.model.location(node))
            return BatchPlan(reason=reason)
    outputs = [program.resolve(name) for name in program.outputs]
    inside = [name for name in outputs if walk.outer.get(name, 1) != 1]
    if inside:
        reason = Diagnostic(
            message="the batch of an output is inside another axis",
            location=Location(model=program.model.source, value=inside[0]),
        )
        return BatchPlan(reason=reason)
    return BatchPlan(rebatch=walk.rebatch, axes=tuple(walk.axis.get(name) for name in outputs))


def _next_choices(made: Sequence[tuple[int, int]]) -> list[int] | None:
    """Return the choices with the next reading of the last Reshape that has one; None at the end.

    >>> _next_choices([(0, 2), (1, 2)]), _next_choices([(1, 2)])
    ([1], None)
    """
    for place in range(len(made) - 1, -1, -1):
        taken, count = made[place]
        if taken + 1 < count:
            return [*(before for before, _ in made[:place]), taken + 1]
    return None
