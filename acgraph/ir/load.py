"""Load a model from a path, bytes, a proto, or another model."""

import hashlib
import os

import onnx

from acgraph.diagnostics import Location
from acgraph.errors import UsageError
from acgraph.ir.foreign import importing
from acgraph.ir.model import Model
from acgraph.ir.onnx_io import check_importable, clone_model, model_from_proto, read_model
from acgraph.ir.plausible import check_plausible
from acgraph.ir.tidy import tidy


def load_model(source: object) -> Model:
    """Load a model; the source is not changed.

    Args:
        source: A path, the bytes of a file, an ``onnx.ModelProto``, or a model.

    Raises:
        UsageError: The source has another type.
        ImportModelError: There is no such file, or it is not a valid ONNX model.
    """
    if isinstance(source, Model):
        return clone_model(source)
    if isinstance(source, str | os.PathLike):
        return read_model(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source))
    if isinstance(source, onnx.ModelProto):
        return _from_proto(source, "<ModelProto>")
    raise UsageError(
        f"a {type(source).__name__} is not a model",
        hint="give a path, bytes, an onnx.ModelProto or an acgraph.Model",
    )


def _from_bytes(data: bytes) -> Model:
    with importing(Location(model="<bytes>")):
        proto = onnx.load_model_from_string(data)
    model = _from_proto(proto, "<bytes>")
    model.digest = hashlib.sha256(data).hexdigest()
    return model


def _from_proto(proto: onnx.ModelProto, source: str) -> Model:
    where = Location(model=source)
    with importing(where):
        check_plausible(proto, where)
        tidied, remarks = tidy(proto)
        check_importable(tidied, where)
        model = model_from_proto(tidied, source)
    model.remarks[:0] = [remark for remark in remarks if remark not in model.remarks]
    return model
