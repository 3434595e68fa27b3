"""Conversion of networks from 16-bit floats to float32."""

import numpy as np
import onnx
import onnx.numpy_helper

from acgraph.ir.model import Model
from acgraph.ir.onnx_io import model_from_proto, proto_from_model

_HALF = frozenset([onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16])
_HALF_NAMES = frozenset(["float16", "bfloat16"])
#: Attributes that hold the number of a type.
_TYPE_ATTRIBUTES = frozenset(["dtype", "output_dtype", "stash_type", "to"])


def computes_in_half(model: Model) -> bool:
    """Return whether any input, tensor or Cast of the top graph has a 16-bit float type."""
    tensors = [*model.graph.inputs, *model.graph.tensors().values()]
    return any(_is_half(tensor.dtype) for tensor in tensors) or any(
        _is_half(node.attrs.get("to")) for node in model.graph.nodes if node.op == "Cast"
    )


def _is_half(dtype: object) -> bool:
    if isinstance(dtype, int):
        return dtype in _HALF
    return dtype is not None and np.dtype(dtype).name in _HALF_NAMES  # type: ignore[call-overload]


def widened(model: Model) -> Model:
    """Copy a model with float32 for every 16-bit float type; every value is exact in float32."""
    proto = proto_from_model(model)
    _widen(proto.graph)
    return model_from_proto(proto, source=model.source)


def _widen(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for sparse in graph.sparse_initializer:
        _widen_tensor(sparse.values)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        _widen_type(value.type)
    for node in graph.node:
        for attribute in node.attribute:
            _widen_attribute(attribute)


def _widen_attribute(attribute: onnx.AttributeProto) -> None:
    if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _HALF:
        attribute.i = onnx.TensorProto.FLOAT
    if attribute.HasField("t"):
        _widen_tensor(attribute.t)
    for tensor in attribute.tensors:
        _widen_tensor(tensor)
    for inner in [attribute.g, *attribute.graphs]:
        _widen(inner)


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _HALF:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _widen_type(kind: onnx.TypeProto) -> None:
    for part in (kind.tensor_type, kind.sparse_tensor_type):
        if part.elem_type in _HALF:
            part.elem_type = onnx.TensorProto.FLOAT
    if kind.HasField("sequence_type"):
        _widen_type(kind.sequence_type.elem_type)
    if kind.HasField("optional_type"):
        _widen_type(kind.optional_type.elem_type)
