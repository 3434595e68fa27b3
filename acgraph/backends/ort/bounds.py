"""Find the valid values of integer inputs: row indices of a table, or values of an option.

An option is an input such as a sampling rate, which the graph compares with the values it supports.
"""

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from acgraph.ir import Facts, Model, infer_facts
from acgraph.operators import Trait, operators_with

#: An exclusive upper bound, or the list of valid values.
Bound = int | tuple[int, ...]
Bounds = Mapping[str, Bound]

#: Operators that pass an index on unchanged.
_CARRIERS = operators_with(Trait.VIEW)
#: Offset from a constant to a value for which the comparison ``value OP constant`` is true.
_COMPARISONS = {"Equal": 0, "Greater": 1, "GreaterOrEqual": 0, "Less": -1, "LessOrEqual": 0}
#: Largest exclusive upper bound, even for larger tables.
MAX_BOUND = 1 << 15


def integer_bounds(model: Model) -> dict[str, Bound]:
    """Return the valid values of integer inputs, by name; inputs without known bounds are absent.

    The bound of an input that indexes tables is the number of rows of the smallest table. The
    values of a scalar input that is compared with constants are those for which a comparison holds.
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
    """Return the sizes of the tables that a value indexes, and values that fulfil comparisons."""
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
    """Return a value of a tensor for which its comparison with a constant is true, if any."""
    side = 1 if node.inputs[0] is tensor else 0
    other = facts.values.get(node.inputs[side].name)
    if other is None or other.size != 1 or other.dtype.kind not in "iu":
        return set()
    step = _COMPARISONS[node.op] if side == 1 else -_COMPARISONS[node.op]
    return {int(other.reshape(())) + step}
