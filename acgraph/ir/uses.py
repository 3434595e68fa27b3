"""Uses of tensors by subgraphs, which refer to values of outer graphs by name."""

from collections.abc import Iterator

import onnx_graphsurgeon as gs


def captured_names(graph: gs.Graph) -> frozenset[str]:
    """Return the names of the tensors of a graph that subgraphs of its nodes (If, Loop, Scan) read.

    Subgraphs are written unchanged, so such a tensor must keep its name.
    """
    return frozenset(name for node in graph.nodes for name in node_captures(node))


def node_captures(node: gs.Node, *, constants: bool = False) -> Iterator[str]:
    """Yield the names of outer values that the subgraphs of a node read.

    Args:
        node: The node.
        constants: Include constants. onnx-graphsurgeon does not distinguish constants of the
            subgraph from outer ones.
    """
    for value in node.attrs.values():
        if isinstance(value, gs.Graph):
            yield from _free_names(value, constants=constants)


def _free_names(graph: gs.Graph, *, constants: bool) -> Iterator[str]:
    bound = {t.name for t in graph.inputs}
    for node in graph.nodes:
        bound.update(t.name for t in node.outputs)
    read = [t for node in graph.nodes for t in node.inputs]
    used = [t.name for t in read if constants or isinstance(t, gs.Variable)]
    used += [t.name for t in graph.outputs]
    used += [name for node in graph.nodes for name in node_captures(node, constants=constants)]
    yield from (name for name in used if name and name not in bound)
