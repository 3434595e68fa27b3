"""Definitions and uses of values in protos, across the scopes of subgraphs."""

from collections.abc import Iterator, Mapping

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the subgraphs of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def free_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the outer values that a subgraph reads."""
    made = {tensor.name for tensor in graph.initializer}
    made.update(tensor.values.name for tensor in graph.sparse_initializer)
    made.update(value.name for value in graph.input)
    made.update(name for node in graph.node for name in node.output)
    read = {name for node in graph.node for name in read_names(node)}
    read.update(value.name for value in graph.output)
    return read - made - {""}


def read_names(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names of the values that a node reads, including its subgraphs."""
    yield from node.input
    for graph in subgraphs(node):
        yield from free_names(graph)


def made_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the names of all values that a graph and its subgraphs define."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        yield from (name for name in node.output if name)
        for inner in subgraphs(node):
            yield from made_names(inner)


def rename_node(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename the values that a node and its subgraphs read or define, in place."""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(node):
        own = {*own_names(graph), *(value.name for value in graph.input)}
        outer = {old: new for old, new in names.items() if old not in own}
        for value in graph.output:
            value.name = outer.get(value.name, value.name)
        for inner in graph.node:
            rename_node(inner, outer)


def own_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the names of the values that a graph itself defines, except its inputs."""
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    yield from (name for node in graph.node for name in node.output if name)


def rename_made(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values wherever a graph and its subgraphs define or read them, in place.

    Args:
        graph: The graph. No subgraph may define a name that an outer graph defines.
        names: The new names by the old ones.
    """
    for tensor in [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]:
        tensor.name = names.get(tensor.name, tensor.name)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in subgraphs(node):
            rename_made(inner, names)
