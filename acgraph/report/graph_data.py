"""The data of a drawn graph: one model, or two whose nodes are paired."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from acgraph.analysis.cost import macs_by_node
from acgraph.analysis.couplings import couplings
from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.layers import Layer, layers
from acgraph.difference import GraphDiff, node_changes
from acgraph.ir import Facts, Model, infer_facts
from acgraph.report.scopes import Scope, node_scopes

Json = dict[str, Any]
#: Prefix of the names of graph inputs and outputs among the vertices.
_IN, _OUT = "input ", "output "


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the models, with what is shown of its nodes."""

    model: Model
    facts: Facts
    layers: Mapping[str, Layer]
    macs: Mapping[str, int | None]

    @classmethod
    def of(cls, model: Model, facts: Facts | None) -> "_Side":
        known = facts or infer_facts(model, assume=True)
        found = {layer.name: layer for layer in layers(model, known)}
        return cls(model, known, found, macs_by_node(model, known))

    def scopes(self) -> dict[str, Scope]:
        weights = {name: layer.weight for name, layer in self.layers.items()}
        return node_scopes(self.model.graph.nodes, weights)

    def describe(self, node: gs.Node) -> Json:
        """Return what is shown of a node; numbers that are unknown are left out."""
        shapes = self.facts.shapes
        outputs = [list(shapes[t.name]) for t in node.outputs if t.name in shapes]
        shown: Json = {"name": node.name, "op": node.op, "out": outputs}
        layer, macs = self.layers.get(node.name), self.macs.get(node.name)
        if layer is not None:
            shown.update(filters=layer.filters, columns=layer.columns)
            shown.update(params=layer.size + layer.bias_size)
        if macs:
            shown["macs"] = macs
        return shown


def graph_data(
    before: Model,
    after: Model | None = None,
    *,
    diff: GraphDiff | None = None,
    labels: tuple[str, ...] = ("",),
    dependency: DependencyGraph | None = None,
) -> Json:
    """Return the data that ``graph.js`` draws.

    Args:
        before: The model, or the first of two.
        after: The second model.
        diff: The difference of the two.
        labels: The title of each model.
        dependency: The analysis of the first model, for its coupled sets.

    Returns:
        ``sides``: the titles; ``nodes``: each with its block ``scope``, its ``state`` and, for each
        model that has it, a description ``a`` or ``b``; ``constant`` where it computes a constant;
        ``edges``: ``[from, to, models]``, where the models are 1 for the first, 2 for the second
        and 3 for both; ``families``: the coupled sets with the numbers of the nodes that they
        cross.
    """
    first = _Side.of(before, dependency.facts if dependency is not None else None)
    vertices = {name: _vertex(shown, "same") for name, shown in _terminals(first)}
    scopes = first.scopes()
    for node in before.graph.nodes:
        vertices[node.name] = {**_vertex(first.describe(node), "same"), "scope": scopes[node.name]}
    for name in _constant_nodes(before):
        vertices[name]["constant"] = True
    names: dict[str, str] = {}
    if after is not None and diff is not None:
        names = _add_second(vertices, before, _Side.of(after, None), diff)
    numbers = {name: index for index, name in enumerate(vertices)}
    edges: dict[tuple[int, int], int] = {}
    for pair in _edges(before):
        key = numbers[pair[0]], numbers[pair[1]]
        edges[key] = edges.get(key, 0) | 1
    for pair in _edges(after) if after is not None else ():
        key = numbers[names.get(pair[0], pair[0])], numbers[names.get(pair[1], pair[1])]
        edges[key] = edges.get(key, 0) | 2
    return {
        "sides": list(labels),
        "nodes": list(vertices.values()),
        "edges": [[a, b, models] for (a, b), models in edges.items()],
        "families": [] if dependency is None else list(_families(dependency, numbers)),
    }


def _vertex(shown: Json, state: str) -> Json:
    return {"a": shown, "state": state, "scope": ()}


