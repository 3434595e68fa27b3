"""External data files of a model."""

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data


def external_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the external data files of an ONNX file, including those of its subgraphs.

    The tensors are not read.
    """
    proto = onnx.load(os.fspath(path), load_external_data=False)
    tensors = [*_tensors(proto.graph), *chain.from_iterable(map(_tensors, proto.functions))]
    found = dict.fromkeys(ExternalDataInfo(t).location for t in tensors if uses_external_data(t))
    return [Path(path).parent / location for location in found]


def _tensors(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.TensorProto]:
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
