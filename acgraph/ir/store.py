"""Write models without a complete copy in memory: large weights are written one by one."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from acgraph.ir import onnx_io
from acgraph.ir.files import is_device, sync, sync_folder, write_bytes, written_beside
from acgraph.ir.lazy import stored_bytes, values_of
from acgraph.ir.model import Model
from acgraph.ir.onnx_io import (
    count_params,
    proto_from_model,
    proto_size,
    write_proto,
)
from acgraph.ir.wire import sizes_with_weights, with_weights

#: Smaller weights are written with the rest of the model.
_MIN_BYTES = 1 << 16
#: Alignment of weights in external data, for runtimes that map them.
_ALIGNMENT = 4096
_Weights = dict[str, gs.Constant]


def write_model(model: Model, path: str | os.PathLike[str]) -> int:
    """Write a model atomically; return the number of bytes written.

    Above 2 GiB the weights are written to ``NAME.data`` beside it.

    Raises:
        OutputError: The file cannot be written.
    """
    name = os.fspath(path)
    proto, large = _skeleton(model)
    if not large or name == "-" or is_device(name):
        return write_proto(proto_from_model(model) if large else proto, path)
    data = proto.SerializeToString(deterministic=True)
    lengths = {key: stored_bytes(tensor) for key, tensor in large.items()}
    size = sizes_with_weights(data, lengths)
    if size >= onnx_io.EXTERNAL_BYTES:
        return _write_external(proto, large, Path(name))
    write_bytes(_pieces(data, lengths, large), path)
    return size


def write_beside(model: Model, path: Path) -> None:
    """Write a model with external data, whatever its size.

    Raises:
        OutputError: The files cannot be written.
    """
    proto, large = _skeleton(model)
    _write_external(proto, large, path)


def stored_size(model: Model) -> tuple[int, int]:
    """Return the number of elements of all constants of a model, and the bytes of its file.

    Above protobuf's limit, the bytes are those of the weights alone.
    """
    proto, large = _skeleton(model)
    lengths = {name: stored_bytes(tensor) for name, tensor in large.items()}
    weights = sum(lengths.values())
    if weights >= onnx_io.EXTERNAL_BYTES:
        return count_params(proto), weights + sum(len(t.raw_data) for t in proto.graph.initializer)
    size = sizes_with_weights(proto.SerializeToString(), lengths) if large else proto_size(proto)
    return count_params(proto), size


def _skeleton(model: Model) -> tuple[onnx.ModelProto, _Weights]:
    """Return a proto without the values of large weights, and the large weights by name."""
    large = {tensor.name: tensor for tensor in _large(model.graph)}
    values = {name: tensor._values for name, tensor in large.items()}
    try:
        for name, tensor in large.items():
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
            stub = onnx.TensorProto(name=name, dims=tuple(tensor.shape), data_type=kind)
            tensor.values = LazyValues(stub)
        return proto_from_model(model), large
    finally:
        for name, tensor in large.items():
            tensor.values = values[name]


def _large(graph: gs.Graph) -> Iterator[gs.Constant]:
    """Yield the large constants of the top graph with numeric numpy types."""
    names: dict[str, gs.Constant] = {}
    for tensor in graph.tensors().values():
        if not isinstance(tensor, gs.Constant) or isinstance(tensor.dtype, int):
            continue
        written = tensor.export_dtype
        if isinstance(written, int) or np.dtype(written) != np.dtype(tensor.dtype):
            continue
        if np.dtype(tensor.dtype).kind in "fiub" and stored_bytes(tensor) >= _MIN_BYTES:
            names[tensor.name] = tensor
    yield from names.values()


def _pieces(data: bytes, lengths: dict[str, int], large: _Weights) -> Iterator[bytes | memoryview]:
    for part in with_weights(data, lengths):
        yield _raw(large[part]) if isinstance(part, str) else part


def _raw(tensor: gs.Constant) -> memoryview:
    values = np.ascontiguousarray(values_of(tensor))
    return values.reshape(-1).view(np.uint8).data


def _write_external(proto: onnx.ModelProto, large: _Weights, target: Path) -> int:
    """Write a model and its external data to a temporary folder, then move both into place."""
    data_name = target.name + ".data"
    with written_beside(target) as folder:
        whole, data = folder / target.name, folder / data_name
        with data.open("wb") as file:
            for tensor in proto.graph.initializer:
                if tensor.name not in large:
                    continue
                file.write(bytes(-file.tell() % _ALIGNMENT))
                raw = _raw(large[tensor.name])
                tensor.data_location = onnx.TensorProto.EXTERNAL
                for key, value in (
                    ("location", data_name), ("offset", file.tell()), ("length", len(raw)),
                ):  # fmt: skip
                    tensor.external_data.add(key=key, value=str(value))
                file.write(raw)
            sync(file)
        with whole.open("wb") as file:
            file.write(proto.SerializeToString(deterministic=True))
            sync(file)
        size = whole.stat().st_size + data.stat().st_size
        data.replace(target.parent / data_name)
        whole.replace(target)
        sync_folder(target.parent)
    return size
