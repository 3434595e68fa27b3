"""The blocks that nodes belong to, by which a drawn graph is folded."""

from collections.abc import Mapping, Sequence

import onnx_graphsurgeon as gs

Scope = tuple[str, ...]
#: Largest number of blocks at the top; more of them are bundled.
MAX_BLOCKS = 60
#: Number of blocks in a bundle.
BUNDLE = 12


def node_scopes(nodes: Sequence[gs.Node], layers: Mapping[str, str]) -> dict[str, Scope]:
    """Return the block of every node, from the outermost inwards, by its name.

    Blocks are the folders of node names (``/layer1/0/conv1/Conv``) or, where nodes have none, of
    the names of weights (``layer1.0.conv1.weight``). A node without either belongs to the block
    around the node before it. Where most layers have neither, each layer begins a block.

    Args:
        nodes: The nodes, in graph order.
        layers: Names of the weights by the names of layers.
    """
    named = {node.name: _folder(node.name) for node in nodes}
    if not any(named.values()):
        named = {node.name: _from_weight(node, layers) for node in nodes}
    if 2 * sum(bool(named[name]) for name in layers) < len(layers) or not any(named.values()):
        return _by_layer(nodes, layers)
    found: dict[str, Scope] = {}
    before: Scope = ()
    for node in nodes:
        own = named[node.name]
        found[node.name] = own or before
        if own:
            before = own[:-1] or own
    return found


def _folder(name: str) -> Scope:
    return tuple(part for part in name.split("/") if part)[:-1]


def _from_weight(node: gs.Node, layers: Mapping[str, str]) -> Scope:
    """Return the folder of a weight that no other node reads: shared ones say nothing."""
    own = [t for t in node.inputs if isinstance(t, gs.Constant) and len(t.outputs) == 1]
    for name in (layers.get(node.name, ""), *(t.name for t in own)):
        parts = tuple(part for part in name.replace("/", ".").split(".") if part)
        if len(parts) > 1:
            return parts[:-1]
    return ()


def _by_layer(nodes: Sequence[gs.Node], layers: Mapping[str, str]) -> dict[str, Scope]:
    """Begin a block at each layer, and bundle blocks if there are many."""
    starts = sum(node.name in layers for node in nodes)
    found: dict[str, Scope] = {}
    block, count = "", 0
    for node in nodes:
        if node.name in layers:
            block, count = node.name, count + 1
        scope: Scope = (block,) if block else ()
        if scope and starts > MAX_BLOCKS:
            first = (count - 1) // BUNDLE * BUNDLE + 1
            scope = (f"layers {first} to {min(first + BUNDLE - 1, starts)}", block)
        found[node.name] = scope
    return found
