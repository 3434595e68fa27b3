"""Values that onnx-graphsurgeon reads or writes wrongly: packed integers, 8-bit floats, strings.

onnx-graphsurgeon writes the numpy array of a constant as raw bytes. This is wrong for 4-bit
integers, which a file packs, for strings, which have no raw form, and for an 8-bit float type that
it confuses with another. It decodes every string as UTF-8, which ONNX does not require. It cannot
write an attribute that is an empty list, because it infers the type from the elements.
"""

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from acgraph.ir.lazy import Array, Computed

#: Kinds of numpy types that are not numeric in numpy itself: those of ml_dtypes, and objects.
_ODD_KINDS = frozenset("VOSU")


@contextlib.contextmanager
def exportable(nodes: Iterable[gs.Node], outputs: Iterable[gs.Tensor] = ()) -> Iterator[None]:
    """Temporarily replace the constants that onnx-graphsurgeon would write wrongly by their protos.

    Empty lists are removed; ``originals.put_back`` restores those that the file had.

    Args:
        nodes: The consumers of the constants, or the nodes with constant attributes; their
            subgraphs are included.
        outputs: The graph outputs, which may be constants themselves.
    """
    nodes = list(nodes)
    changed: list[tuple[gs.Constant, object]] = []
    emptied = []
    for node in _all_nodes(nodes):
        if any(isinstance(value, list) and not value for value in node.attrs.values()):
            emptied.append((node, node.attrs))
            node.attrs = {k: v for k, v in node.attrs.items() if v != []}
    for tensor in _constants(nodes, outputs):
        values = tensor._values
        if isinstance(values, Computed):
            changed.append((tensor, values))
            tensor.values = values.load()
        elif isinstance(values, np.ndarray) and values.dtype.kind in _ODD_KINDS:
            changed.append((tensor, values))
            tensor.values = LazyValues(onnx.numpy_helper.from_array(values, tensor.name))
    try:
        yield
    finally:
        for node, attributes in emptied:
            node.attrs = attributes
        for tensor, values in changed:
            tensor.values = values


def decode_strings(graph: gs.Graph) -> None:
    """Give string constants that are not UTF-8 values of type ``bytes``; others have ``str``."""
    for tensor in _constants(graph.nodes, graph.outputs):
        values = tensor._values
        if not isinstance(values, LazyValues) or not isinstance(values.tensor, onnx.TensorProto):
            continue
        raw = values.tensor
        if raw.data_type == onnx.TensorProto.STRING and not all(map(_is_text, raw.string_data)):
            array = np.empty(len(raw.string_data), object)
            array[:] = list(raw.string_data)
            tensor.values = array.reshape(tuple(raw.dims))


def array_bytes(array: Array) -> bytes:
    """Return bytes that are equal for equal values, also for arrays of objects."""
    if array.dtype.kind == "O":
        return repr(array.ravel().tolist()).encode()
    return np.ascontiguousarray(array).tobytes()


def _all_nodes(nodes: Iterable[gs.Node]) -> Iterator[gs.Node]:
    for node in nodes:
        yield node
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                yield from _all_nodes(value.nodes)


def _constants(nodes: Iterable[gs.Node], outputs: Iterable[gs.Tensor]) -> Iterator[gs.Constant]:
    for tensor in outputs:
        if isinstance(tensor, gs.Constant):
            yield tensor
    for node in nodes:
        for value in [*node.inputs, *node.attrs.values()]:
            if isinstance(value, gs.Constant):
                yield value
            elif isinstance(value, gs.Graph):
                yield from _constants(value.nodes, value.outputs)


def has_raw_strings(attribute: onnx.AttributeProto) -> bool:
    """Return whether an attribute, or one in its subgraphs, is a string that is not UTF-8."""
    return not all(map(_is_text, [attribute.s, *attribute.strings])) or any(
        has_raw_strings(inner)
        for graph in [attribute.g, *attribute.graphs]
        for node in graph.node
        for inner in node.attribute
    )


def escape_strings(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model, or a copy in which string attributes that are not UTF-8 are escaped."""
    if not any(has_raw_strings(a) for node in proto.graph.node for a in node.attribute):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    _escape(copy.graph)
    return copy


def _escape(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("s"):
                attribute.s = _as_text(attribute.s)
            attribute.strings[:] = [_as_text(text) for text in attribute.strings]
            for inner in [attribute.g, *attribute.graphs]:
                _escape(inner)


def _as_text(raw: bytes) -> bytes:
    return raw.decode(errors="backslashreplace").encode()


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
