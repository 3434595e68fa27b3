"""Give every use of a merged constant its own copy.

Exporters store equal tensors once. Where all biases are zero, all scales of BatchNormalization one,
or all initial states of recurrent layers zero, the layers read the same initializer, directly or
through Identity. Such constants are not shared by design, and training or cutting one layer must
not affect the others::

    Conv(x, w1, zeros), Conv(y, w2, zeros)  ->  Conv(x, w1, zeros), Conv(y, w2, zeros/conv2)

This holds for every input of every operator. These constants stay tied: those of two or more axes
with different values (an embedding used twice, a head run on several levels), weights of layers
unless all values are equal, biases of layers that also share their weight, and integer vectors,
which contain sizes and axes.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, Model, constant_node_value
from acgraph.ir.names import fresh
from acgraph.operators import Role, find_operator, is_standard
from acgraph.passes.untie_fills import untie_fills
from acgraph.passmanager.base import Pass, PassContext, PassResult

#: Roles of inputs that hold the weight of a layer: nodes that share it run the same layer.
_WEIGHTS = frozenset([Role.WEIGHT, Role.FACTOR, Role.TABLE])
#: Roles of inputs that training changes even where they have a single element.
_TRAINED = frozenset([Role.SCALE, Role.STATISTIC])


@dataclass(frozen=True, slots=True)
class _Use:
    node: gs.Node
    index: int


def untie_constants(model: Model, names: Collection[str] | None = None) -> dict[str, str]:
    """Untie merged constants in place.

    Without ``names``, also unties tensors that the graph fills with one value; see `untie_fills`.
    The first use keeps the original. The new names depend on the graph only, so a call on a clone
    makes the same ones.

    Args:
        model: The model to change.
        names: Names of the new constants to create; None for all.

    Returns:
        The name of the original by the name of each new constant.
    """
    taken = set(model.graph.tensors())
    made: dict[str, str] = {}
    for tensor, uses in _merged(model):
        groups = _group_uses(tensor, uses)
        for group in groups[1:]:
            copy_name = fresh(f"{tensor.name}/{group[0].node.name}", taken)
            if names is not None and copy_name not in names:
                continue
            copy = gs.Constant(copy_name, _values(tensor))
            for use in group:
                use.node.inputs[use.index] = copy
            made[copy_name] = tensor.name
    return made if names is not None else {**made, **untie_fills(model)}


def _merged(model: Model) -> Iterator[tuple[gs.Tensor, list[_Use]]]:
    """Yield the constants with several uses that may be untied, in graph order."""
    uses: dict[str, list[_Use]] = {}
    tensors: dict[str, gs.Tensor] = {}
    for node in model.graph.nodes:
        for index, tensor in enumerate(node.inputs):
            if _may_be_merged(tensor):
                tensors[tensor.name] = tensor
                uses.setdefault(tensor.name, []).append(_Use(node, index))
    outputs = {tensor.name for tensor in model.graph.outputs}
    for name, found in uses.items():
        if len(found) > 1 and name not in outputs:
            yield tensors[name], found


def _may_be_merged(tensor: gs.Tensor) -> bool:
    """Return whether a tensor is a constant and not an integer vector of sizes or axes."""
    if isinstance(tensor, gs.Constant):
        # Types that numpy lacks, such as bfloat16, are given as ONNX type numbers.
        kind = "V" if isinstance(tensor.dtype, int) else np.dtype(tensor.dtype).kind
        rank = len(tensor.shape)
    else:
        value = _values(tensor) if len(tensor.inputs) == 1 else None
        if value is None:
            return False
        kind, rank = value.dtype.kind, value.ndim
    return kind not in "OSU" and (kind not in "iu" or rank > 1)


def _values(tensor: gs.Tensor) -> Array | None:
    if isinstance(tensor, gs.Constant):
        return np.asarray(tensor.values)
    node = tensor.inputs[0]
    return constant_node_value(node) if node.op == "Constant" and not node.domain else None


def _group_uses(tensor: gs.Tensor, uses: list[_Use]) -> list[list[_Use]]:
    """Group the uses that share the constant by design; the first group keeps the original."""
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
    """Return the key of the group of a use; None where it keeps the original."""
    node, index = use.node, use.index
    own = ("node", f"{node.name}:{index}")
    if not is_standard(node.domain):
        return own if _is_vector(tensor) or _is_uniform(tensor) else None
    if node.op == "Identity":
        return ("alias", node.name) if _is_vector(tensor) or _is_uniform(tensor) else None
    operator = find_operator(node.op, node.domain)
    role = Role.DATA if operator is None else operator.input(index).role
    if role is Role.BIAS:
        return ("layer", node.inputs[1].name)
    if role in _TRAINED:
        return own
    is_weight = role in _WEIGHTS
    if _is_uniform(tensor) or (_is_vector(tensor) and not is_weight):
        return own
    return None


def _shape(tensor: gs.Tensor) -> tuple[int, ...]:
    if isinstance(tensor, gs.Constant):
        return tuple(tensor.shape)
    value = _values(tensor)
    return () if value is None else value.shape


def _is_vector(tensor: gs.Tensor) -> bool:
    return sum(size > 1 for size in _shape(tensor)) == 1


def _is_uniform(tensor: gs.Tensor) -> bool:
    """Return whether a constant has several elements, all equal."""
    value = _values(tensor) if max(_shape(tensor), default=1) > 1 else None
    return value is not None and bool((value == value.reshape(-1)[0]).all())


@dataclass(frozen=True)
class UntieConstants(Pass):
    """Give every use of a merged constant its own copy."""

    name: ClassVar[str] = "untie-constants"

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Untie all constants that are not shared by design."""
        made = untie_constants(model)
        remarks = tuple(
            Diagnostic(
                message=f"not untied: {len(uses)} nodes share it by design",
                location=model.location(uses[0].node, value=tensor.name),
            )
            for tensor, uses in _merged(model)
            if _is_matrix(tensor)
        )
        return PassResult(
            modified=bool(made), statistics={"copies made": len(made)}, remarks=remarks
        )


def _is_matrix(tensor: gs.Tensor) -> bool:
    return sum(size > 1 for size in _shape(tensor)) > 1
