"""Which values inside two forms of one network can be compared, and copies that show them.

The outputs alone may hide a wrong cut: where they saturate, where they are indices, or where the
signal is lost on the way to them. So the results of the layers are compared as well, and what goes
into the operators at the end that hide differences.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model, clone_model
from acgraph.operators import Role, Trait, inputs_with, is_standard, operators_with

#: Operators with weights. Others carry errors on, but bring none of their own.
_LAYERS = frozenset(name for name, _ in inputs_with(Role.WEIGHT, Role.STATISTIC))
#: What may stand between a constant and the layer that it is a weight of.
_CARRIERS = operators_with(Trait.VIEW) | {"DequantizeLinear"}
#: Operators that hide differences: they saturate, round, choose, or mix values of any size.
_HIDING = operators_with(Trait.LOSSY)
#: Operators that hand values on as they are.
_MOVING = operators_with(Trait.MOVES)
#: Arithmetic that ends a network only where all but one of its operands are constant.
_ARITHMETIC = operators_with(Trait.ARITHMETIC)


@dataclass(frozen=True, slots=True)
class Inside:
    """Values that two forms of one network have in common.

    Attributes:
        layers: Results of layers, in the order of the graph.
        tails: By output that operators without weights may hide differences of: the values that
            these operators start from.
    """

    layers: tuple[str, ...] = ()
    tails: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def starts(self) -> tuple[str, ...]:
        """What the tails start from, each once."""
        return tuple(dict.fromkeys(name for names in self.tails.values() for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """All of the values, each once."""
        return tuple(dict.fromkeys([*self.starts, *self.layers]))

    def within(self, names: Collection[str]) -> "Inside":
        """Keep to some of the layers; the starts of tails stay."""
        return Inside(tuple(name for name in self.layers if name in names), self.tails)


def find_inside(compact: Model, masked: Model) -> Inside:
    """Find the values that both models compute at the same place."""
    makers = {t.name: node for node in compact.graph.nodes for t in node.outputs if t.name}
    inputs = {tensor.name for tensor in compact.graph.inputs}
    outputs = {tensor.name for tensor in masked.graph.outputs}
    layers = tuple(
        tensor.name
        for node in masked.graph.nodes
        if _is_layer(node)
        for tensor in node.outputs
        if tensor.name in makers
        and tensor.name not in outputs
        and _same_place(makers[tensor.name], node)
    )
    found = {tensor.name: _starts(tensor) for tensor in masked.graph.outputs}
    tails = {
        name: starts
        for name, starts in found.items()
        if makers.keys() | inputs >= set(starts) and not inputs >= set(starts)
    }
    return Inside(layers, tails)


def showing(model: Model, names: Collection[str]) -> Model:
    """Copy a model and make values inside it outputs, behind its own."""
    copy = clone_model(model)
    present = {tensor.name for tensor in [*copy.graph.inputs, *copy.graph.outputs]}
    tensors = copy.graph.tensors()
    copy.graph.outputs.extend(tensors[name] for name in names if name not in present)
    return copy


def tail_model(model: Model, output: str, starts: Mapping[str, Array]) -> Model:
    """Cut out the end of a model that computes one output from the values that it starts from."""
    copy = clone_model(model)
    tensors = copy.graph.tensors()
    own = {tensor.name: tensor for tensor in copy.graph.inputs}
    inputs = []
    for name, array in starts.items():
        tensor = own.get(name, tensors.get(name))
        tensor.inputs.clear()
        tensor.dtype, tensor.shape = array.dtype, list(array.shape)
        inputs.append(tensor)
    copy.graph.inputs = inputs
    copy.graph.outputs = [tensor for tensor in copy.graph.outputs if tensor.name == output]
    copy.graph.cleanup(remove_unused_graph_inputs=True)
    return copy


def layer_weights(model: Model) -> frozenset[str]:
    """Name the constants of numbers that layers multiply by."""
    return frozenset(
        found.name
        for node in model.graph.nodes
        if _is_layer(node)
        for tensor in node.inputs
        if (found := _constant_behind(tensor)) is not None
    )


def without_zeros(value: Array, reference: Array) -> tuple[Array, Array] | None:
    """Bring a cut value and its masked form to one shape; None where that cannot be done.

    What was removed is zero throughout in the masked form: on the axes where the sizes differ,
    slices that are zero are dropped from both.
    """
    if value.ndim != reference.ndim:
        return None
    for axis in range(value.ndim):
        if value.shape[axis] != reference.shape[axis]:
            value, reference = _drop_zeros(value, axis), _drop_zeros(reference, axis)
    return (value, reference) if value.shape == reference.shape else None


def _drop_zeros(array: Array, axis: int) -> Array:
    others = tuple(other for other in range(array.ndim) if other != axis)
    return np.compress((array != 0).any(axis=others), array, axis=axis)


def _is_layer(node: gs.Node) -> bool:
    is_own = is_standard(node.domain)
    if is_own and node.op not in _LAYERS:
        return False
    return any(_constant_behind(tensor) is not None for tensor in node.inputs)


def _constant_behind(tensor: gs.Tensor) -> gs.Tensor | None:
    """Follow a tensor back to the constant that it is made of alone, if it is."""
    while not isinstance(tensor, gs.Constant):
        if len(tensor.inputs) != 1:
            return None
        maker = tensor.inputs[0]
        if maker.op == "Constant":
            return tensor
        if maker.op not in _CARRIERS or not maker.inputs:
            return None
        tensor = maker.inputs[0]
    return tensor


def _same_place(ours: gs.Node, theirs: gs.Node) -> bool:
    """Return whether a node of the compact model stands for one of the masked model.

    Lowered layers become nodes called ``LAYER/STEP``; a layer takes the place of the
    BatchNormalization that was folded into it.
    """
    if ours.name == theirs.name or ours.name.startswith(f"{theirs.name}/"):
        return True
    source = theirs.inputs[0]
    is_folded = theirs.op == "BatchNormalization" and len(source.inputs) == 1
    return is_folded and _same_place(ours, source.inputs[0])


def _starts(output: gs.Tensor) -> tuple[str, ...]:
    """Follow an output back through operators without weights, to what these start from.

    Returns:
        The names of the values, empty where no operator in between hides anything.
    """
    hides = False
    starts: dict[str, None] = {}
    pending, seen = [output], {output.name}
    while pending:
        tensor = pending.pop()
        maker = tensor.inputs[0] if len(tensor.inputs) == 1 else None
        if maker is None or not _is_passed(maker):
            starts[tensor.name] = None
            continue
        hides |= maker.op in _HIDING
        fresh = [t for t in _variables(maker) if t.name not in seen]
        seen.update(tensor.name for tensor in fresh)
        pending.extend(fresh)
    return tuple(starts) if hides and output.name not in starts else ()


def _is_passed(node: gs.Node) -> bool:
    if not is_standard(node.domain):
        return False
    if any(isinstance(value, gs.Graph) for value in node.attrs.values()):
        return False
    if node.op in _ARITHMETIC:
        return len(list(_variables(node))) == 1
    return node.op in _HIDING or node.op in _MOVING


def _variables(node: gs.Node) -> Iterator[gs.Tensor]:
    for tensor in node.inputs:
        if tensor.name and _constant_behind(tensor) is None:
            yield tensor
