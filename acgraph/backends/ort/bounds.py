"""How large an integer input may be: the rows of the tables that it is an index into."""

import onnx_graphsurgeon as gs

from acgraph.ir import Facts, Model, infer_facts
from acgraph.operators import Trait, operators_with

#: Operators that hand an index on unchanged.
_CARRIERS = operators_with(Trait.VIEW)
#: Inputs are kept below this even where the table is larger.
MAX_BOUND = 1 << 15


def integer_bounds(model: Model) -> dict[str, int]:
    """Map each input that indexes a table of known size to the rows of the smallest such table.

    Inputs that index nothing are absent.
    """
    facts = infer_facts(model)
    found = {tensor.name: _rows(tensor, facts) for tensor in model.graph.inputs}
    return {name: min(*rows, MAX_BOUND) for name, rows in found.items() if rows}


def _rows(tensor: gs.Tensor, facts: Facts) -> list[int]:
    rows: list[int] = []
    pending, seen = [tensor], {tensor.name}
    while pending:
        current = pending.pop()
        for node in current.outputs:
            if node.op == "Gather" and len(node.inputs) > 1 and node.inputs[1] is current:
                shape = facts.shapes.get(node.inputs[0].name)
                rows += [shape[int(node.attrs.get("axis", 0))]] if shape else []
            elif node.op in _CARRIERS and node.outputs[0].name not in seen:
                seen.add(node.outputs[0].name)
                pending.append(node.outputs[0])
    return rows
