"""Operators that rearrange, repeat, pad or crop elements without computing new values."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, IntsOf, Kernel, NodeView

Tensor = torch.Tensor


def _reshape(node: NodeView) -> Kernel:
    if node.batch is not None:
        target = node.batch
        node.value(1)
        return lambda x, *_: x.reshape(target)
    keep_zero = bool(node.integer("allowzero", 0))
    shape_of = node.ints_either("shape", 1)
    if shape_of is None:
        raise node.unsupported("a Reshape without a shape")
    known = node.ints("shape") or node.peek(1)
    if known is not None and (keep_zero or 0 not in known):
        fixed = tuple(shape_of(None))
        return lambda x, *_: x.reshape(fixed)

    def reshape(x: Tensor, shape: Tensor | None = None) -> Tensor:
        sizes = shape_of(shape)
        if not keep_zero:
            sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
        return x.reshape(tuple(sizes))

    return reshape


def _flatten(node: NodeView) -> Kernel:
    axis = node.integer("axis", 1)

    def flatten(x: Tensor) -> Tensor:
        if axis == 1 and x.ndim > 1:
            return x.flatten(1)
        cut = axis if axis >= 0 else axis + x.ndim
        rows = int(np.prod(x.shape[:cut], dtype=np.int64))
        return x.reshape(rows, int(np.prod(x.shape[cut:], dtype=np.int64)))

    return flatten


def _transpose(node: NodeView) -> Kernel:
    perm = node.ints("perm")
    if perm is None:
        return lambda x: x.permute(tuple(reversed(range(x.ndim))))
    return lambda x: x.permute(perm)


def _squeeze(node: NodeView) -> Kernel:
    axes_of = node.ints_either("axes", 1)
    if axes_of is None:
        return lambda x: x.squeeze()
    return lambda x, axes=None: x.squeeze(tuple(axes_of(axes)))


def _unsqueeze(node: NodeView) -> Kernel:
    axes_of = node.ints_either("axes", 1)
    if axes_of is None:
        raise node.unsupported("an Unsqueeze without axes")

    def unsqueeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = axes_of(axes)
        rank = x.ndim + len(chosen)
        for axis in sorted(a % rank for a in chosen):
            x = x.unsqueeze(axis)
        return x

    return unsqueeze


def _concat(node: NodeView) -> Kernel:
    axis = node.integer("axis", 0)
    if node.batch is None:
        return lambda *xs: torch.cat(xs, dim=axis)
    (batch_axis,) = node.batch

    def concat(*xs: Tensor) -> Tensor:
        # Constants such as a class token have the batch size of the export: expand them.
        size = max(x.shape[batch_axis] for x in xs)
        return torch.cat([_grow(x, batch_axis, size) for x in xs], dim=axis)

    return concat


def _grow(x: Tensor, axis: int, size: int) -> Tensor:
    if x.shape[axis] == size:
        return x
    return x.expand(*x.shape[:axis], size, *x.shape[axis + 1 :])


def _split(node: NodeView) -> Kernel:
    axis = node.integer("axis", 0)
    sizes_of = node.ints_either("split", 1)
    parts = len(node.node.outputs)

    def split(x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        if sizes_of is not None:
            return torch.split(x, list(sizes_of(sizes)), dim=axis)
        # ``torch.split`` by a size leaves out empty parts, such as the third of 4 values.
        size = x.shape[axis]
        step = -(-size // parts)
        return torch.split(x, [max(0, min(step, size - step * i)) for i in range(parts)], dim=axis)

    if parts == 1:
        return lambda x, *rest: split(x, *rest)[0]
    return split


def _slice(node: NodeView) -> Kernel:
    if node.opset < 10:
        starts, ends = node.ints("starts") or (), node.ints("ends") or ()
        axes = node.ints("axes") or tuple(range(len(starts)))
        return lambda x: _cut(x, starts, ends, axes, (1,) * len(starts))
    starts_of, ends_of = node.ints_input(1), node.ints_input(2)
    axes_of = node.ints_input(3) if node.has(3) else None
    steps_of = node.ints_input(4) if node.has(4) else None

    def kernel(
        x: Tensor,
        starts: Tensor | None,
        ends: Tensor | None,
        axes: Tensor | None = None,
        steps: Tensor | None = None,
    ) -> Tensor:
        first = starts_of(starts)
        where = axes_of(axes) if axes_of is not None else range(len(first))
        pace = steps_of(steps) if steps_of is not None else (1,) * len(first)
        return _cut(x, first, ends_of(ends), where, pace)

    return kernel


def _cut(
    x: Tensor,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int],
    steps: Sequence[int],
) -> Tensor:
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step > 0:
            index[axis] = slice(start, end, step)
            continue
        size = x.shape[axis]
        picked = range(size)[slice(start, None if end < -size else end, step)]
        x = x.index_select(axis, torch.tensor(picked, dtype=torch.int64, device=x.device))
    return x[tuple(index)]


def _pad(node: NodeView) -> Kernel:
    mode = node.text("mode", "constant")
    pads_of: IntsOf | None
    if node.opset < 11:
        pads_of, fill = node.ints_either("pads", 1), node.real("value", 0.0)
    else:
        pads_of, fill = node.ints_input(1), node.number(2) or 0.0
        if node.has(2) and node.peek(2) is None:
            raise node.unsupported("a Pad value that is computed")
    axes_of = node.ints_input(3) if node.has(3) else None
    if pads_of is None:
        raise node.unsupported("a Pad without pads")

    def pad(
        x: Tensor, pads: Tensor | None = None, value: object = None, axes: Tensor | None = None
    ) -> Tensor:
        amounts = pads_of(pads)
        where = axes_of(axes) if axes_of is not None else range(x.ndim)
        begins, ends = [0] * x.ndim, [0] * x.ndim
        for i, axis in enumerate(where):
            begins[axis], ends[axis] = amounts[i], amounts[len(where) + i]
        if mode == "constant":
            flat = [p for a in reversed(range(x.ndim)) for p in (begins[a], ends[a])]
            while len(flat) > 2 and flat[-1] == flat[-2] == 0:  # padding fewer axes is faster
                del flat[-2:]
            return F.pad(x, flat, value=fill)
        return _pad_by_index(x, begins, ends, mode)

    return pad


def _pad_by_index(x: Tensor, begins: Sequence[int], ends: Sequence[int], mode: str) -> Tensor:
    """Pad in mode reflect, edge or wrap; negative amounts crop."""
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if not begin and not end:
            continue
        size = x.shape[axis]
        kept = np.arange(size)[max(0, -begin) : size - max(0, -end)]
        amounts = (max(0, begin), max(0, end))
        index = _padded_index(kept, amounts, mode)
        x = x.index_select(axis, torch.from_numpy(index).to(x.device))
    return x


def _padded_index(
    kept: np.ndarray[tuple[int], np.dtype[np.int64]], amounts: tuple[int, int], mode: str
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if mode == "reflect":
        return np.pad(kept, amounts, mode="reflect")
    return np.pad(kept, amounts, mode="edge" if mode == "edge" else "wrap")


def _expand(node: NodeView) -> Kernel:
    if node.batch is not None:
        target = node.batch
        node.value(1)
        return lambda x, *_: _broadcast(x, target)
    shape_of = node.ints_input(1)
    return lambda x, shape=None: _broadcast(x, shape_of(shape))


def _broadcast(x: Tensor, target: Sequence[int]) -> Tensor:
    """Broadcast to a shape; a size of 1 in the target keeps the size of the input."""
    sizes = list(target)
    sizes = [1] * (x.ndim - len(sizes)) + sizes
    for back in range(1, x.ndim + 1):
        if sizes[-back] == 1:
            sizes[-back] = x.shape[-back]
    return x.expand(sizes)


def _tile(node: NodeView) -> Kernel:
    repeats_of = node.ints_input(1)
    return lambda x, repeats=None: x.repeat(tuple(repeats_of(repeats)))


def _depth_to_space(node: NodeView) -> Kernel:
    block, columns_first = node.integer("blocksize", 1), node.text("mode", "DCR") == "CRD"

    def kernel(x: Tensor) -> Tensor:
        if columns_first:
            return F.pixel_shuffle(x, block)
        n, c, h, w = x.shape
        parts = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, c // block**2, h * block, w * block)

    return kernel


def _space_to_depth(node: NodeView) -> Kernel:
    block = node.integer("blocksize", 1)

    def kernel(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
        return parts.reshape(n, c * block**2, h // block, w // block)

    return kernel


def _trilu(node: NodeView) -> Kernel:
    offset_of = node.ints_input(1) if node.has(1) else None
    cut = torch.triu if node.integer("upper", 1) else torch.tril
    return lambda x, k=None: cut(x, offset_of(k)[0] if offset_of is not None else 0)


def _reverse_sequence(node: NodeView) -> Kernel:
    axes = node.integer("time_axis", 0), node.integer("batch_axis", 1)

    def reverse(x: Tensor, lengths: Tensor) -> Tensor:
        moved = x.movedim(axes, (0, 1))
        time = torch.arange(moved.shape[0], device=x.device)[:, None]
        order = torch.where(time < lengths, lengths - 1 - time, time)
        rows = torch.arange(moved.shape[1], device=x.device)
        return moved[order, rows].movedim((0, 1), axes)

    return reverse


TABLE: dict[str, Builder] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": lambda node: lambda x: x,
    "Pad": _pad,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
