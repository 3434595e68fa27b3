"""What is known of a tensor before any shape was inferred: float type and rank."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from acgraph.ir.model import constant_node_value

_FLOATS = (np.float16, np.float32, np.float64)
#: Operators whose output has the rank of input 0.
_SAME_RANK = frozenset(
    [
        "Abs", "AveragePool", "BatchNormalization", "BiasGelu", "Cast", "Clip", "Conv",
        "ConvTranspose", "Dropout", "Elu", "Erf", "Exp", "FastGelu", "FusedConv", "Gelu",
        "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity",
        "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax",
        "LpNormalization", "MaxPool", "Neg", "Not", "Pad", "PRelu", "QuickGelu", "Reciprocal",
        "Relu", "Resize", "Sigmoid", "SimplifiedLayerNormalization", "SkipLayerNormalization",
        "Slice", "Softmax", "Softplus", "Split", "Sqrt", "Tanh", "Tile", "Transpose",
    ]
)  # fmt: skip
#: Operators whose output has the largest of the inputs' ranks.
_BROADCAST = frozenset(
    [
        "Add",
        "And",
        "Div",
        "Equal",
        "FusedMatMul",
        "Greater",
        "Less",
        "Or",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Pow",
        "Sub",
        "Where",
        "Concat",
    ]
)
_HOPS = 40


def dtype_of(tensor: gs.Tensor, hops: int = _HOPS) -> Any:
    """Find the float type of a tensor: as declared, or that of what it is computed from."""
    found = _dtype(tensor, hops)
    return np.float32 if found is None else found


def _dtype(tensor: gs.Tensor, hops: int) -> Any:
    if tensor.dtype is not None and not isinstance(tensor.dtype, int):
        return tensor.dtype if np.dtype(tensor.dtype).type in _FLOATS else None
    if not tensor.inputs or not hops:
        return None
    node = tensor.inputs[0]
    if node.op == "Cast":
        to = node.attrs["to"]
        kind = onnx.helper.tensor_dtype_to_np_dtype(to) if isinstance(to, int) else np.dtype(to)
        return kind.type if kind.type in _FLOATS else None
    kinds = (_dtype(read, hops - 1) for read in node.inputs if read.name)
    return next((kind for kind in kinds if kind is not None), None)


def rank_of(tensor: gs.Tensor, hops: int = _HOPS) -> int | None:
    """Find the rank of a tensor: as declared, or from the operators that make it."""
    if tensor.shape is not None:
        return len(tensor.shape)
    if not tensor.inputs or not hops:
        return None
    node = tensor.inputs[0]
    if node.op == "Constant":
        value = constant_node_value(node)
        return None if value is None else value.ndim
    if node.op == "Transpose" and "perm" in node.attrs:
        return len(node.attrs["perm"])
    if node.op == "Reshape":
        return _length_of(node.inputs[1], hops - 1)
    if node.op == "Gemm":
        return 2
    if node.op in _SAME_RANK:
        return rank_of(node.inputs[0], hops - 1)
    if node.op in ("Squeeze", "Unsqueeze", "Gather") or node.op.startswith("Reduce"):
        return _changed(node, hops - 1)
    if node.op in _BROADCAST:
        return _largest([rank_of(read, hops - 1) for read in node.inputs])
    return None


def _changed(node: gs.Node, hops: int) -> int | None:
    """Find the rank behind a node that drops or adds axes."""
    rank = rank_of(node.inputs[0], hops)
    if rank is None or (node.op.startswith("Reduce") and node.attrs.get("keepdims", 1)):
        return rank
    if node.op == "Gather":
        picked = rank_of(node.inputs[1], hops)
        return None if picked is None else rank - 1 + picked
    axes = node.attrs.get("axes")
    given = len(node.inputs) > 1 and node.inputs[1].name
    count = _length_of(node.inputs[1], hops) if axes is None and given else len(axes or ())
    if not count:
        return None
    return rank + count if node.op == "Unsqueeze" else rank - count


def _largest(ranks: Sequence[int | None]) -> int | None:
    known = [rank for rank in ranks if rank is not None]
    return max(known) if len(known) == len(ranks) else None


def _length_of(vector: gs.Tensor, hops: int) -> int | None:
    """Find how many elements a vector has."""
    if vector.shape is not None and len(vector.shape) == 1:
        return vector.shape[0] if isinstance(vector.shape[0], int) else None
    if not vector.inputs or not hops:
        return None
    node = vector.inputs[0]
    if node.op == "Constant":
        value = constant_node_value(node)
        return None if value is None else int(value.size)
    if node.op != "Concat":
        return None
    parts = [1 if t.inputs and t.inputs[0].op == "Unsqueeze" else _length_of(t, hops - 1)
             for t in node.inputs]  # fmt: skip
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
