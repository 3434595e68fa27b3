"""Remove outputs that are not needed, and the nodes and inputs that only they need."""

from collections.abc import Sequence
from difflib import get_close_matches

from acgraph.errors import UsageError
from acgraph.ir import Model
from acgraph.ir.uses import captured_names
from acgraph.passes.eliminate_dead_nodes import remove_unread


def keep_outputs(model: Model, names: Sequence[str]) -> tuple[str, ...]:
    """Remove all outputs but the named ones, and the nodes and inputs that only they need.

    Inputs that were already unused in the file are kept, because callers pass them.

    Args:
        model: The model, which is changed in place.
        names: Names of the outputs to keep; an empty sequence keeps all.

    Returns:
        The names of the removed outputs.

    Raises:
        UsageError: The model has no output of one of the names.
    """
    graph = model.graph
    known = [tensor.name for tensor in graph.outputs]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise UsageError(
                f"the model has no output '{name}'",
                location=model.location(),
                hint=f"did you mean '{near[0]}'?"
                if near
                else f"the outputs are {', '.join(known)}",
            )
    dropped = tuple(name for name in known if names and name not in names)
    if dropped:
        before = _read(model)
        graph.outputs = [tensor for tensor in graph.outputs if tensor.name not in dropped]
        remove_unread(model)
        unread = before - _read(model)
        graph.inputs = [tensor for tensor in graph.inputs if tensor.name not in unread]
    return dropped


def _read(model: Model) -> frozenset[str]:
    """Return the names of the values that nodes, subgraphs and outputs read."""
    graph = model.graph
    found = {tensor.name for node in graph.nodes for tensor in node.inputs}
    return captured_names(graph) | found | {tensor.name for tensor in graph.outputs}
