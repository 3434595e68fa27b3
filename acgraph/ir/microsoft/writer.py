"""Write nodes in the place of one, and find out what must be known for it."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from acgraph.ir.model import constant_node_value

_FLOATS = (np.float16, np.float32, np.float64)
#: Operators whose output has the rank of input 0.
_SAME_RANK = frozenset(
    [
        "BatchNormalization", "Cast", "Clip", "Conv", "ConvTranspose", "Dropout", "Erf", "FastGelu",
        "FusedConv", "Gelu", "Identity", "LayerNormalization", "LeakyRelu", "QuickGelu", "Relu",
        "Resize", "Sigmoid", "SkipLayerNormalization", "Slice", "Softmax", "Split", "Sqrt", "Tanh",
    ]
)  # fmt: skip
#: Operators whose output has the largest of the inputs' ranks.
_BROADCAST = frozenset(
    ["Add", "Div", "FusedMatMul", "MatMul", "Max", "Min", "Mul", "Pow", "Sub", "Where", "Concat"]
)
_HOPS = 40


class Writer:
    """The nodes that one node stands for.

    Args:
        node: The node that is replaced.
        opset: The version of the default operator set.
        taken: The names of nodes and tensors in use; new ones are added.
        returned: The names of the graph's outputs.
    """

    def __init__(
        self, node: gs.Node, opset: int, taken: set[str], returned: Collection[str] = ()
    ) -> None:
        self.node = node
        self.opset = opset
        self.attrs = dict(node.attrs)
        self._taken = taken
        self._returned = returned
        self._nodes: list[gs.Node] = []
        self._ends: dict[int, gs.Tensor] = {}

    def given(self, i: int) -> gs.Tensor | None:
        """Return input ``i``, None where it is left out."""
        found = i < len(self.node.inputs) and bool(self.node.inputs[i].name)
        return self.node.inputs[i] if found else None

    def is_used(self, j: int) -> bool:
        """Say whether output ``j`` is asked for."""
        tensor = self.node.outputs[j] if j < len(self.node.outputs) else None
        return tensor is not None and bool(tensor.outputs or tensor.name in self._returned)

    def op(
        self, op: str, *inputs: gs.Tensor | None, outputs: int = 1, main: bool = False, **attrs: Any
    ) -> Any:
        """Write a node; return its output, or a list of them.

        Args:
            op: A standard operator.
            *inputs: Its inputs, None for those left out.
            outputs: How many outputs it has.
            main: The node takes the name of the one that is replaced.
            **attrs: Its attributes.
        """
        read = list(inputs)
        while read and read[-1] is None:
            read.pop()
        name = self.node.name if main else self._fresh(f"{self.node.name}/{op}")
        made = [gs.Variable(self._fresh(f"{name}:out{j}")) for j in range(outputs)]
        self._nodes.append(
            gs.Node(
                op,
                name=name,
                attrs=attrs,
                inputs=[gs.Variable.empty() if t is None else t for t in read],
                outputs=made,
            )
        )
        return made[0] if outputs == 1 else made

    def const(self, value: Any, dtype: Any = np.int64) -> gs.Constant:
        """Make a constant."""
        return gs.Constant(self._fresh(f"{self.node.name}/const"), np.asarray(value, dtype))

    def number(self, value: float, like: gs.Tensor) -> gs.Constant:
        """Make a scalar of the float type of a tensor."""
        return self.const(value, dtype_of(like))

    def end(self, j: int, tensor: gs.Tensor) -> None:
        """Say which tensor is output ``j``."""
        if self.is_used(j):
            self._ends[j] = tensor

    def close(self) -> list[gs.Node]:
        """Put the new nodes in the place of the old one."""
        outputs = list(self.node.outputs)
        self.node.inputs.clear()
        self.node.outputs.clear()
        for j, tensor in self._ends.items():
            producer = tensor.inputs[0]
            place = next(k for k, made in enumerate(producer.outputs) if made is tensor)
            producer.outputs[place] = outputs[j]
            for node in self._nodes:
                for i, read in enumerate(node.inputs):
                    if read is tensor:
                        node.inputs[i] = outputs[j]
        return self._nodes

    def _fresh(self, stem: str) -> str:
        name, number = stem, 2
        while name in self._taken:
            name, number = f"{stem}_{number}", number + 1
        self._taken.add(name)
        return name


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
    if node.op in _BROADCAST:
        return _largest([rank_of(read, hops - 1) for read in node.inputs])
    return None


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
