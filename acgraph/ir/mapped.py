"""Read large files without loading their weights: the constants are views of the mapped file."""

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx_graphsurgeon as gs
from onnx.external_data_helper import (
    ExternalDataInfo,
    load_external_data_for_model,
    uses_external_data,
)

from acgraph.ir.model import Array, Model
from acgraph.ir.scopes import free_names, subgraphs
from acgraph.ir.wire import without_weights

#: Models of fewer bytes, including external data, are loaded completely.
MAPPED_BYTES = 1 << 26
#: Weights of fewer bytes are read with the rest of the model.
_MIN_BYTES = 1 << 16
Views = dict[str, Array]


def is_large(path: Path) -> bool:
    """Return whether a model, including its external data, is large enough to be mapped.

    Raises:
        google.protobuf.message.DecodeError: It is not an ONNX file.
    """
    if path.stat().st_size >= MAPPED_BYTES:
        return True
    proto = onnx.load(str(path), load_external_data=False)
    beside = [tensor.dims for tensor in proto.graph.initializer if uses_external_data(tensor)]
    return sum(4 * int(np.prod(dims, dtype=np.int64)) for dims in beside) >= MAPPED_BYTES


def read_mapped(path: Path) -> tuple[onnx.ModelProto, Views]:
    """Read a model without its large weights.

    Returns:
        The model, and the values of the initializers that are empty in it, by name.

    Raises:
        ValueError: The file or its external data is truncated, or the external data lies outside of
            the folder.
        google.protobuf.message.DecodeError: It is not an ONNX file.
        OSError: A file cannot be read.
    """
    file = _map(path)
    try:
        slim, places = without_weights(file, _MIN_BYTES)
    except IndexError as error:
        raise ValueError("the file is truncated") from error
    proto = onnx.load_model_from_string(slim)
    below = {
        name for node in proto.graph.node for graph in subgraphs(node) for name in free_names(graph)
    }
    beside: dict[str, memoryview] = {}
    views: Views = {}
    for tensor in proto.graph.initializer:
        if tensor.name in places:
            start, length = places[tensor.name]
            raw = file[start : start + length]
        elif uses_external_data(tensor):
            raw = _external(tensor, path.parent, beside)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
        else:
            continue
        view = None if tensor.name in below else _view(tensor, raw)
        if view is None:
            tensor.raw_data = bytes(raw)
        else:
            views[tensor.name] = view
    load_external_data_for_model(proto, str(path.parent))  # tensors in attributes
    return proto, views


def _map(path: Path) -> memoryview:
    """Map a file read-only."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _external(tensor: onnx.TensorProto, folder: Path, beside: dict[str, memoryview]) -> memoryview:
    """Return the bytes of a tensor in external data."""
    info = ExternalDataInfo(tensor)
    if info.location not in beside:
        target = (folder / info.location).resolve()
        if not target.is_relative_to(folder.resolve()) or not target.is_file():
            raise ValueError(
                f"the external data file '{info.location}' of '{tensor.name}' is not in its folder"
            )
        beside[info.location] = _map(target)
    file = beside[info.location]
    start = int(info.offset or 0)
    end = len(file) if info.length is None else start + int(info.length)
    if end > len(file) or start > len(file):
        raise ValueError(
            f"the external data file '{info.location}' is truncated: '{tensor.name}' is missing"
        )
    return file[start:end]


def _view(tensor: onnx.TensorProto, raw: memoryview) -> Array | None:
    """View bytes as the values of a tensor; None where numpy lacks the type or the size differs."""
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    count = int(np.prod(tensor.dims, dtype=np.int64))
    if dtype.kind not in "fiub" or len(raw) < _MIN_BYTES or len(raw) != count * dtype.itemsize:
        return None
    return np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))


def attach(graph: gs.Graph, views: Views) -> None:
    """Set the values of the constants that the model was read without."""
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant) and tensor.name in views:
            tensor.values = views[tensor.name]


def release_mapped(model: Model) -> None:
    """Release the memory pages of the mapped files behind the constants of a model.

    Pages that were read count as memory of the process. They are read again when needed.
    """
    files: dict[int, mmap.mmap] = {}
    for tensor in model.graph.tensors().values():
        base = tensor._values if isinstance(tensor, gs.Constant) else None
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap):
            files[id(base.obj)] = base.obj
    for file in files.values():
        if hasattr(file, "madvise"):
            file.madvise(mmap.MADV_DONTNEED)


@contextlib.contextmanager
def checkable(proto: onnx.ModelProto, views: Views) -> Iterator[None]:
    """Temporarily give the tensors that the model was read without a valid, empty shape."""
    changed = [(tensor, list(tensor.dims)) for tensor in proto.graph.initializer
               if tensor.name in views]  # fmt: skip
    for tensor, _ in changed:
        tensor.dims[:] = [0]
    try:
        yield
    finally:
        for tensor, dims in changed:
            tensor.dims[:] = dims
