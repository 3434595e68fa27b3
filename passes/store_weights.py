"""Store the weights that a graph computes from constants, such as standardised ones.

::

    %m = ReduceMean(%w)
    %s = Sub(%w, %m)
    %y = Conv(%x, %s)      ->      %y = Conv(%x, %s {values})

Training would reach only the constants behind them, and from cut constants the weights that stay
would be computed anew, and differently. Weights that are only moved (transposed, reshaped, handed
on) stay as they are: every rule follows them.
"""

from collections.abc import Collection, Mapping

import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model
from acgraph.ir.fold import evaluate_node
from acgraph.ir.uses import captured_names
from acgraph.operators import Trait, is_standard, operators_with
from acgraph.passes.eliminate_dead_nodes import remove_unread

#: Operators that change no number. Quantised weights are smaller than what they stand for.
_KEEPING = operators_with(Trait.VIEW) | operators_with(Trait.MOVES)
_QUANTISED = frozenset(["DequantizeLinear"])
#: Results may have up to this many elements.
_MAX_ELEMENTS = 1 << 28


def computed_weights(model: Model, names: Collection[str]) -> dict[str, Array]:
    """Return the values of tensors that are computed from constants and read by other nodes.

    Args:
        model: The model.
        names: The tensors that are of interest: those with an axis that can be cut.
    """
    fixed = captured_names(model.graph) | {tensor.name for tensor in model.graph.outputs}
    known = dict(model.constants())
    computed: set[str] = set()
    found: dict[str, Array] = {}
    for node in model.graph.nodes:
        values = _values(node, known, int(model.graph.opset))
        reads = [tensor.name for tensor in node.inputs if tensor.name in computed]
        if values is None:
            wanted = [n for n in reads if n in names and n not in fixed]
            found.update({n: known[n] for n in wanted if known[n].dtype.kind == "f"})
            continue
        for tensor, value in zip(node.outputs, values, strict=False):
            known[tensor.name] = value
            if reads or node.op not in _KEEPING:
                computed.add(tensor.name)
    return found


def store_weights(model: Model, values: Mapping[str, Array]) -> None:
    """Replace computed tensors by constants, in place; remove the nodes that nothing reads then."""
    tensors = model.graph.tensors()
    for name, value in values.items():
        tensors[name].inputs.clear()
        tensors[name].to_constant(value)
    if values:
        remove_unread(model)


def _values(node: gs.Node, known: Mapping[str, Array], opset: int) -> list[Array] | None:
    """Evaluate a node that reads constants only; None for every other."""
    names = [tensor.name for tensor in node.inputs]
    is_constant = any(names) and all(not name or name in known for name in names)
    if not is_constant or not is_standard(node.domain) or node.op in _QUANTISED:
        return None
    return evaluate_node(node, [known.get(name) for name in names], opset, _MAX_ELEMENTS)
