"""Find the constants of a graph that training changes: weights and running statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model
from acgraph.operators import Role, Trait, find_operator

_WEIGHTS = frozenset([Role.WEIGHT, Role.BIAS, Role.SCALE])
#: Roles of inputs whose values reach the output; other inputs are sizes, scales or indices.
_CARRYING = frozenset([Role.DATA, Role.FACTOR, Role.TABLE])
#: A constant that contains only zeros and values below this is an additive attention mask.
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
        operator = find_operator(node.op, node.domain)
        if operator is None:
            return None
        role = operator.input(index).role
        if role is Role.STATISTIC:
            return None if node.attrs.get("training_mode") else Role.STATISTIC
        if role in _WEIGHTS:
            return Role.WEIGHT
        if Trait.LEARNT not in operator.traits or node.outputs[0].name not in self.data:
            return None
        is_weight = not (
            value.size == 1
            or _is_mask(value)
            or (node.op == "Concat" and not value.any())
            # On an input of the graph, these are the mean and deviation of its normalisation.
            or (Trait.AFFINE in operator.traits and any(t.name in self.inputs for t in node.inputs))
        )
        return Role.WEIGHT if is_weight else None

    def _carries(self, node: gs.Node, index: int) -> bool:
        operator = find_operator(node.op, node.domain)
        if operator is None or node.outputs[0].name in self.data:
            return False
        return Trait.CARRIES in operator.traits and operator.input(index).role in _CARRYING


def _is_mask(value: Array) -> bool:
    low = value[value != 0]
    return bool(low.size) and bool((low <= _MASK_BELOW).all())


def find_weights(model: Model) -> dict[str, Role]:
    """Find the constants that training changes, in the order of their first use.

    They are float constants that reach a weight input of a layer or normalisation, or that scale,
    shift or join the data elementwise. These are not weights: scalars outside of layers (a bound of
    Clip, an exponent of Pow, the 0.5 of a GELU), attention masks, zero padding, scales of Resize,
    the mean and standard deviation that normalise an input of the graph, and constants that reach
    the data only through operators such as Where, ScatterND or Sin.

    Returns:
        The role of each constant, by name: the optimizer updates a `Role.WEIGHT`, and
        BatchNormalization updates a `Role.STATISTIC`.
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
