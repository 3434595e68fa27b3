"""Who makes a value and who reads it, in the graphs of a proto and the subgraphs in them."""

from collections.abc import Iterator, Mapping

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that are attributes of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def free_names(graph: onnx.GraphProto) -> set[str]:
    """Return the names that a subgraph reads from the graphs around it."""
    made = {tensor.name for tensor in graph.initializer}
    made.update(tensor.values.name for tensor in graph.sparse_initializer)
    made.update(value.name for value in graph.input)
    made.update(name for node in graph.node for name in node.output)
    read = {name for node in graph.node for name in read_names(node)}
    read.update(value.name for value in graph.output)
    return read - made - {""}


def read_names(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node reads, its subgraphs included."""
    yield from node.input
    for graph in subgraphs(node):
        yield from free_names(graph)


def made_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield every name that a graph, or a subgraph in it, gives to a value."""
    yield from (value.name for value in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        yield from (name for name in node.output if name)
        for inner in subgraphs(node):
            yield from made_names(inner)


def rename_node(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Give values that a node reads and makes other names, in place; subgraphs included."""
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
    """Yield the names that a graph itself gives to values, save for those of its inputs."""
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    yield from (name for node in graph.node for name in node.output if name)


def rename_made(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give values other names wherever they are made or read in a graph, in place.

    Args:
        graph: No subgraph in it gives a name to another value that is one already outside.
        names: The new names by the old ones; of values that are made in the graph or in a subgraph.
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
