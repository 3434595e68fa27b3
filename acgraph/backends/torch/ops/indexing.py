"""Gather, Scatter and similar operators, and operators that create tensors."""

from collections.abc import Callable

import numpy as np
import torch

from acgraph.backends.torch.ops.elementwise import DTYPES, torch_dtype
from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView
from acgraph.ir import constant_node_value

Tensor = torch.Tensor


def tensor_of_array(array: "np.typing.NDArray[np.generic]") -> Tensor:
    """Copy an array to a tensor of the same type."""
    return torch.from_numpy(np.array(array, copy=True, order="C"))


def array_of_tensor(tensor: Tensor) -> "np.typing.NDArray[np.generic]":
    """Copy a tensor to an array of the same type."""
    array: np.typing.NDArray[np.generic] = np.array(tensor.detach().cpu().numpy(), copy=True)
    return array


def _shape(node: NodeView) -> Kernel:
    start, end = node.integer("start", 0), node.node.attrs.get("end")
    stop = None if end is None else int(end)
    return lambda x: torch.tensor(x.shape[start:stop], dtype=torch.int64, device=x.device)


def _size(node: NodeView) -> Kernel:
    return lambda x: torch.tensor(x.numel(), dtype=torch.int64, device=x.device)


def _constant(node: NodeView) -> Kernel:
    value = constant_node_value(node.node)
    if value is None:
        raise node.unsupported("a Constant that is not a dense tensor of numbers")
    tensor = tensor_of_array(value)
    return lambda: tensor


def _constant_of_shape(node: NodeView) -> Kernel:
    shape_of = node.ints_input(0)
    raw = node.node.attrs.get("value")
    fill = torch.zeros((), dtype=torch.float32) if raw is None else tensor_of_array(raw.values)
    number, dtype = fill.reshape(-1)[0].item(), fill.dtype

    def kernel(shape: Tensor | None = None) -> Tensor:
        device = None if shape is None else shape.device
        return torch.full(tuple(shape_of(shape)), number, dtype=dtype, device=device)

    return kernel


def _range(node: NodeView) -> Kernel:
    def kernel(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
        return torch.arange(
            start.item(), limit.item(), delta.item(), dtype=start.dtype, device=start.device
        )

    return kernel


def _eye_like(node: NodeView) -> Kernel:
    offset = node.integer("k", 0)
    dtype = torch_dtype(node, "dtype") if "dtype" in node.node.attrs else None

    def kernel(x: Tensor) -> Tensor:
        rows, columns = x.shape
        down = torch.arange(rows, device=x.device)[:, None]
        across = torch.arange(columns, device=x.device)[None, :]
        return (across - down == offset).to(dtype or x.dtype)

    return kernel


def _gather(node: NodeView) -> Kernel:
    axis = node.integer("axis", 0)
    known = node.peek(1)
    if node.batch is not None:
        return _gather_samples(node.batch[0])
    if known is not None and known.ndim == 0:
        index = int(node.number(1) or 0)
        return lambda x, _: x.select(axis, index)
    if known is not None and known.ndim == 1 and bool(np.greater_equal(known, 0).all()):
        return lambda x, index: x.index_select(axis, index)

    def kernel(x: Tensor, index: Tensor) -> Tensor:
        dim = axis % x.ndim
        wrapped = torch.where(index < 0, index + x.shape[dim], index)
        picked = x.index_select(dim, wrapped.reshape(-1))
        return picked.reshape(*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])

    return kernel


def _gather_samples(size: int) -> Kernel:
    """Gather from each sample of a flat tensor at the indices that were exported for one sample."""

    def kernel(x: Tensor, index: Tensor) -> Tensor:
        places = torch.where(index < 0, index + size, index).reshape(-1)
        return x.reshape(-1, size).index_select(1, places).reshape(-1, *index.shape[1:])

    return kernel


def _gather_elements(node: NodeView) -> Kernel:
    axis = node.integer("axis", 0)

    def kernel(x: Tensor, index: Tensor) -> Tensor:
        wrapped = torch.where(index < 0, index + x.shape[axis], index)
        return x.gather(axis, wrapped.to(torch.int64))

    return kernel


