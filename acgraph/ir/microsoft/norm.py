"""Expansion of normalisations: with a residual input, without a mean, and over embeddings."""

import onnx_graphsurgeon as gs

from acgraph.ir.microsoft.known import rank_of
from acgraph.ir.microsoft.writer import Writer


def _axes(writer: Writer, x: gs.Tensor) -> list[int] | None:
    """Return the normalised axes, counted from the end; None where they need an unknown rank."""
    axis = int(writer.attrs.get("axis", -1))
    if axis >= 0:
        rank = rank_of(x)
        if rank is None:
            return None
        axis -= rank
    return list(range(axis, 0))


def _mean(writer: Writer, x: gs.Tensor, axes: list[int]) -> gs.Tensor:
    if writer.opset >= 18:
        return writer.op("ReduceMean", x, writer.const(axes), keepdims=1)
    return writer.op("ReduceMean", x, axes=axes, keepdims=1)


def _divide(
    writer: Writer, x: gs.Tensor, axes: list[int], epsilon: float, inverse: int | None
) -> gs.Tensor:
    """Divide by the root mean square; its reciprocal is output ``inverse`` where it is used."""
    square = _mean(writer, writer.op("Pow", x, writer.number(2, x)), axes)
    root = writer.op("Sqrt", writer.op("Add", square, writer.number(epsilon, x)))
    if inverse is not None and writer.is_used(inverse):
        writer.end(inverse, writer.op("Reciprocal", root))
    return writer.op("Div", x, root)


def _write_layer_norm(
    writer: Writer,
    x: gs.Tensor,
    scale: gs.Tensor | None,
    shift: gs.Tensor | None,
    axes: list[int],
    *,
    epsilon: float = 1e-5,
    statistics: bool = True,
) -> None:
    """Write a LayerNormalization, output 0; mean and inverse deviation are outputs 1 and 2."""
    epsilon = float(writer.attrs.get("epsilon", epsilon))
    if writer.opset >= 17:
        used = [j for j in (1, 2) if statistics and writer.is_used(j)]
        made = writer.op(
            "LayerNormalization", x, scale, shift,
            outputs=1 + max(used, default=0), main=True, axis=axes[0], epsilon=epsilon,
        )  # fmt: skip
        for j in [0, *used]:
            writer.end(j, made[j] if used else made)
        return
    mean = _mean(writer, x, axes)
    if statistics:
        writer.end(1, mean)
    centred = writer.op("Sub", x, mean)
    y = _divide(writer, centred, axes, epsilon, 2 if statistics else None)
    y = writer.op("Mul", y, scale, main=True)
    writer.end(0, y if shift is None else writer.op("Add", y, shift))


def _write_rms(
    writer: Writer, x: gs.Tensor, scale: gs.Tensor, axes: list[int], inverse: int
) -> None:
    """Write an RMSNormalization, output 0; the inverse deviation is output ``inverse``."""
    epsilon = float(writer.attrs.get("epsilon", 1e-5))
    if writer.opset >= 23 and not writer.is_used(inverse):
        y = writer.op("RMSNormalization", x, scale, main=True, axis=axes[0], epsilon=epsilon)
    else:
        y = _divide(writer, x, axes, epsilon, inverse)
        y = writer.op("Mul", y, scale, main=True)
    writer.end(0, y)


def _sum(writer: Writer, bias: int) -> gs.Tensor:
    """Write the sum of input, skip and input ``bias``: output 3."""
    total = writer.op("Add", writer.node.inputs[0], writer.node.inputs[1])
    other = writer.input(bias)
    total = total if other is None else writer.op("Add", total, other)
    writer.end(3, total)
    return total


def layer_norm(writer: Writer) -> bool:
    """LayerNormalization, which standard ONNX has from opset 17."""
    x = writer.node.inputs[0]
    axes = _axes(writer, x)
    if axes is None:
        return False
    _write_layer_norm(writer, x, writer.node.inputs[1], writer.input(2), axes)
    return True


def simplified_layer_norm(writer: Writer) -> bool:
    """RMSNormalization, which standard ONNX has from opset 23."""
    x = writer.node.inputs[0]
    axes = _axes(writer, x)
    if axes is None:
        return False
    _write_rms(writer, x, writer.node.inputs[1], axes, inverse=1)
    return True


def skip_layer_norm(writer: Writer) -> bool:
    """LayerNormalization of the sum of input, skip and bias."""
    total = _sum(writer, 4)
    _write_layer_norm(writer, total, writer.node.inputs[2], writer.input(3), [-1], epsilon=1e-12)
    return True


def skip_simplified_layer_norm(writer: Writer) -> bool:
    """RMSNormalization of the sum of input, skip and bias."""
    _write_rms(writer, _sum(writer, 3), writer.node.inputs[2], [-1], inverse=2)
    return True


def embed_layer_norm(writer: Writer) -> bool:
    """Lookup of words, positions and segments, their sum, and LayerNormalization."""
    ids, segments, words, positions, kinds, scale, shift, mask, places = (
        writer.input(i) for i in range(9)
    )
    if (writer.is_used(1) and mask is None) or writer.opset < 13:
        return False
    x = writer.op("Gather", words, ids, axis=0)
    if places is not None:
        rows = writer.op("Gather", positions, places, axis=0)
    else:
        zero = writer.const([0])
        length = writer.op("Slice", writer.op("Shape", ids), writer.const([1]), writer.const([2]))
        rows = writer.op("Slice", positions, zero, length, zero)
    x = writer.op("Add", x, rows)
    if segments is not None:
        x = writer.op("Add", x, writer.op("Gather", kinds, segments, axis=0))
    _write_layer_norm(writer, x, scale, shift, [-1], epsilon=1e-12, statistics=False)
    writer.end(2, x)
    if writer.is_used(1):
        ones = writer.op("Cast", mask, to=_INT32)
        writer.end(1, writer.op("ReduceSum", ones, writer.const([1]), keepdims=0))
    return True


_INT32 = 6

RULES = {
    "EmbedLayerNormalization": embed_layer_norm,
    "LayerNormalization": layer_norm,
    "SimplifiedLayerNormalization": simplified_layer_norm,
    "SkipLayerNormalization": skip_layer_norm,
    "SkipSimplifiedLayerNormalization": skip_simplified_layer_norm,
}
