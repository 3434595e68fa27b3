"""Float types and ranks of tensors, before shape inference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from acgraph.ir.model import constant_node_value
from acgraph.operators import OPERATORS, Trait, operators_with

_FLOATS = (np.float16, np.float32, np.float64)
#: Operators whose output has the rank of input 0, those of ONNX Runtime's own domain included.
_SAME_RANK = operators_with(Trait.SAME_SHAPE, Trait.SPATIAL) | {
    "BatchNormalization", "BiasGelu", "FastGelu", "FusedConv", "InstanceNormalization",
    "LayerNormalization", "Pad", "QuickGelu", "Resize", "SimplifiedLayerNormalization",
    "SkipLayerNormalization", "Slice", "Split", "Tile", "Transpose",
}  # fmt: skip
#: Operators whose output has the largest of the inputs' ranks.
_BROADCAST = {name for name, each in OPERATORS.items() if each.batch == "elementwise"} | {
    "FusedMatMul", "MatMul", "Concat",
}  # fmt: skip
_HOPS = 100


def dtype_of(tensor: gs.Tensor) -> Any:
    """Return the float type of a tensor: declared, or derived from its producers; else float32."""
    found = _dtype(tensor, _HOPS, {})
    return np.float32 if found is None else found


def _dtype(tensor: gs.Tensor, hops: int, seen: dict[str, Any]) -> Any:
    if tensor.dtype is not None and not isinstance(tensor.dtype, int):
        return tensor.dtype if np.dtype(tensor.dtype).type in _FLOATS else None
    if not tensor.inputs or not hops or tensor.name in seen:
        return seen.get(tensor.name)
    seen[tensor.name] = None
    node = tensor.inputs[0]
    if node.op == "Cast":
        to = node.attrs["to"]
        kind = onnx.helper.tensor_dtype_to_np_dtype(to) if isinstance(to, int) else np.dtype(to)
        return kind.type if kind.type in _FLOATS else None
    kinds = (_dtype(read, hops - 1, seen) for read in node.inputs if read.name)
    seen[tensor.name] = next((kind for kind in kinds if kind is not None), None)
    return seen[tensor.name]


def rank_of(tensor: gs.Tensor) -> int | None:
    """Return the rank of a tensor: declared, or derived from its producers; else None."""
    return _Ranks().find(tensor, _HOPS)


class _Ranks:
    """One search for ranks, which visits every tensor once."""

    def __init__(self) -> None:
        self._seen: dict[str, int | None] = {}

    def find(self, tensor: gs.Tensor, hops: int) -> int | None:
        if tensor.shape is not None:
            return len(tensor.shape)
        if not tensor.inputs or not hops or tensor.name in self._seen:
            return self._seen.get(tensor.name)
        self._seen[tensor.name] = None
        self._seen[tensor.name] = self._made_by(tensor.inputs[0], hops - 1)
        return self._seen[tensor.name]

    def _made_by(self, node: gs.Node, hops: int) -> int | None:
        if node.op == "Constant":
            value = constant_node_value(node)
            return None if value is None else value.ndim
        if node.op == "Transpose" and "perm" in node.attrs:
            return len(node.attrs["perm"])
        if node.op == "Gemm":
            return 2
        if node.op in _SAME_RANK:
            return self.find(node.inputs[0], hops)
        if node.op in _BROADCAST:
            return _largest([self.find(read, hops) for read in node.inputs])
        return self._changed_by(node, hops)

    def _changed_by(self, node: gs.Node, hops: int) -> int | None:
        """Return the rank of the output of a node that sets the rank, or removes or adds axes."""
        if node.op == "Reshape":
            return self._length(node.inputs[1], hops)
        rank = self.find(node.inputs[0], hops)
        if rank is None:
            return None
        if node.op == "Expand":
            return _largest([rank, self._length(node.inputs[1], hops)])
        if node.op == "Gather":
            picked = self.find(node.inputs[1], hops)
            return None if picked is None else rank - 1 + picked
        if node.op.startswith("Reduce") and node.attrs.get("keepdims", 1):
            return rank
        if node.op not in ("Squeeze", "Unsqueeze") and not node.op.startswith("Reduce"):
            return None
        count = self._axes(node, hops)
        if not count:
            return None
        return rank + count if node.op == "Unsqueeze" else rank - count

    def _axes(self, node: gs.Node, hops: int) -> int | None:
        if "axes" in node.attrs:
            return len(node.attrs["axes"])
        given = len(node.inputs) > 1 and bool(node.inputs[1].name)
        return self._length(node.inputs[1], hops) if given else None

    def _length(self, vector: gs.Tensor, hops: int) -> int | None:
        """Return the number of elements of a vector; None where it is unknown."""
        if vector.shape is not None and len(vector.shape) == 1:
            return vector.shape[0] if isinstance(vector.shape[0], int) else None
        if not vector.inputs or not hops:
            return None
        node = vector.inputs[0]
        if node.op == "Constant":
            value = constant_node_value(node)
            return None if value is None else int(value.size)
        if node.op == "Shape" and not {"start", "end"} & set(node.attrs):
            return self.find(node.inputs[0], hops - 1)
        if node.op == "Unsqueeze":
            return 1  # the result is a vector, so the input is a scalar
        if node.op != "Concat":
            return None
        parts = [self._length(part, hops - 1) for part in node.inputs]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def _largest(ranks: Sequence[int | None]) -> int | None:
    known = [rank for rank in ranks if rank is not None]
    return max(known) if len(known) == len(ranks) else None
