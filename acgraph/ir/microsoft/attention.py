"""Expansion of Attention and MultiHeadAttention into projections, masks and products."""

import math

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir.microsoft.known import rank_of
from acgraph.ir.microsoft.writer import Writer

#: Default of ``mask_filter_value``: added to the scores of masked positions.
_FILTER = -10000.0


def attention(writer: Writer) -> bool:
    """Projection, split into query, key and value, and attention; without a past state."""
    x, weight, bias, mask, past, extra = (writer.input(i) for i in range(6))
    sizes = _projections(writer, weight)
    plain = not writer.attrs.get("do_rotary", 0) and writer.opset >= 13
    if past is not None or writer.is_used(1) or sizes is None or not plain:
        return False
    if mask is not None and _mask_rank(mask) not in (1, 2):
        return False
    y = writer.op("MatMul", x, weight, main=True)
    if bias is not None:
        y = writer.op("Add", y, bias)
    q, k, v = writer.op("Split", y, writer.const(sizes), outputs=3, axis=-1)
    writer.end(0, _attend(writer, (q, k, v), sizes, mask, extra))
    return True


def multi_head_attention(writer: Writer) -> bool:
    """Bias of query, key and value, and attention; without a past state or packed inputs."""
    q, k, v, bias, mask, extra = (writer.input(i) for i in range(6))
    caches = any(writer.input(i) is not None for i in (6, 7, 8, 9))
    caches = caches or any(writer.is_used(j) for j in (1, 2, 3))
    if k is None or v is None or caches or writer.opset < 13:
        return False
    if [rank_of(tensor) for tensor in (q, k, v)] != [3, 3, 3]:
        return False
    if mask is not None and _mask_rank(mask) != 2:
        return False
    heads = int(writer.attrs["num_heads"])
    sizes = _widths(writer, q, k, v, bias)
    if sizes is None or sizes[0] % heads or sizes[2] % heads:
        return False
    parts = [q, k, v]
    if bias is not None:
        values = np.split(np.asarray(bias.values), np.cumsum(sizes)[:2])
        parts = [
            writer.op("Add", part, writer.const(value, value.dtype))
            for part, value in zip(parts, values, strict=True)
        ]
    y = _attend(writer, (parts[0], parts[1], parts[2]), sizes, mask, extra, main=True)
    writer.end(0, y)
    return True


def _projections(writer: Writer, weight: gs.Tensor | None) -> list[int] | None:
    """Return the widths of query, key and value; None where they are unknown or do not fit."""
    stated = [int(size) for size in writer.attrs.get("qkv_hidden_sizes", [])]
    if not stated and isinstance(weight, gs.Constant) and int(weight.shape[1]) % 3 == 0:
        stated = [int(weight.shape[1]) // 3] * 3
    heads = int(writer.attrs["num_heads"])
    return stated if len(stated) == 3 and not any(size % heads for size in stated) else None


def _widths(
    writer: Writer, q: gs.Tensor, k: gs.Tensor, v: gs.Tensor, bias: gs.Tensor | None
) -> list[int] | None:
    declared = [t.shape[2] if t.shape is not None else None for t in (q, k, v)]
    sizes = [size for size in declared if isinstance(size, int)]
    if len(sizes) == 3:
        fits = bias is None or (isinstance(bias, gs.Constant) and sum(sizes) == bias.shape[0])
        return sizes if fits else None
    if isinstance(bias, gs.Constant) and bias.shape[0] % 3 == 0:
        return [int(bias.shape[0]) // 3] * 3
    return None


def _mask_rank(mask: gs.Tensor) -> int | None:
    """Return the rank of a mask; 1 (lengths) only for masks of EmbedLayerNormalization."""
    if mask.inputs and mask.inputs[0].op == "ReduceSum":
        return 1
    rank = rank_of(mask)
    return rank if rank == 2 else None


def _attend(
    writer: Writer,
    parts: tuple[gs.Tensor, gs.Tensor, gs.Tensor],
    sizes: list[int],
    mask: gs.Tensor | None,
    extra: gs.Tensor | None,
    *,
    main: bool = False,
) -> gs.Tensor:
    """Write ``softmax(q k' * scale + masks) v`` per head; all parts are ``[B, S, N h]``."""
    heads = int(writer.attrs["num_heads"])
    q, k, _ = parts
    turned = []
    for part, size, perm in zip(parts, sizes, ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)),
                                strict=True):  # fmt: skip
        split = writer.op("Reshape", part, writer.const([0, 0, heads, size // heads]))
        turned.append(writer.op("Transpose", split, perm=list(perm)))
    scale = float(writer.attrs.get("scale", 0.0)) or 1 / math.sqrt(sizes[0] // heads)
    scores = writer.op("MatMul", turned[0], turned[1], main=main)
    scores = writer.op("Mul", scores, writer.number(scale, q))
    for bias in (extra, _padding(writer, mask, k, q), _causal(writer, q, k)):
        if bias is not None:
            scores = writer.op("Add", scores, bias)
    y = writer.op("MatMul", writer.op("Softmax", scores, axis=-1), turned[2])
    y = writer.op("Transpose", y, perm=[0, 2, 1, 3])
    return writer.op("Reshape", y, writer.const([0, 0, sizes[2]]))


def _length(writer: Writer, x: gs.Tensor) -> gs.Tensor:
    """Write the positions 0, 1, ... along axis 1 of a tensor."""
    size = writer.op("Gather", writer.op("Shape", x), writer.const(1), axis=0)
    return writer.op("Range", writer.const(0), size, writer.const(1))


def _filtered(writer: Writer, keep: gs.Tensor, like: gs.Tensor) -> gs.Tensor:
    value = float(writer.attrs.get("mask_filter_value", _FILTER))
    return writer.op("Where", keep, writer.number(0, like), writer.number(value, like))


def _padding(
    writer: Writer, mask: gs.Tensor | None, keys: gs.Tensor, like: gs.Tensor
) -> gs.Tensor | None:
    """Write the bias of the scores ``[B, N, S, T]`` from a mask ``[B, T]`` or lengths ``[B]``."""
    if mask is None:
        return None
    if _mask_rank(mask) == 1:
        lengths = writer.op("Unsqueeze", mask, writer.const([1]))
        places = writer.op("Cast", _length(writer, keys), to=_INT32)
        keep = writer.op("Less", places, writer.op("Cast", lengths, to=_INT32))
    else:
        keep = writer.op("Cast", mask, to=_BOOL)
    return _filtered(writer, writer.op("Unsqueeze", keep, writer.const([1, 2])), like)


def _causal(writer: Writer, q: gs.Tensor, k: gs.Tensor) -> gs.Tensor | None:
    """Write the causal mask of a unidirectional node; None for other nodes."""
    if not writer.attrs.get("unidirectional", 0):
        return None
    rows = writer.op("Unsqueeze", _length(writer, q), writer.const([1]))
    ahead = writer.op("Less", rows, writer.op("Unsqueeze", _length(writer, k), writer.const([0])))
    return _filtered(writer, writer.op("Not", ahead), q)


_BOOL, _INT32 = 9, 6

RULES = {"Attention": attention, "MultiHeadAttention": multi_head_attention}
