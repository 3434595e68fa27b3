"""Models as users hold them: a path, bytes, a proto, or a model that was read."""

import hashlib
import os

import onnx
from google.protobuf.message import DecodeError

from acgraph.diagnostics import Location
from acgraph.errors import ImportModelError, UsageError
from acgraph.ir.model import Model
from acgraph.ir.onnx_io import check_importable, clone_model, model_from_proto, read_model
from acgraph.ir.tidy import tidy


def load_model(given: object) -> Model:
    """Read a model; what is given stays as it is.

    Args:
        given: A path, the bytes of a file, an ``onnx.ModelProto``, or a model.

    Raises:
        UsageError: it is something else.
        ImportModelError: there is no such file, or it is not a valid ONNX model.
    """
    if isinstance(given, Model):
        return clone_model(given)
    if isinstance(given, str | os.PathLike):
        return read_model(given)
    if isinstance(given, bytes | bytearray | memoryview):
        return _from_bytes(bytes(given))
    if isinstance(given, onnx.ModelProto):
        return _from_proto(given, "<ModelProto>")
    raise UsageError(
        f"a {type(given).__name__} is not a model",
        hint="give a path, bytes, an onnx.ModelProto or an acgraph.Model",
    )


def _from_bytes(data: bytes) -> Model:
    where = Location(model="<bytes>")
    try:
        proto = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ImportModelError(
            "not an ONNX file, or cut short", location=where, hint="give the bytes of a whole file"
        ) from error
    model = _from_proto(proto, "<bytes>")
    model.digest = hashlib.sha256(data).hexdigest()
    return model


def _from_proto(proto: onnx.ModelProto, source: str) -> Model:
    tidied, remarks = tidy(proto)
    check_importable(tidied, Location(model=source))
    model = model_from_proto(tidied, source)
    model.remarks[:0] = [remark for remark in remarks if remark not in model.remarks]
    return model
