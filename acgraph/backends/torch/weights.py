"""Which constants of a graph are weights: what training may change, and what it may not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model


class Role(StrEnum):
    """What training does with a constant: descend on it, or average activations into it."""

    WEIGHT = "weight"
    STATISTIC = "statistic"


#: Inputs that are weights wherever a constant reaches them.
_SLOTS: dict[str, frozenset[int]] = {
    "BatchNormalization": frozenset([1, 2]),
    "Conv": frozenset([1, 2]),
    "ConvTranspose": frozenset([1, 2]),
    "GRU": frozenset([1, 2, 3]),
    "Gemm": frozenset([1, 2]),
    "GroupNormalization": frozenset([1, 2]),
    "InstanceNormalization": frozenset([1, 2]),
    "LSTM": frozenset([1, 2, 3, 7]),
    "LayerNormalization": frozenset([1, 2]),
    "MatMul": frozenset([1]),
    "PRelu": frozenset([1]),
    "RMSNormalization": frozenset([1]),
    "RNN": frozenset([1, 2, 3]),
}
#: Where a constant that meets data is a weight unless it is a scalar, a mask or zero padding.
_MEETS_DATA = frozenset(
    ["Add", "Concat", "Div", "Einsum", "Gather", "Gemm", "MatMul", "Mul", "Sub", "Sum"]
)
#: Applied to an input of the graph itself, these normalise it by its own mean and deviation.
_AFFINE = frozenset(["Add", "Div", "Mul", "Sub"])
#: What carries a constant on towards a layer (weight standardisation, position embeddings).
_CARRIERS = frozenset(
    [
        "Add",
        "BatchNormalization",
        "Cast",
        "Concat",
        "Div",
        "Einsum",
        "Exp",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MatMul",
        "Mul",
        "Pad",
        "ReduceL2",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ]
)
#: Inputs of carriers that hold sizes, scales or indices, never weights.
_FIRST_ONLY = frozenset(
    [
        "BatchNormalization",
        "Cast",
        "Exp",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Pad",
        "ReduceL2",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
    ]
)
#: An additive constant of zeros and of numbers below this is an attention mask.
_MASK_BELOW = -100.0


@dataclass(slots=True)
class _Walk:
    constants: Mapping[str, Array]
    consumers: dict[str, list[tuple[gs.Node, int]]] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    inputs: set[str] = field(default_factory=set)

    def roles_of(self, name: str) -> set[Role]:
        value = self.constants[name]
        roles: set[Role] = set()
        seen = {name}
        stack = [name]
        while stack:
            for node, index in self.consumers.get(stack.pop(), []):
                role = self._role(node, index, value)
                if role is not None:
                    roles.add(role)
                elif self._carries(node, index):
                    onward = [t.name for t in node.outputs if t.name and t.name not in seen]
                    seen.update(onward)
                    stack.extend(onward)
        return roles

    def _role(self, node: gs.Node, index: int, value: Array) -> Role | None:
        if node.op == "BatchNormalization" and index in (3, 4):
            return None if node.attrs.get("training_mode") else Role.STATISTIC
        if index in _SLOTS.get(node.op, ()):
            return Role.WEIGHT
        if node.op not in _MEETS_DATA or node.outputs[0].name not in self.data:
            return None
        is_weight = not (
            value.size == 1
            or _is_mask(value)
            or (node.op == "Concat" and not value.any())
            or (node.op in _AFFINE and any(t.name in self.inputs for t in node.inputs))
        )
        return Role.WEIGHT if is_weight else None

    def _carries(self, node: gs.Node, index: int) -> bool:
        if node.op not in _CARRIERS or node.outputs[0].name in self.data:
            return False
        return index == 0 or node.op not in _FIRST_ONLY


def _is_mask(value: Array) -> bool:
    low = value[value != 0]
    return bool(low.size) and bool((low <= _MASK_BELOW).all())


def find_weights(model: Model) -> dict[str, Role]:
    """Find the constants that training changes, in the order of their first use.

    Float constants that reach a weight input of a layer or a normalisation, or that scale or shift
    or join the data element by element. Not weights: scalars outside of layers (a Clip bound, a Pow
    exponent, the 0.5 of a GELU), attention masks, zero padding, scales of Resize, the mean and
    standard deviation by which the input itself is normalised, and what only reaches the data
    through operators that no weight goes through (Where, ScatterND, Sin).
    """
    walk = _Walk(model.constants(), inputs={t.name for t in model.graph.inputs})
    walk.data |= walk.inputs
    for node in model.graph.nodes:
        if node.op in ("Shape", "Size"):
            continue
        for index, tensor in enumerate(node.inputs):
            walk.consumers.setdefault(tensor.name, []).append((node, index))
        if any(t.name in walk.data for t in node.inputs):
            walk.data.update(t.name for t in node.outputs)
    roles: dict[str, Role] = {}
    for name, value in walk.constants.items():
        if not np.issubdtype(value.dtype, np.floating):
            continue
        found = walk.roles_of(name)
        if found:
            roles[name] = Role.WEIGHT if Role.WEIGHT in found else Role.STATISTIC
    return roles