def _gather_nd(node: NodeView) -> Kernel:
    batch = node.integer("batch_dims", 0)

    def kernel(x: Tensor, index: Tensor) -> Tensor:
        if batch == 0:
            return x[tuple(index.to(torch.int64).unbind(-1))]
        rows = x.reshape(-1, *x.shape[batch:])
        indices = index.to(torch.int64).reshape(-1, *index.shape[batch:])
        picked = [r[tuple(i.unbind(-1))] for r, i in zip(rows, indices, strict=True)]
        return torch.stack(picked).reshape(*x.shape[:batch], *picked[0].shape)

    return kernel


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scatter_elements(node: NodeView) -> Kernel:
    axis, how = node.integer("axis", 0), node.text("reduction", "none")

    def kernel(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        wrapped = torch.where(index < 0, index + x.shape[axis], index).to(torch.int64)
        if how == "none":
            return x.scatter(axis, wrapped, updates)
        return x.scatter_reduce(axis, wrapped, updates, _REDUCTIONS[how])

    return kernel


def _scatter_nd(node: NodeView) -> Kernel:
    how = node.text("reduction", "none")

    def kernel(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        where = tuple(index.to(torch.int64).unbind(-1))
        if how == "none":
            return x.index_put(where, updates)
        if how == "add":
            return x.index_put(where, updates, accumulate=True)
        # scatter_reduce on flattened rows also reduces over repeated indices.
        depth = len(where)
        sizes = x.shape[:depth]
        flat = torch.zeros_like(where[0])
        for part, size in zip(where, sizes, strict=True):
            flat = flat * size + torch.where(part < 0, part + size, part)
        rows = x.reshape(int(np.prod(sizes)), -1)
        places = flat.reshape(-1, 1).expand(-1, rows.shape[1])
        values = updates.reshape(-1, rows.shape[1])
        return rows.scatter_reduce(0, places, values, _REDUCTIONS[how]).reshape(x.shape)

    return kernel


def _one_hot(node: NodeView) -> Kernel:
    axis = node.integer("axis", -1)
    depth_of = node.ints_input(1)

    def kernel(index: Tensor, depth: Tensor | None, values: Tensor) -> Tensor:
        count = depth_of(depth)[0]
        wrapped = torch.where(index < 0, index + count, index).to(torch.int64)
        place = axis if axis >= 0 else index.ndim + 1 + axis
        hot = wrapped.unsqueeze(-1) == torch.arange(count, device=index.device)
        return torch.where(hot, values[1], values[0]).movedim(-1, place)

    return kernel


def _non_zero(node: NodeView) -> Kernel:
    return lambda x: x.nonzero().t()


def _compress(node: NodeView) -> Kernel:
    axis: int | None = node.node.attrs.get("axis")

    def kernel(x: Tensor, condition: Tensor) -> Tensor:
        places = condition.nonzero().reshape(-1)
        return x.reshape(-1)[places] if axis is None else x.index_select(axis, places)

    return kernel


def _random(fill: Callable[[NodeView, Tensor], Tensor]) -> Builder:
    def build(node: NodeView) -> Kernel:
        raw = node.node.attrs.get("dtype", 1)
        dtype = DTYPES.get(raw) if isinstance(raw, int) else torch_dtype(node, "dtype")
        if dtype is None:
            raise node.unsupported(f"the type {raw}")
        shape = node.ints("shape")
        if shape is not None:
            return lambda: fill(node, torch.empty(shape, dtype=dtype))
        return lambda like: fill(node, torch.empty(like.shape, dtype=dtype, device=like.device))

    return build


def _uniform(node: NodeView, x: Tensor) -> Tensor:
    return x.uniform_(node.real("low", 0.0), node.real("high", 1.0))


def _normal(node: NodeView, x: Tensor) -> Tensor:
    return x.normal_(node.real("mean", 0.0), node.real("scale", 1.0))


def _bernoulli(node: NodeView) -> Kernel:
    dtype = torch_dtype(node, "dtype") if "dtype" in node.node.attrs else None
    return lambda x: torch.bernoulli(x).to(dtype or x.dtype)


def _multinomial(node: NodeView) -> Kernel:
    count = node.integer("sample_size", 1)
    dtype = torch_dtype(node, "dtype") if "dtype" in node.node.attrs else torch.int32
    return lambda x: torch.multinomial(x.softmax(-1), count, replacement=True).to(dtype)


TABLE: dict[str, Builder] = {
    "Bernoulli": _bernoulli,
    "Compress": _compress,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "EyeLike": _eye_like,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Multinomial": _multinomial,
    "NonZero": _non_zero,
    "OneHot": _one_hot,
    "RandomNormal": _random(_normal),
    "RandomUniform": _random(_uniform),
    "Range": _range,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Shape": _shape,
    "Size": _size,
}
