"""Explain a node: the families that cross it, and the chains to their fences."""

from collections.abc import Iterable, Iterator, Mapping

import networkx as nx
import numpy as np

from acgraph.analysis.families import Family
from acgraph.analysis.labels import Ints
from acgraph.diagnostics import Diagnostic, counted, listed
from acgraph.ir import Model

#: Largest number of axes of a family that are listed.
SHOWN_AXES = 6
#: ``("node", name)`` or ``("axis", tensor, number)``.
Vertex = tuple[str, ...]


def explain(
    model: Model,
    axes: Mapping[str, Mapping[int, Ints]],
    labels: Mapping[str, Ints],
    families: Iterable[Family],
    node_name: str,
) -> list[str]:
    """Return a headline for each family that crosses a node, followed by its chains.

    A chain lists the nodes along the coupling, from the explained node to the fencing one::

        stem: 8 coupled sets, fenced; cuts w1[0], b1[0], w2[1]
          stem -> join -> norm: node 'norm' (LRN), axis 1: looks at neighbouring channels

    Raises:
        KeyError: There is no such node.
    """
    node = next((n for n in model.graph.nodes if n.name == node_name), None)
    if node is None:
        raise KeyError(node_name)
    own = [
        labelled
        for tensor in (*node.inputs, *node.outputs)
        for labelled in axes.get(tensor.name, {}).values()
    ]
    lines = []
    for family in families:
        mine = labels[family.name]
        if any(np.isin(labelled, mine).any() for labelled in own):
            lines.append(_headline(family))
            lines.extend(_chains(_coupling_graph(model, axes, mine), family, ("node", node_name)))
    return lines or [f"nothing can be cut at '{node_name}': no labelled axis crosses it"]


def _coupling_graph(
    model: Model, axes: Mapping[str, Mapping[int, Ints]], mine: Ints
) -> "nx.Graph[Vertex]":
    """Connect every node with the axes of its tensors that contain labels of a family."""
    graph: nx.Graph[Vertex] = nx.Graph()
    labelled_axes = {
        name: [axis for axis, labelled in own.items() if np.isin(labelled, mine).any()]
        for name, own in axes.items()
    }
    for node in model.graph.nodes:
        for tensor in (*node.inputs, *node.outputs):
            for axis in labelled_axes.get(tensor.name, ()):
                graph.add_edge(("node", node.name), ("axis", tensor.name, str(axis)))
    return graph


def _chains(graph: "nx.Graph[Vertex]", family: Family, start: Vertex) -> Iterator[str]:
    paths = nx.single_source_shortest_path(graph, start)
    for reason in (*family.fences, *family.inexact):
        ends = [paths[v] for v in _ends(reason) if v in paths]
        if ends:
            steps = [v[1] for v in min(ends, key=len) if v[0] == "node"]
            yield f"  {' -> '.join(steps)}: {reason}"
        else:
            yield f"  {reason}"


def _ends(reason: Diagnostic) -> list[Vertex]:
    where = reason.location
    if where.node:
        return [("node", where.node)]
    return [("axis", where.value, str(where.axis))]


def _headline(family: Family) -> str:
    if family.fences:
        state = "fenced"
    elif family.inexact:
        state = "inexact"
    else:
        state = "free to cut"
    axes = listed([f"{m.tensor}[{m.axis}]" for m in family.members], SHOWN_AXES)
    return f"{family.name}: {counted(family.size, 'coupled set')}, {state}; cuts {axes}"
