"""Write models without holding them as a whole: the weights go to the file one by one."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from acgraph.ir import onnx_io
from acgraph.ir.files import is_device, write_bytes, written_beside
from acgraph.ir.lazy import stored_bytes, values_of
from acgraph.ir.model import Model
from acgraph.ir.onnx_io import (
    count_params,
    proto_from_model,
    proto_size,
    write_proto,
)
from acgraph.ir.wire import sizes_with_weights, with_weights

#: Weights of fewer bytes are written with the rest of the model.
_MIN_BYTES = 1 << 16
#: Weights beside a model begin at multiples of this, as runtimes that map them like it.
_ALIGNMENT = 4096
_Held = dict[str, gs.Constant]


def write_model(model: Model, path: str | os.PathLike[str]) -> int:
    """Write a model whole or not at all; return the bytes written.

    Above 2 GiB the weights go to ``NAME.data`` beside it.

    Raises:
        OutputError: the file cannot be written.
    """
    name = os.fspath(path)
    proto, held = _skeleton(model)
    if not held or name == "-" or is_device(name):
        return write_proto(proto_from_model(model) if held else proto, path)
    data = proto.SerializeToString(deterministic=True)
    lengths = {key: stored_bytes(tensor) for key, tensor in held.items()}
    size = sizes_with_weights(data, lengths)
    if size >= onnx_io.EXTERNAL_BYTES:
        return _write_external(proto, held, Path(name))
    write_bytes(_pieces(data, lengths, held), path)
    return size


def write_beside(model: Model, path: Path) -> None:
    """Write a model with its weights in a file beside it, however small they are.

    Raises:
        OutputError: the files cannot be written.
    """
    proto, held = _skeleton(model)
    _write_external(proto, held, path)


def stored_size(model: Model) -> tuple[int, int]:
    """Return the elements of all constants of a model, and the bytes of its file.

    Of the weights alone where protobuf cannot count that far.
    """
    proto, held = _skeleton(model)
    lengths = {name: stored_bytes(tensor) for name, tensor in held.items()}
    weights = sum(lengths.values())
    if weights >= onnx_io.EXTERNAL_BYTES:
        return count_params(proto), weights + sum(len(t.raw_data) for t in proto.graph.initializer)
    size = sizes_with_weights(proto.SerializeToString(), lengths) if held else proto_size(proto)
    return count_params(proto), size


def _skeleton(model: Model) -> tuple[onnx.ModelProto, _Held]:
    """Make a proto without large weights; return them by name."""
    held = {tensor.name: tensor for tensor in _large(model.graph)}
    values = {name: tensor._values for name, tensor in held.items()}
    try:
        for name, tensor in held.items():
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
            stub = onnx.TensorProto(name=name, dims=tuple(tensor.shape), data_type=kind)
            tensor.values = LazyValues(stub)
        return proto_from_model(model), held
    finally:
        for name, tensor in held.items():
            tensor.values = values[name]


def _large(graph: gs.Graph) -> Iterator[gs.Constant]:
    """Yield the constants of the top graph that are worth it, and of types that numpy has."""
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


def _pieces(data: bytes, lengths: dict[str, int], held: _Held) -> Iterator[bytes | memoryview]:
    for part in with_weights(data, lengths):
        yield _raw(held[part]) if isinstance(part, str) else part


def _raw(tensor: gs.Constant) -> memoryview:
    values = np.ascontiguousarray(values_of(tensor))
    return values.reshape(-1).view(np.uint8).data


def _write_external(proto: onnx.ModelProto, held: _Held, target: Path) -> int:
    """Write a model and its weights beside it: first to a folder of their own, then renamed."""
    data_name = target.name + ".data"
    with written_beside(target) as folder:
        whole, data = folder / target.name, folder / data_name
        with data.open("wb") as file:
            for tensor in proto.graph.initializer:
                if tensor.name not in held:
                    continue
                file.write(bytes(-file.tell() % _ALIGNMENT))
                raw = _raw(held[tensor.name])
                tensor.data_location = onnx.TensorProto.EXTERNAL
                for key, value in (
                    ("location", data_name), ("offset", file.tell()), ("length", len(raw)),
                ):  # fmt: skip
                    tensor.external_data.add(key=key, value=str(value))
                file.write(raw)
        whole.write_bytes(proto.SerializeToString(deterministic=True))
        size = whole.stat().st_size + data.stat().st_size
        data.replace(target.parent / data_name)
        whole.replace(target)
    return size
