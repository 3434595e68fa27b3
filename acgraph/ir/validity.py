"""What ``onnx.checker`` says of a model, save for what ONNX Runtime does not mind."""

import contextlib
from collections.abc import Iterator

import onnx
import onnx.checker

from acgraph.ir.microsoft import as_microsoft


def check_proto(proto: onnx.ModelProto) -> None:
    """Check a model; inputs and outputs may lack a shape, and outputs a type.

    Operators that only ONNX Runtime knows in the default domain are taken for its own.

    Args:
        proto: The model, which is the same afterwards.

    Raises:
        onnx.checker.ValidationError: It is no valid model.
    """
    with _complete_ends(proto.graph), as_microsoft(proto):
        onnx.checker.check_model(proto)


@contextlib.contextmanager
def _complete_ends(graph: onnx.GraphProto) -> Iterator[None]:
    """Meanwhile give inputs and outputs what the checker asks for."""
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
