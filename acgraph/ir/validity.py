"""Validation by ``onnx.checker``, except for deviations that ONNX Runtime accepts."""

import contextlib
from collections.abc import Iterator

import onnx
import onnx.checker

from acgraph.ir.microsoft import as_microsoft


def check_proto(proto: onnx.ModelProto) -> None:
    """Check a model; inputs and outputs may lack a shape, and outputs may lack a type.

    Operators that ONNX Runtime defines in the default domain count as operators of its own domain.

    Args:
        proto: The model; it is changed temporarily.

    Raises:
        onnx.checker.ValidationError: The model is not valid.
    """
    with _complete_ends(proto.graph), as_microsoft(proto):
        onnx.checker.check_model(proto)


@contextlib.contextmanager
def _complete_ends(graph: onnx.GraphProto) -> Iterator[None]:
    """Temporarily add the types and shapes of inputs and outputs that the checker requires."""
    changed = []
    for value in [*graph.input, *graph.output]:
        kind = value.type.WhichOneof("value")
        is_typeless = kind is None and value in graph.output
        if is_typeless or (kind == "tensor_type" and not value.type.tensor_type.HasField("shape")):
            old = onnx.TypeProto()
            old.CopyFrom(value.type)
            changed.append((value, old, value.HasField("type")))
            value.type.tensor_type.shape.SetInParent()
            if is_typeless:
                value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    try:
        yield
    finally:
        for value, old, had_type in changed:
            value.ClearField("type")
            if had_type:
                value.type.CopyFrom(old)
