"""Find the intermediate tensors of two models that can be compared, and make them outputs.

The outputs alone may hide a wrong cut if they saturate, are indices, or hardly depend on the
affected part. Therefore the outputs of layers are compared as well, and the inputs of operators at
the end that hide differences.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model, clone_model
from acgraph.operators import Role, Trait, inputs_with, is_standard, operators_with

#: Operators with weights. Other operators only propagate errors.
_LAYERS = frozenset(name for name, _ in inputs_with(Role.WEIGHT, Role.STATISTIC))
#: Operators between a constant and the layer whose weight it is.
_CARRIERS = operators_with(Trait.VIEW) | {"DequantizeLinear"}
#: Operators that hide differences: they saturate, round, select, or mix values of any magnitude.
_HIDING = operators_with(Trait.LOSSY)
#: Operators that pass values on unchanged.
_MOVING = operators_with(Trait.MOVES)
#: Arithmetic operators, which belong to a tail if all but one of their operands are constant.
_ARITHMETIC = operators_with(Trait.ARITHMETIC)


@dataclass(frozen=True, slots=True)
class Inside:
    """The intermediate tensors that both models compute.

    Attributes:
        layers: Outputs of layers, in graph order.
        tails: For each output that ends in operators without weights which can hide differences
            (its tail): the inputs of these operators, by the name of the output.
    """

    layers: tuple[str, ...] = ()
    tails: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def starts(self) -> tuple[str, ...]:
        """The inputs of all tails, without duplicates."""
        return tuple(dict.fromkeys(name for names in self.tails.values() for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """All tensors, without duplicates."""
        return tuple(dict.fromkeys([*self.starts, *self.layers]))

    def within(self, names: Collection[str]) -> "Inside":
        """Keep only some of the layers; the tails are not changed."""
        return Inside(tuple(name for name in self.layers if name in names), self.tails)


def find_inside(compact: Model, masked: Model) -> Inside:
    """Find the intermediate tensors that the same node of both models computes."""
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


def with_outputs(model: Model, names: Collection[str]) -> Model:
    """Return a copy of a model with intermediate tensors as further outputs."""
    copy = clone_model(model)
    present = {tensor.name for tensor in [*copy.graph.inputs, *copy.graph.outputs]}
    tensors = copy.graph.tensors()
    copy.graph.outputs.extend(tensors[name] for name in names if name not in present)
    return copy


def tail_model(model: Model, output: str, starts: Mapping[str, Array]) -> Model:
    """Return the end of a model that computes one output.

    Args:
        model: The model.
        output: Name of the output.
        starts: The tensors that become inputs, by name, with a value of each.
    """
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
    """Return the names of the constants that are weights of layers."""
    return frozenset(
        found.name
        for node in model.graph.nodes
        if _is_layer(node)
        for tensor in node.inputs
        if (found := _constant_behind(tensor)) is not None
    )


def without_zeros(value: Array, reference: Array) -> tuple[Array, Array] | None:
    """Drop zero slices from a cut tensor and its masked form, so that their shapes are equal.

    Removed channels are zero in the masked form. On axes whose sizes differ, slices of zeros are
    dropped from both tensors.

    Returns:
        Both tensors; None if their shapes still differ.
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
    """Return the constant that a tensor is a view of; None if it depends on anything else."""
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
    """Whether a node of the compact model computes the output of a node of the masked model.

    The nodes of lowered layers are called ``LAYER/STEP``. A layer computes the output of the
    BatchNormalization that was folded into it.
    """
    if ours.name == theirs.name or ours.name.startswith(f"{theirs.name}/"):
        return True
    source = theirs.inputs[0]
    is_folded = theirs.op == "BatchNormalization" and len(source.inputs) == 1
    return is_folded and _same_place(ours, source.inputs[0])


def _starts(output: gs.Tensor) -> tuple[str, ...]:
    """Follow an output back through the operators of its tail.

    Returns:
        The names of the tail's inputs; empty if no operator of the tail hides differences.
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
