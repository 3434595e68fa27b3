"""Replace an If by the branch that it always takes."""

from collections import Counter
from collections.abc import Iterator, Mapping

import onnx

from acgraph.ir.scopes import made_names, own_names, rename_node, subgraphs


def inline_branches(proto: onnx.ModelProto, branches: Mapping[str, str]) -> list[str]:
    """Replace Ifs of the top graph by one of their branches, in place.

    Values of a branch keep their names where these are unique. Nodes that only compute the
    conditions are removed.

    Args:
        proto: The model.
        branches: Name of the attribute with the branch, by the first output of the If.

    Returns:
        The names of the Ifs, or of their first outputs where they have no name.
    """
    graph = proto.graph
    names = Counter(made_names(graph))
    nodes: list[onnx.NodeProto] = []
    conditions, inlined = [], []
    for node in graph.node:
        attribute = branches.get(node.output[0]) if node.op_type == "If" else None
        if attribute is None:
            nodes.append(node)
            continue
        branch = next(a.g for a in node.attribute if a.name == attribute)
        inlined.append(node.name or node.output[0])
        conditions.append(node.input[0])
        nodes.extend(_Branch(branch, node, names).open(graph))
    kept = _without_makers(graph, nodes, conditions)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(copies)
    return inlined


class _Branch:
    """One branch that is inlined into the outer graph."""

    def __init__(self, graph: onnx.GraphProto, node: onnx.NodeProto, names: Counter[str]) -> None:
        self._graph, self._node = graph, node
        makers = {name for inner in graph.node for name in inner.output if name}
        self._new: dict[str, str] = {}
        self._copied: list[tuple[str, str]] = []
        for inner, outer in zip((v.name for v in graph.output), node.output, strict=True):
            if not outer:
                continue
            if inner in makers and inner not in self._new:
                self._new[inner] = outer
            else:  # a constant, an outer value, or a value that is returned twice
                self._copied.append((inner, outer))
        for name in sorted(set(own_names(graph)) - set(self._new)):
            self._new[name] = _fresh(name, names)

    def open(self, outer: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
        """Yield the renamed nodes; constants and shapes are added to the outer graph."""
        for tensor in self._graph.initializer:
            outer.initializer.append(tensor)
            outer.initializer[-1].name = self._named(tensor.name)
        for sparse in self._graph.sparse_initializer:
            outer.sparse_initializer.append(sparse)
            outer.sparse_initializer[-1].values.name = self._named(sparse.values.name)
        returned = set(self._node.output)
        for value in self._graph.value_info:
            if self._named(value.name) not in returned:
                outer.value_info.append(value)
                outer.value_info[-1].name = self._named(value.name)
        for node in self._graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            rename_node(copy, self._new)
            yield copy
        for inner, name in self._copied:
            yield onnx.NodeProto(
                op_type="Identity",
                name=f"{self._node.name or 'If'}/{name}",
                input=[self._named(inner)],
                output=[name],
            )

    def _named(self, name: str) -> str:
        return self._new.get(name, name)


def _fresh(name: str, names: Counter[str]) -> str:
    """Return a unique name: the same one where it is unique already."""
    if names[name] <= 1:
        return name
    number = 2
    while f"{name}_{number}" in names:
        number += 1
    names[f"{name}_{number}"] += 1
    return f"{name}_{number}"


def _without_makers(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], conditions: list[str]
) -> list[onnx.NodeProto]:
    """Leave out the nodes that are dead without the conditions."""
    reads = Counter(name for node in nodes for name in _reads(node))
    reads.update(value.name for value in graph.output)
    makers = {name: node for node in nodes for name in node.output if name}
    dead: set[int] = set()
    waiting = list(conditions)
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or id(node) in dead or any(reads[name] for name in node.output if name):
            continue
        dead.add(id(node))
        for name in _reads(node):
            reads[name] -= 1
            waiting.append(name)
    return [node for node in nodes if id(node) not in dead]


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for graph in subgraphs(node):
        yield from (value.name for value in graph.output)
        for inner in graph.node:
            yield from _reads(inner)
