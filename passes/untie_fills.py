"""Give every consumer of a tensor filled with one value a fill of its own.

Exporters create the initial states of all layers of a recurrent network at once::

    z = ConstantOfShape(sizes); a = Slice(z, 0:1); b = Slice(z, 1:2)
        ->  z = ConstantOfShape(sizes); z2 = ConstantOfShape(sizes)
            a = Slice(z, 0:1); b = Slice(z2, 1:2)

All elements of such a tensor are equal, so layers that read the same part of it need not be
coupled.
"""

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Model, constant_node_value
from acgraph.ir.names import fresh
from acgraph.ir.uses import captured_names
from acgraph.operators import Trait, is_standard, operators_with

#: Operators with one output that only move elements of their first input.
_MOVES = operators_with(Trait.MOVES) - {"Pad", "ScatterElements", "ScatterND", "Split"}


def untie_fills(model: Model) -> dict[str, str]:
    """Copy the nodes that fill a float tensor for several consumers, in place.

    Returns:
        The name of the original by the name of each new tensor.
    """
    filled = set(_filled(model))
    kept = {tensor.name for tensor in model.graph.outputs} | captured_names(model.graph)
    taken = {node.name for node in model.graph.nodes} | set(model.graph.tensors())
    made: dict[str, str] = {}
    # In reverse order: the copy of a Slice is another consumer of its input.
    for node in reversed(list(model.graph.nodes)):
        if not node.outputs or node.outputs[0].name not in filled - kept:
            continue
        for reader in _readers(node)[1:]:
            copy = _copy(model, node, reader.name, taken)
            made[copy.outputs[0].name] = node.outputs[0].name
            for i, tensor in enumerate(list(reader.inputs)):
                if tensor is node.outputs[0]:
                    reader.inputs[i] = copy.outputs[0]
    return made


def _filled(model: Model) -> Iterator[str]:
    """Yield the names of the float tensors of computed shape whose elements are all equal."""
    found: set[str] = set()
    for node in model.graph.nodes:
        if not is_standard(node.domain) or not node.inputs or not node.outputs:
            continue
        moves = node.op in _MOVES and node.inputs[0].name in found
        if moves or _fills(node):
            found.add(node.outputs[0].name)
            yield node.outputs[0].name


def _fills(node: gs.Node) -> bool:
    """Return whether a node fills its output with one float."""
    if node.op == "ConstantOfShape":
        value = node.attrs.get("value")
        return value is None or np.asarray(value.values).dtype.kind == "f"
    source = node.inputs[0]
    if node.op != "Expand":
        return False
    value = source.values if isinstance(source, gs.Constant) else None
    if value is None and source.inputs and source.inputs[0].op == "Constant":
        value = constant_node_value(source.inputs[0])
    return value is not None and value.dtype.kind == "f" and value.size == 1


def _readers(node: gs.Node) -> list[gs.Node]:
    return list({id(reader): reader for reader in node.outputs[0].outputs}.values())


def _copy(model: Model, node: gs.Node, reader: str, taken: set[str]) -> gs.Node:
    """Insert a copy of a node after it."""
    output = node.outputs[0]
    made = gs.Variable(fresh(f"{output.name}/{reader}", taken), output.dtype, output.shape)
    copy = gs.Node(
        node.op,
        name=fresh(f"{node.name}/{reader}", taken),
        attrs=dict(node.attrs),
        inputs=list(node.inputs),
        outputs=[made],
        domain=node.domain,
    )
    place = next(i for i, other in enumerate(model.graph.nodes) if other is node)
    model.graph.nodes.insert(place + 1, copy)
    if node.name in model.originals:
        model.originals[copy.name] = model.originals[node.name]
    return copy
