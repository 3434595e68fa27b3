"""Properties of graph outputs, from which their tasks are inferred."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Facts, Model
from acgraph.ir.constants import resolved_constant
from acgraph.operators import Role, Trait, inputs_with, operators_with
from acgraph.tasks import ModelFacts, OutputFacts
from acgraph.tasks.facts import Sizes
from acgraph.tasks.kinds import Form

#: Operators whose output consists of elements of their input.
_PASSED = operators_with(Trait.VIEW) | {"Dropout", "Slice", "Split", "Gather"}
#: Elementwise operators, which keep the channel axis.
_ELEMENTWISE = operators_with(Trait.AFFINE, Trait.SAME_SHAPE)
_LAYERS = frozenset(op for op, _ in inputs_with(Role.WEIGHT, Role.FACTOR))
_NORMALISED = frozenset(["BatchNormalization", "LayerNormalization"])
_FORMS: Mapping[str, Form] = {
    "Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid",
    "HardSigmoid": "sigmoid",
}  # fmt: skip
#: Largest number of nodes from the last layer to an output.
_MAX_STEPS = 24
#: From this opset on, the default axis of Softmax is the last one.
_LAST_BY_DEFAULT = 13
#: Rank of the states of recurrent layers: ``[layers, N, width]``.
_RANK_OF_STATES = 3


def output_facts(model: Model, facts: Facts) -> ModelFacts:
    """Return the properties of the outputs of a network.

    Args:
        model: The network.
        facts: Facts of the network.
    """
    inputs = {t.name: _sizes(facts.shapes.get(t.name, t.shape)) or () for t in model.graph.inputs}
    integers = frozenset(t.name for t in model.graph.inputs if _kind(t) not in "f")
    outputs = [_read(model, tensor, facts, inputs) for tensor in model.graph.outputs]
    return ModelFacts(outputs=outputs, inputs=inputs, integers=integers)


def _kind(tensor: gs.Tensor) -> str:
    return "f" if tensor.dtype is None else np.dtype(tensor.dtype).kind


def _sizes(shape: object) -> Sizes | None:
    if shape is None or not isinstance(shape, list | tuple):
        return None
    return tuple(size if isinstance(size, int) and size > 0 else None for size in shape)


def _read(
    model: Model, tensor: gs.Tensor, facts: Facts, inputs: Mapping[str, Sizes]
) -> OutputFacts:
    shape = _sizes(facts.shapes.get(tensor.name, tensor.shape))
    end = _passed_on(tensor)
    form, soft_axis = _form(end, facts, model.graph.opset)
    layer = _last_layer(end)
    axis = None if layer is None else _made_axis(tensor, layer, facts, shape)
    return OutputFacts(
        name=tensor.name,
        shape=shape,
        is_float=_kind(tensor) == "f",
        form=form,
        form_axis=_same_axis(end, tensor, soft_axis, facts, shape),
        is_unit=_is_unit(end),
        last="" if layer is None else str(layer.op),
        channel_axis=axis,
        is_pooled=layer is not None and _is_pooled(layer, facts),
        state_of=_state_of(tensor, shape, inputs),
        joined=tuple(_joined(end, facts)),
    )


def _passed_on(tensor: gs.Tensor) -> gs.Tensor:
    """Return the tensor whose elements an output passes on."""
    for _ in range(_MAX_STEPS):
        if not tensor.inputs or tensor.inputs[0].op not in _PASSED:
            return tensor
        tensor = tensor.inputs[0].inputs[0]
    return tensor


def _maker(tensor: gs.Tensor) -> gs.Node | None:
    return tensor.inputs[0] if tensor.inputs else None


def _form(end: gs.Tensor, facts: Facts, opset: int) -> tuple[Form, int | None]:
    """Return the kind of the values (logits or probabilities), and the axis of a softmax."""
    node = _maker(end)
    if node is None:
        return "logits", None
    rank = len(facts.shapes.get(end.name, ()))
    if node.op in _FORMS:
        form = _FORMS[node.op]
        default = -1 if opset >= _LAST_BY_DEFAULT else 1
        axis = int(node.attrs.get("axis", default))
        return form, (axis % rank if rank and form != "sigmoid" else None)
    # Some exporters decompose a softmax into exp(x) / sum(exp(x)).
    above = _maker(node.inputs[0])
    if node.op == "Div" and above is not None and above.op == "Exp":
        below = _divisor(node, ("ReduceSum",))
        if below is not None and below.inputs[0] is node.inputs[0]:
            return "softmax", rank - 1 if rank else None
    return "logits", None


def _divisor(node: gs.Node, ends: Collection[str]) -> gs.Node | None:
    """Return the node of one of these operators that produces the divisor of a Div."""
    return next((maker for maker in _makers(node.inputs[1]) if maker.op in ends), None)


def _makers(tensor: gs.Tensor) -> Iterator[gs.Node]:
    """Yield the producer of a tensor, the producer of its first computed input, and so on."""
    for _ in range(_MAX_STEPS):
        node = _maker(tensor)
        if node is None:
            return
        yield node
        data = [each for each in node.inputs if each.inputs]
        if not data:
            return
        tensor = data[0]


def _same_axis(
    end: gs.Tensor, output: gs.Tensor, axis: int | None, facts: Facts, shape: Sizes | None
) -> int | None:
    """Return the axis of an output that corresponds to an axis of ``end``."""
    if axis is None or shape is None:
        return None
    size = facts.shapes[end.name][axis]
    if facts.shapes.get(end.name) == shape and _maker(output) is _maker(end):
        return axis
    places = [place for place, each in enumerate(shape) if place and each == size]
    if len(places) == 1:
        return places[0]
    return axis if axis in places else (places[-1] if places else None)


def _last_layer(end: gs.Tensor) -> gs.Node | None:
    """Return the last layer or normalisation, followed by elementwise operators and views only."""
    for node in _makers(end):
        if node.op in _NORMALISED or (node.op in _LAYERS and _has_weight(node)):
            return node
        if node.op not in _PASSED | _ELEMENTWISE | _FORMS.keys() and node.op != "Resize":
            return None
    return None


def _has_weight(node: gs.Node) -> bool:
    return len(node.inputs) > 1 and resolved_constant(node.inputs[1]) is not None


def _made_axis(output: gs.Tensor, layer: gs.Node, facts: Facts, shape: Sizes | None) -> int | None:
    """Return the channel axis of the output: that of the last layer."""
    made = facts.shapes.get(layer.outputs[0].name)
    if made is None or shape is None or not made:
        return None
    is_last = layer.op in ("MatMul", "Gemm", "LayerNormalization")
    axis = len(made) - 1 if is_last else 1
    if axis >= len(made):
        return None
    if tuple(made) == shape and not _is_moved(output, layer):
        return axis
    places = [place for place, size in enumerate(shape) if place and size == made[axis]]
    return places[-1] if len(places) == 1 or (places and is_last) else None


def _is_moved(output: gs.Tensor, layer: gs.Node) -> bool:
    """Return whether an axis may have moved between a layer and an output."""
    tensor = output
    for _ in range(_MAX_STEPS):
        node = _maker(tensor)
        if node is None or node is layer:
            return False
        if node.op in ("Transpose", "Reshape"):
            return True
        data = [each for each in node.inputs if each.inputs]
        if not data:
            return False
        tensor = data[0]
    return False


def _is_pooled(layer: gs.Node, facts: Facts) -> bool:
    """Return whether a layer reads the mean over all spatial positions."""
    tensor = layer.inputs[0]
    for _ in range(_MAX_STEPS):
        node = _maker(tensor)
        if node is None:
            return False
        if node.op == "GlobalAveragePool":
            return True
        if node.op in ("ReduceMean", "AveragePool"):
            before = facts.shapes.get(node.inputs[0].name, ())
            return len(before) >= 3 and _is_flat(facts.shapes.get(node.outputs[0].name, ()))
        if node.op not in _PASSED:
            return False
        tensor = node.inputs[0]
    return False


def _is_flat(shape: tuple[int, ...]) -> bool:
    return sum(size > 1 for size in shape[1:]) <= 1


def _is_unit(end: gs.Tensor) -> bool:
    """Return whether vectors are normalised to unit length at the end."""
    node = _maker(end)
    if node is None:
        return False
    if node.op == "LpNormalization":
        return int(node.attrs.get("p", 2)) == 2
    if node.op != "Div":
        return False
    found = _divisor(node, ("ReduceL2", "Sqrt"))
    if found is None or found.op == "ReduceL2":
        return found is not None
    summed = _maker(found.inputs[0])
    return summed is not None and summed.op in ("ReduceSum", "ReduceSumSquare")


def _state_of(tensor: gs.Tensor, shape: Sizes | None, inputs: Mapping[str, Sizes]) -> str:
    """Return the input of which an output is the next state: same shape and a similar name."""
    if shape is None or len(inputs) < 2:
        return ""
    first = next(iter(inputs))
    stem = tensor.name.lower()
    same = [name for name, sizes in inputs.items() if sizes == shape and name != first]
    near = [name for name in same if name.lower()[:1] == stem[:1] or name.lower() in stem]
    if len(shape) < _RANK_OF_STATES:
        same = []  # a vector may have the same shape by chance
    return (near or same or [""])[0]


def _joined(end: gs.Tensor, facts: Facts) -> Iterator[tuple[Form, int | None]]:
    """Yield the parts of the last Concat, where some are sigmoids and others are not."""
    for _ in range(_MAX_STEPS):
        node = _maker(end)
        if node is None or node.op != "Concat":
            return
        parts = [_part(each, facts, int(node.attrs.get("axis", 0))) for each in node.inputs]
        if len({form for form, _ in parts}) > 1:
            yield from parts
            return
        end = _passed_on(node.inputs[0])


def _part(tensor: gs.Tensor, facts: Facts, axis: int) -> tuple[Form, int | None]:
    maker = _maker(_passed_on(tensor))
    form: Form = "logits" if maker is None else _FORMS.get(maker.op, "logits")
    shape = facts.shapes.get(tensor.name)
    return form, None if shape is None else shape[axis % len(shape)]
