"""Checks of a model that come before its import, so that no file can exhaust the memory.

``onnx.checker`` accepts functions that unfold to billions of nodes, and attributes such as
``group=0``, which no runtime can compute.
"""

import math
from collections.abc import Iterable, Iterator

import onnx
import onnx.helper

from acgraph.diagnostics import Location
from acgraph.errors import ImportModelError
from acgraph.ir.scopes import subgraphs
from acgraph.ir.unicode_names import check_names
from acgraph.limits import check_memory

#: Attributes of windows and groups: every number in them is at least 1.
_POSITIVE = frozenset(["group", "strides", "dilations", "kernel_shape"])
#: Estimate of the bytes that a node takes in memory, with its analysis, beyond its content.
_NODE_BYTES = 1 << 14
#: Types whose elements share bytes, and strings.
_PACKED = frozenset(
    value
    for name, value in onnx.TensorProto.DataType.items()
    if name.endswith(("INT4", "INT2", "FLOAT4E2M1")) or name == "STRING"
)
#: Functions that call each other over more levels than this are refused.
_MAX_LEVELS = 200
_Key = tuple[str, str, str]


def check_plausible(proto: onnx.ModelProto, where: Location) -> None:
    """Check the names and sizes that a model states, the attributes of windows, and functions.

    Raises:
        ImportModelError: The model cannot be imported, or needs more memory than the limit.
    """
    check_names(proto, where)
    _check_tensors(proto.graph.initializer, where)
    for node in [*proto.graph.node, *(n for f in proto.functions for n in f.node)]:
        _check_node(node, where)
    check_memory(
        _Unfolded(proto, where).bytes(), "the model with its functions unfolded", where,
        ImportModelError,
    )  # fmt: skip


def _check_node(node: onnx.NodeProto, where: Location) -> None:
    place = Location(model=where.model, node=node.name or _unnamed(node), op_type=node.op_type)
    for attribute in node.attribute:
        if attribute.name in _POSITIVE and not node.domain:
            numbers = list(attribute.ints)
            if attribute.type == onnx.AttributeProto.INT:
                numbers.append(attribute.i)
            if any(number < 1 for number in numbers):
                shown = numbers if attribute.ints else numbers[0]
                raise ImportModelError(
                    f"its attribute '{attribute.name}' is {shown}, but must be at least 1",
                    location=place,
                    hint="export it again",
                )
        if attribute.HasField("t"):
            _check_tensors([attribute.t], place)
    for graph in subgraphs(node):
        _check_tensors(graph.initializer, place)
        for inner in graph.node:
            _check_node(inner, where)


def _unnamed(node: onnx.NodeProto) -> str:
    return next((name for name in node.output if name), "")


def _check_tensors(tensors: Iterable[onnx.TensorProto], where: Location) -> None:
    for tensor in tensors:
        if tensor.data_type not in onnx.TensorProto.DataType.values():
            raise ImportModelError(
                f"the tensor '{tensor.name}' has the type {tensor.data_type}, which ONNX does not "
                "define",
                location=where,
                hint="export it again, or use a newer version of onnx",
            )
        if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) >= 1 << 60:
            raise ImportModelError(
                f"the tensor '{tensor.name}' has the shape {list(tensor.dims)}, which is not "
                "possible",
                location=where,
                hint="export it again",
            )
        expected = math.prod(tensor.dims) * _item_bytes(tensor.data_type)
        if tensor.HasField("raw_data") and expected and len(tensor.raw_data) > expected:
            raise ImportModelError(
                f"the tensor '{tensor.name}' has {len(tensor.raw_data):,} bytes, but its shape "
                f"{list(tensor.dims)} takes {expected:,}",
                location=where,
                hint="export it again",
            )


def _item_bytes(kind: int) -> int:
    """Return the bytes of an element; 0 for types that are packed or have no fixed size."""
    if kind in _PACKED or kind == onnx.TensorProto.UNDEFINED:
        return 0
    return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize)


class _Unfolded:
    """The size of a model whose functions are inlined."""

    def __init__(self, proto: onnx.ModelProto, where: Location) -> None:
        self._proto = proto
        self._where = where
        self._functions: dict[_Key, onnx.FunctionProto] = {
            (f.domain, f.name, getattr(f, "overload", "")): f for f in proto.functions
        }
        self._known: dict[_Key, int] = {}

    def bytes(self) -> int:
        """Estimate the bytes in memory."""
        if not self._functions:
            return 0
        return self._nodes(self._proto.graph.node, 0)

    def _nodes(self, nodes: Iterable[onnx.NodeProto], level: int) -> int:
        return sum(self._node(node, level) for node in _all(nodes))

    def _node(self, node: onnx.NodeProto, level: int) -> int:
        key = (node.domain, node.op_type, getattr(node, "overload", ""))
        function = self._functions.get(key)
        if function is None:
            return _NODE_BYTES + (0 if list(subgraphs(node)) else node.ByteSize())
        if level > _MAX_LEVELS:
            raise ImportModelError(
                f"the function '{node.op_type}' calls itself, or functions are nested over more "
                f"than {_MAX_LEVELS} levels",
                location=self._where,
                hint="export it again without local functions",
            )
        if key not in self._known:
            self._known[key] = self._nodes(function.node, level + 1)
        return self._known[key]


def _all(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _all(graph.node)
