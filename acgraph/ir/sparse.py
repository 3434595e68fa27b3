"""Replace sparse initializers by dense ones: onnx-graphsurgeon reads them wrongly."""

import math

import numpy as np
import onnx
import onnx.numpy_helper

from acgraph.diagnostics import Location, counted
from acgraph.errors import ImportModelError
from acgraph.limits import check_memory


def make_dense(proto: onnx.ModelProto, where: Location) -> list[str]:
    """Replace the sparse initializers of the top graph by dense ones, in place.

    Returns:
        A remark, if there were any.

    Raises:
        ImportModelError: One is not valid, or its dense form needs too much memory.
    """
    graph = proto.graph
    if not graph.sparse_initializer:
        return []
    dense = [_dense(tensor, where) for tensor in graph.sparse_initializer]
    del graph.sparse_initializer[:]
    graph.initializer.extend(dense)
    return [f"{counted(len(dense), 'sparse initializer')} replaced by dense constants"]


def _dense(tensor: onnx.SparseTensorProto, where: Location) -> onnx.TensorProto:
    name, dims = tensor.values.name, tuple(tensor.dims)
    values = onnx.numpy_helper.to_array(tensor.values)
    indices = onnx.numpy_helper.to_array(tensor.indices)
    size = math.prod(dims)
    check_memory(
        size * values.itemsize, f"the sparse initializer '{name}'", where, ImportModelError
    )
    if indices.ndim == 2:
        indices = np.ravel_multi_index(tuple(indices.T), dims)
    if indices.shape != values.shape or ((indices < 0) | (indices >= size)).any():
        raise ImportModelError(
            f"the indices of the sparse initializer '{name}' do not fit its shape {list(dims)}",
            location=where,
            hint="export it again",
        )
    found = np.zeros(size, values.dtype)
    found[indices] = values
    return onnx.numpy_helper.from_array(found.reshape(dims), name)
