"""Check that the names in a model are text: protobuf returns bytes for those that are not UTF-8."""

from collections.abc import Iterable, Iterator

import onnx

from acgraph.diagnostics import Location
from acgraph.errors import ImportModelError
from acgraph.ir.scopes import subgraphs


def check_names(proto: onnx.ModelProto, where: Location) -> None:
    """Check the names of nodes, values, attributes, functions, domains and dimensions.

    Raises:
        ImportModelError: One is not UTF-8.
    """
    for name in _names(proto):
        if isinstance(name, bytes):
            raise ImportModelError(
                f"a name in it is not UTF-8: {name[:40]!r}",
                location=where,
                hint="export it again with names in UTF-8",
            )


def _names(proto: onnx.ModelProto) -> Iterator[str | bytes]:
    yield proto.domain
    yield proto.producer_name
    yield proto.producer_version
    yield proto.doc_string
    for opset in proto.opset_import:
        yield opset.domain
    for prop in proto.metadata_props:
        yield prop.key
        yield prop.value
    for function in proto.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
        yield from _of_nodes(function.node)
    yield from _of_graph(proto.graph)


def _of_graph(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    yield graph.name
    for tensor in graph.initializer:
        yield tensor.name
        for prop in tensor.external_data:
            yield prop.key
            yield prop.value
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[str | bytes]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            yield attribute.t.name
        for graph in subgraphs(node):
            yield from _of_graph(graph)
