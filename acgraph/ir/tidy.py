"""Correct deviations from the ONNX standard that ONNX Runtime accepts.

These are nodes out of topological order, domains without an imported version, and graphs without a
name. Remarks list the changes. A file that conforms to the standard is not changed.
"""

import heapq
from collections.abc import Iterator

import onnx

from acgraph.ir.scopes import read_names, subgraphs

_DEFAULT = frozenset(["", "ai.onnx"])


def tidy(proto: onnx.ModelProto, *, in_place: bool = False) -> tuple[onnx.ModelProto, list[str]]:
    """Return a model that conforms to the standard, and remarks on the changes.

    Args:
        proto: The model.
        in_place: Change the model itself rather than a copy.
    """
    remarks = list(_untidy(proto))
    if not remarks:
        return proto, []
    if not in_place:
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
        proto = copy
    proto.graph.name = proto.graph.name or "graph"
    _name_default_domain(proto.graph)
    for domain in _missing_domains(proto):
        proto.opset_import.add(domain=domain, version=1)
    _sort(proto.graph)
    return proto, remarks


def _untidy(proto: onnx.ModelProto) -> Iterator[str]:
    if not _is_sorted(proto.graph):
        yield "the nodes were not in topological order; they are sorted now"
    if not proto.graph.name:
        yield "the graph had no name; it is called 'graph' now"
    if any(node.domain == "ai.onnx" for node in all_nodes(proto.graph)):
        yield "nodes named the default domain 'ai.onnx'; it is left out now"
    for domain in _missing_domains(proto):
        yield f"no version of the domain '{domain}' was imported; version 1 is assumed"


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def _missing_domains(proto: onnx.ModelProto) -> list[str]:
    known = {entry.domain for entry in proto.opset_import} | _DEFAULT
    return sorted({node.domain for node in all_nodes(proto.graph)} - known)


def _name_default_domain(graph: onnx.GraphProto) -> None:
    for node in all_nodes(graph):
        if node.domain == "ai.onnx":
            node.ClearField("domain")


def _is_sorted(graph: onnx.GraphProto) -> bool:
    later = {name for node in graph.node for name in node.output if name}
    for node in graph.node:
        if any(name in later for name in read_names(node)):
            return False
        if not all(map(_is_sorted, subgraphs(node))):
            return False
        later.difference_update(node.output)
    return True


def _sort(graph: onnx.GraphProto) -> None:
    """Sort nodes topologically, in place; among ready nodes, the first in the file comes next."""
    for node in graph.node:
        for inner in subgraphs(node):
            _sort(inner)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    waits = [{makers[n] for n in read_names(node) if n in makers} for node in nodes]
    readers: dict[int, list[int]] = {}
    for reader, wanted in enumerate(waits):
        for maker in wanted:
            readers.setdefault(maker, []).append(reader)
    ready = [index for index, wanted in enumerate(waits) if not wanted]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            waits[reader].discard(index)
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(order) == len(nodes):  # else there is a cycle, which the checker rejects
        del graph.node[:]
        graph.node.extend(nodes[index] for index in order)
