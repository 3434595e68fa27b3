"""Give every use of a merged constant its own copy.

Exporters store equal tensors once: at export all biases may be zero, all BatchNorm scales one, and
two layers then name the same initializer, directly or through Identity. Equal at export is not
shared by design, and training (or cutting) one of them must not touch the other::

    Conv(x, w1, zeros), Conv(y, w2, zeros)  ->  Conv(x, w1, zeros), Conv(y, w2, zeros/conv2)

What stays tied: constants of two or more axes that several nodes read directly (an embedding used
twice, a head run on several levels), and the bias of layers that also share their weight.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.diagnostics import Diagnostic
from acgraph.ir import Model, constant_node_value
from acgraph.passmanager.base import Pass, PassContext, PassResult

_LAYER_BIAS = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "LSTM": 3, "GRU": 3, "RNN": 3}
_VECTORS = {
    "BatchNormalization": (1, 2, 3, 4),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "PRelu": (1,),
}
_ELEMENTWISE = frozenset(["Add", "Sub", "Mul", "Div"])


@dataclass(frozen=True, slots=True)
class _Use:
    node: gs.Node
    index: int


def untie_constants(model: Model, names: Collection[str] | None = None) -> dict[str, str]:
    """Untie merged constants in place; return the name of every new constant with its origin's.

    The first use keeps the original. The names depend on the graph only, so that a second call on
    a clone makes the same ones.

    Args:
        model: The model to change.
        names: The new constants to make; None for all.
    """
    taken = set(model.graph.tensors())
    made: dict[str, str] = {}
    for tensor, uses in _merged(model):
        groups = _group_uses(tensor, uses)
        for group in groups[1:]:
            fresh = _fresh_name(f"{tensor.name}/{group[0].node.name}", taken)
            taken.add(fresh)
            if names is not None and fresh not in names:
                continue
            copy = gs.Constant(fresh, _values(tensor))
            for use in group:
                use.node.inputs[use.index] = copy
            made[fresh] = tensor.name
    return made


def _merged(model: Model) -> Iterator[tuple[gs.Tensor, list[_Use]]]:
    """Yield the float constants with several uses, in graph order."""
    uses: dict[str, list[_Use]] = {}
    tensors: dict[str, gs.Tensor] = {}
    for node in model.graph.nodes:
        for index, tensor in enumerate(node.inputs):
            if _is_float_constant(tensor):
                tensors[tensor.name] = tensor
                uses.setdefault(tensor.name, []).append(_Use(node, index))
    outputs = {tensor.name for tensor in model.graph.outputs}
    for name, found in uses.items():
        if len(found) > 1 and name not in outputs:
            yield tensors[name], found


def _is_float_constant(tensor: gs.Tensor) -> bool:
    if isinstance(tensor, gs.Constant):
        return not isinstance(tensor.dtype, int) and np.issubdtype(tensor.dtype, np.floating)
    if len(tensor.inputs) != 1 or tensor.inputs[0].op != "Constant":
        return False
    value = constant_node_value(tensor.inputs[0])
    return value is not None and np.issubdtype(value.dtype, np.floating)


def _values(tensor: gs.Tensor) -> "np.typing.NDArray[np.generic] | None":
    if isinstance(tensor, gs.Constant):
        return np.asarray(tensor.values)
    return constant_node_value(tensor.inputs[0])


def _group_uses(tensor: gs.Tensor, uses: list[_Use]) -> list[list[_Use]]:
    """Part the uses into those that share by design; the group that keeps the original first."""
    rest: list[_Use] = []
    groups: dict[tuple[str, str], list[_Use]] = {}
    for use in uses:
        key = _key(tensor, use)
        if key is None:
            rest.append(use)
        else:
            groups.setdefault(key, []).append(use)
    return [rest, *groups.values()] if rest else list(groups.values())


def _key(tensor: gs.Tensor, use: _Use) -> tuple[str, str] | None:
    """Name the group of a use; None for those that stay with the original."""
    node, index = use.node, use.index
    if node.domain not in (None, "", "ai.onnx"):
        return None
    if node.op == "Identity":
        return ("alias", node.name)
    if _LAYER_BIAS.get(node.op) == index:
        return ("layer", node.inputs[1].name)
    if index in _VECTORS.get(node.op, ()):
        return ("node", f"{node.name}:{index}")
    if node.op in _ELEMENTWISE and _is_vector(tensor):
        return ("node", f"{node.name}:{index}")
    return None


def _is_vector(tensor: gs.Tensor) -> bool:
    values = tensor if isinstance(tensor, gs.Constant) else _values(tensor)
    return values is not None and sum(size > 1 for size in values.shape) == 1


def _fresh_name(stem: str, taken: set[str]) -> str:
    name, number = stem, 2
    while name in taken:
        name = f"{stem}_{number}"
        number += 1
    return name


@dataclass(frozen=True)
class UntieConstants(Pass):
    """Give every use of a merged constant its own copy."""

    name: ClassVar[str] = "untie-constants"

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Untie all but what shares by design."""
        made = untie_constants(model)
        remarks = tuple(
            Diagnostic(
                message=f"stays tied: {len(uses)} nodes share it by design",
                location=model.location(uses[0].node, value=tensor.name),
            )
            for tensor, uses in _merged(model)
            if _is_matrix(tensor)
        )
        return PassResult(
            modified=bool(made), statistics={"copies made": len(made)}, remarks=remarks
        )


def _is_matrix(tensor: gs.Tensor) -> bool:
    values = tensor if isinstance(tensor, gs.Constant) else _values(tensor)
    return values is not None and sum(size > 1 for size in values.shape) > 1
