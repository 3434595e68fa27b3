"""Models as serialised bytes."""

import os
from pathlib import Path

import onnx

from acgraph.diagnostics import Location
from acgraph.errors import ImportModelError
from acgraph.ir.mapped import is_large
from acgraph.ir.model import Model
from acgraph.ir.onnx_io import EXTERNAL_BYTES, model_from_proto, proto_size, read_proto


def model_from_bytes(data: bytes, source: str = "<memory>") -> Model:
    """Read a model from the bytes of an ONNX file.

    Raises:
        ImportModelError: The bytes are not an ONNX file.
    """
    return model_from_proto(_parse(data, source), source)


def bytes_with_outputs(model: bytes | str | os.PathLike[str], names: list[str]) -> bytes | None:
    """Return a serialised model with additional outputs and no other change.

    The new outputs have no type; the runtime infers it.

    Args:
        model: The bytes of a model, or its path.
        names: Names of the values to return as outputs.

    Returns:
        The bytes; None where the model is too large to be serialised.

    Raises:
        ImportModelError: The model cannot be read.
    """
    if not isinstance(model, bytes) and is_large(Path(model)):
        return None
    proto = _parse(model, "<memory>") if isinstance(model, bytes) else read_proto(model)
    if proto_size(proto) >= EXTERNAL_BYTES:
        return None
    present = {value.name for value in proto.graph.output}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in present
    )
    return proto.SerializeToString()


def _parse(data: bytes, source: str) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:  # the class of DecodeError depends on protobuf's implementation
        raise ImportModelError("not an ONNX file", location=Location(model=source)) from error
