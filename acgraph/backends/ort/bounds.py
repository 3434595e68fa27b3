"""Which values an integer input may have: rows of the table that it indexes, or what it is told by.

A network that is told a rate or a mode compares the number with those that it knows.
"""

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from acgraph.ir import Facts, Model, infer_facts
from acgraph.operators import Trait, operators_with

#: Values are below a number, or among those listed.
Bound = int | tuple[int, ...]
Bounds = Mapping[str, Bound]

#: Operators that hand an index on unchanged.
_CARRIERS = operators_with(Trait.VIEW)
#: What is added to a constant to get a number of which the comparison with it holds.
_COMPARISONS = {"Equal": 0, "Greater": 1, "GreaterOrEqual": 0, "Less": -1, "LessOrEqual": 0}
#: Inputs are kept below this even where the table is larger.
MAX_BOUND = 1 << 15


def integer_bounds(model: Model) -> dict[str, Bound]:
    """Map integer inputs to the values that they may have; those of which nothing says are absent.

    An input that indexes tables has the rows of the smallest of known size. One of a single number
    that is compared with constants has values of which some comparison holds.
    """
    facts = infer_facts(model)
    found: dict[str, Bound] = {}
    for tensor in model.graph.inputs:
        rows, values = _uses(tensor, facts)
        if rows:
            found[tensor.name] = min(*rows, MAX_BOUND)
        elif values and not any(size != 1 for size in tensor.shape or ()):
            found[tensor.name] = tuple(sorted(values))
    return found


def _uses(tensor: gs.Tensor, facts: Facts) -> tuple[list[int], set[int]]:
    """Return the rows of the tables that a value indexes, and numbers that comparisons ask for."""
    rows: list[int] = []
    values: set[int] = set()
    pending, seen = [tensor], {tensor.name}
    while pending:
        current = pending.pop()
        for node in current.outputs:
            if node.op == "Gather" and len(node.inputs) > 1 and node.inputs[1] is current:
                shape = facts.shapes.get(node.inputs[0].name)
                rows += [shape[int(node.attrs.get("axis", 0))]] if shape else []
            elif node.op in _COMPARISONS:
                values.update(_compared(node, current, facts))
            elif node.op in _CARRIERS and node.outputs[0].name not in seen:
                seen.add(node.outputs[0].name)
                pending.append(node.outputs[0])
    return rows, values


def _compared(node: gs.Node, tensor: gs.Tensor, facts: Facts) -> set[int]:
    """Return values of a tensor for which a comparison with a constant holds."""
    side = 1 if node.inputs[0] is tensor else 0
    other = facts.values.get(node.inputs[side].name)
    if other is None or other.size != 1 or other.dtype.kind not in "iu":
        return set()
    step = _COMPARISONS[node.op] if side == 1 else -_COMPARISONS[node.op]
    return {int(other.reshape(())) + step}