def _add_second(
    vertices: dict[str, Json], before: Model, second: _Side, diff: GraphDiff
) -> dict[str, str]:
    """Add the nodes of the second model; return their vertices by name.

    The parts of a lowered layer are in one block with the layer.
    """
    renamed = {change.after: change.before for change in diff.renamed}
    added = {node.name for node in diff.added}
    lowered = {change.name: change for change in diff.lowered}
    gone = {node.name for node in diff.removed} | set(lowered)
    states = node_changes(diff)
    for node in before.graph.nodes:
        state, texts = states.get(node.name, ("same", []))
        vertices[node.name].update(state=state, changes=texts)
        if node.name in lowered:
            vertices[node.name]["scope"] = (*vertices[node.name]["scope"], node.name)
    names: dict[str, str] = {}
    scopes = second.scopes()
    for node in second.model.graph.nodes:
        ours = renamed.get(node.name, node.name)
        owner = _owner(node.name, lowered)
        if node.name not in added and owner is None and ours in vertices and ours not in gone:
            names[node.name] = ours
            vertices[ours]["b"] = second.describe(node)
            continue
        names[node.name] = _free(node.name, vertices)
        vertices[names[node.name]] = {
            "b": second.describe(node),
            "state": "added" if owner is None else "lowered",
            "scope": scopes[node.name] if owner is None else vertices[owner]["scope"],
        }
    for name in _constant_nodes(second.model):
        if "a" not in vertices[names[name]]:
            vertices[names[name]]["constant"] = True
    for name, shown in _terminals(second):
        vertices.setdefault(name, {"state": "added", "scope": ()})["b"] = shown
    for name, vertex in vertices.items():
        if name.startswith((_IN, _OUT)) and "b" not in vertex:
            vertex["state"] = "removed"
    return names


def _owner(name: str, lowered: Mapping[str, object]) -> str | None:
    """Return the lowered layer that a node is a part of."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in lowered:
            return name
    return None


def _free(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name += "'"
    return name


def _terminals(side: _Side) -> Iterator[tuple[str, Json]]:
    """Yield the inputs and outputs of a graph, which are vertices of their own."""
    graph = side.model.graph
    for prefix, tensors in ((_IN, graph.inputs), (_OUT, graph.outputs)):
        for tensor in tensors:
            shape = side.facts.shapes.get(tensor.name)
            shown = {"name": tensor.name, "op": prefix.strip(), "out": []}
            yield prefix + tensor.name, {**shown, "out": [] if shape is None else [list(shape)]}


def _constant_nodes(model: Model) -> Iterator[str]:
    """Yield the nodes that compute constants: no graph input reaches them."""
    constant: set[int] = set()
    for node in model.graph.nodes:
        is_inner = any(isinstance(value, gs.Graph) for value in node.attrs.values())
        read = (t for t in node.inputs if t.name and not isinstance(t, gs.Constant))
        if not is_inner and all(id(t) in constant for t in read):
            constant.update(id(t) for t in node.outputs)
            yield node.name


def _edges(model: Model) -> Iterator[tuple[str, str]]:
    graph = model.graph
    made = {id(t): node.name for node in graph.nodes for t in node.outputs}
    made.update({id(t): _IN + t.name for t in graph.inputs})
    for node in graph.nodes:
        for tensor in node.inputs:
            if id(tensor) in made:
                yield made[id(tensor)], node.name
    for tensor in graph.outputs:
        if id(tensor) in made:
            yield made[id(tensor)], _OUT + tensor.name


def _families(dependency: DependencyGraph, numbers: Mapping[str, int]) -> Iterator[Json]:
    def known(names: Iterable[str]) -> list[int]:
        return [numbers[name] for name in names if name in numbers]

    for coupling in couplings(dependency):
        family = coupling.family
        yield {
            "name": family.name,
            "size": family.size,
            "state": "fenced"
            if family.fences
            else "inexact"
            if family.inexact
            else "free"
            if family.is_prunable
            else "single",
            "cuts": [f"{member.tensor}[{member.axis}]" for member in family.members[:40]],
            "more": max(0, len(family.members) - 40),
            "nodes": known(coupling.nodes),
            "reasons": [[reason.message, known(nodes)] for reason, nodes in coupling.reasons],
        }
