"""Replace weights that the graph computes from constants, such as standardised ones, by constants.

::

    %m = ReduceMean(%w)
    %s = Sub(%w, %m)
    %y = Conv(%x, %s)      ->      %y = Conv(%x, %s {values})

Otherwise training would change only the constants that they are computed from, and a cut of these
constants would change the remaining weights. Weights that are only transposed, reshaped or passed
on by Identity stay: the rules of the analysis follow them.
"""

from collections.abc import Collection, Mapping

from acgraph.ir import Array, Model
from acgraph.ir.uses import captured_names
from acgraph.operators import Trait, operators_with
from acgraph.passes.eliminate_dead_nodes import remove_unread
from acgraph.pruning.precompute import constants_behind, evaluate_results, read_by_others

#: Operators that rearrange values without changing any.
_KEEPING = operators_with(Trait.VIEW) | operators_with(Trait.MOVES)
#: Quantised weights are smaller than the dequantised ones.
_QUANTISED = frozenset(["DequantizeLinear"])


def computed_weights(model: Model, names: Collection[str]) -> dict[str, Array]:
    """Return the values of the float tensors that are computed from constants alone.

    Only tensors with a consumer outside of these computations are returned. Quantised weights are
    left out.

    Args:
        model: The model.
        names: The tensors to consider: those with an axis that can be cut.

    Returns:
        The values by the name of the tensor.
    """
    values = model.constants()
    behind = constants_behind(model, values)
    fixed = captured_names(model.graph) | {tensor.name for tensor in model.graph.outputs}
    wanted = (_changed(model, behind) & read_by_others(model, behind) & set(names)) - fixed
    found: dict[str, Array] = {}
    for name in sorted(wanted):
        found.update(evaluate_results(model, values, {name}) or {})
    return {name: value for name, value in found.items() if value.dtype.kind == "f"}


def store_weights(model: Model, values: Mapping[str, Array]) -> None:
    """Replace computed tensors by constants, in place, and remove the dead nodes."""
    tensors = model.graph.tensors()
    for name, value in values.items():
        tensors[name].inputs.clear()
        tensors[name].to_constant(value)
    if values:
        remove_unread(model)


def _changed(model: Model, behind: Collection[str]) -> set[str]:
    """Return the derived tensors whose values differ from those of a constant.

    Dequantised tensors are left out.
    """
    changed: set[str] = set()
    quantised: set[str] = set()
    for node in model.graph.nodes:
        reads, made = ({t.name for t in tensors} for tensors in (node.inputs, node.outputs))
        if not made & set(behind):
            continue
        if node.op in _QUANTISED or reads & quantised:
            quantised |= made
        elif node.op not in _KEEPING or reads & changed:
            changed |= made
    return changed
