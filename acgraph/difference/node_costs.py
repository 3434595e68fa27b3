"""The cost of each node in both models."""

import math
from collections.abc import Iterable, Iterator, Mapping

import onnx_graphsurgeon as gs

from acgraph.analysis.cost import macs_by_node
from acgraph.difference.lowered import LoweredLayers
from acgraph.difference.match import Matching
from acgraph.difference.types import NodeCost
from acgraph.ir import Facts, Model, stored_bytes

_Known = Mapping[str, int | None]


def node_costs(
    first: Model,
    second: Model,
    matching: Matching,
    lowered: LoweredLayers,
    facts: tuple[Facts, Facts],
) -> Iterator[NodeCost]:
    """Yield the cost of each node of the first model, then of those that only the second has.

    Args:
        first: The first model.
        second: The second model.
        matching: The pairs of nodes.
        lowered: The lowered layers, whose parts count together.
        facts: The facts of both models.
    """
    ours, theirs = (
        macs_by_node(model, own) for model, own in zip((first, second), facts, strict=True)
    )
    others = {node.name: node for node in second.graph.nodes}
    parts: dict[str, list[gs.Node]] = {}
    for name, layer in lowered.layer_of.items():
        parts.setdefault(layer, []).append(others[name])
    for node in first.graph.nodes:
        partner = matching.pairs.get(node.name)
        if partner is not None:
            yield _cost(node, [others[partner]], ours, theirs, partner)
        elif node.name in parts:
            yield _cost(node, parts[node.name], ours, theirs, node.name)
        else:
            yield _cost(node, [], ours, theirs)
    for node in second.graph.nodes:
        if node.name not in matching.inverse and node.name not in lowered.layer_of:
            yield _cost(None, [node], ours, theirs, node.name)


def _cost(
    before: gs.Node | None,
    after: list[gs.Node],
    ours: _Known,
    theirs: _Known,
    name: str | None = None,
) -> NodeCost:
    old, new = [] if before is None else [before], after
    sizes = _stored(old), _stored(new)
    return NodeCost(
        before=None if before is None else before.name,
        after=name,
        op_type=(old or new)[0].op,
        macs=(_macs(old, ours), _macs(new, theirs)),
        params=(sizes[0][0], sizes[1][0]),
        bytes=(sizes[0][1], sizes[1][1]),
    )


def _macs(nodes: Iterable[gs.Node], known: _Known) -> int | None:
    """Sum the multiply-accumulates of nodes; None where those of one are unknown."""
    found = [known[node.name] for node in nodes]
    return None if None in found else sum(macs for macs in found if macs is not None)


def _stored(nodes: Iterable[gs.Node]) -> tuple[int, int]:
    """Return the elements and the bytes of the constants that nodes read or hold."""
    found = [tensor for node in nodes for tensor in _constants(node).values()]
    return sum(math.prod(x.shape) for x in found), sum(stored_bytes(x) for x in found)


def _constants(node: gs.Node) -> dict[str | int, gs.Constant]:
    """Return the constants of a node and its subgraphs, each once."""
    found: dict[str | int, gs.Constant] = {
        tensor.name: tensor for tensor in node.inputs if isinstance(tensor, gs.Constant)
    }
    for value in node.attrs.values():
        if isinstance(value, gs.Constant):
            found[id(value)] = value
        elif isinstance(value, gs.Graph):
            for inner in value.nodes:
                found.update(_constants(inner))
    return found
