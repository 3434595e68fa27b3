"""Propagation of the batch axis through operators that compute."""

import onnx_graphsurgeon as gs

from acgraph.analysis.batch.walk import (
    FixedBatchError,
    Found,
    Rule,
    Walk,
    beside_axis,
    only_first,
)
from acgraph.operators import OPERATORS, Role


def _first_axis(walk: Walk, node: gs.Node) -> int:
    """Rule of convolution, pooling and channel normalisations: the batch must be axis 0."""
    axis = only_first(walk, node)
    if axis != 0:
        raise FixedBatchError(f"the batch is on axis {axis}")
    return 0


def _batch_norm(walk: Walk, node: gs.Node) -> int:
    if node.attrs.get("training_mode"):
        raise FixedBatchError("it normalises over the batch")
    return _first_axis(walk, node)


def _same(walk: Walk, node: gs.Node) -> int:
    return only_first(walk, node)


def _from_axis(default: int) -> Rule:
    """Return the rule of operators that act along an axis and all later ones."""

    def rule(walk: Walk, node: gs.Node) -> int:
        axis = only_first(walk, node)
        acts = int(node.attrs.get("axis", default)) % len(walk.shape(walk.name(node, 0)))
        if acts <= axis:
            raise FixedBatchError("it acts along the batch")
        return axis

    return rule


def _softmax(walk: Walk, node: gs.Node) -> Found:
    if walk.program.model.graph.opset >= 13:
        return beside_axis(-1)(walk, node)
    return _from_axis(1)(walk, node)


def _cum_sum(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    found = walk.ints(node, 1, "axis")
    if found is None or found[0][0] % len(walk.shape(walk.name(node, 0))) == axis:
        raise FixedBatchError("it acts along the batch")
    return axis


def _elementwise(walk: Walk, node: gs.Node) -> int:
    """Rule of broadcasting operators: the batch axes must be aligned, counted from the right."""
    names = walk.names(node)
    rank = max(len(walk.shape(name)) for name in names)
    places = {walk.axis[n] - len(walk.shape(n)) for n in names if n in walk.axis}
    if len(places) != 1:
        raise FixedBatchError("its inputs have the batch on different axes")
    (place,) = places
    for name in names:
        sizes = walk.shape(name)
        if name not in walk.axis and len(sizes) >= -place and sizes[place] != 1:
            raise FixedBatchError("it combines the batch with a constant of the batch size")
    return rank + place


def _reduce(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    rank = len(walk.shape(walk.name(node, 0)))
    found = walk.ints(node, 1, "axes")
    axes = {a % rank for a in found[0]} if found is not None else set()
    if not axes and node.attrs.get("noop_with_empty_axes"):
        return axis
    if not axes or axis in axes:
        raise FixedBatchError("it reduces over the batch")
    return axis if node.attrs.get("keepdims", 1) else axis - sum(a < axis for a in axes)


def _arg(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    acts = int(node.attrs.get("axis", 0)) % len(walk.shape(walk.name(node, 0)))
    if acts == axis:
        raise FixedBatchError("it reduces over the batch")
    return axis if node.attrs.get("keepdims", 1) or acts > axis else axis - 1


def _mat_mul(walk: Walk, node: gs.Node) -> int:
    left, right = walk.name(node, 0), walk.name(node, 1)
    ranks = len(walk.shape(left)), len(walk.shape(right))
    places = {walk.axis[n] - len(walk.shape(n)) for n in (left, right) if n in walk.axis}
    if len(places) != 1:
        raise FixedBatchError("its inputs have the batch on different axes")
    (place,) = places
    if ranks[1] == 1 and left in walk.axis and place < -1:
        return walk.axis[left]
    rows_only = place == -2 and right not in walk.axis and ranks[0] >= 2 and ranks[1] == 2
    if (place >= -2 and not rows_only) or min(ranks) == 1:
        raise FixedBatchError("it multiplies over the batch")
    for name in (left, right):
        sizes = walk.shape(name)
        leads = place < -2 and name not in walk.axis and len(sizes) >= -place
        if leads and sizes[place] != 1:
            raise FixedBatchError("it combines the batch with a constant of the batch size")
    return max(ranks) + place


def _gemm(walk: Walk, node: gs.Node) -> int:
    if node.attrs.get("transA"):
        raise FixedBatchError("it transposes the batch")
    axis = _first_axis(walk, node)
    bias = walk.name(node, 2)
    if bias and len(walk.shape(bias)) == 2 and walk.shape(bias)[0] != 1:
        raise FixedBatchError("it combines the batch with a constant of the batch size")
    return axis


def _einsum(walk: Walk, node: gs.Node) -> int:
    equation = str(node.attrs["equation"]).replace(" ", "")
    if "->" not in equation or "." in equation:
        raise FixedBatchError("its equation has no explicit output, or has an ellipsis")
    terms, out = equation.split("->")
    names = walk.names(node)
    pairs = list(zip(terms.split(","), names, strict=True))
    labels = {term[walk.axis[name]] for term, name in pairs if name in walk.axis}
    constant = "".join(term for term, name in pairs if name not in walk.axis)
    if len(labels) != 1 or labels & set(constant) or not labels <= set(out):
        raise FixedBatchError("it sums over the batch")
    return out.index(labels.pop())


def _recurrent(walk: Walk, node: gs.Node) -> tuple[int | None, ...]:
    layout = int(node.attrs.get("layout", 0))
    if walk.axis.get(walk.name(node, 0)) != 1 - layout:
        raise FixedBatchError("the batch is not on the axis of its layout")
    for index in (5, 6):
        state = walk.name(node, index)
        if not state:
            continue
        if state in walk.axis and walk.axis[state] != 1 - layout:
            raise FixedBatchError("the batch of its state is not on the axis of its layout")
        if state in walk.axis or walk.shape(state)[1 - layout] == 1:
            continue
        value = walk.values.get(state)
        if walk.batch == 1 and walk.outer.get(walk.name(node, 0), 1) == 1:
            walk.rebatch[node.name] = (1 - layout, 1)  # repeat the state of the one sample
            continue
        if value is None or (value != value.take([0], axis=1 - layout)).any():
            raise FixedBatchError("it combines the batch with a constant of the batch size")
        walk.rebatch[node.name] = (1 - layout,)  # equal for every sample: use the first one
    first = 0 if layout else 2
    return (first, *([1 - layout] * (len(node.outputs) - 1)))


def _attention(walk: Walk, node: gs.Node) -> tuple[int | None, ...]:
    if any(walk.axis.get(walk.name(node, i)) != 0 for i in range(3)):
        raise FixedBatchError("the batch is not on axis 0")
    mask = walk.name(node, 3)
    if mask and len(walk.shape(mask)) == 4 and walk.shape(mask)[0] != 1 and mask not in walk.axis:
        raise FixedBatchError("it combines the batch with a constant of the batch size")
    return (0,) * len(node.outputs)


def _data_first(walk: Walk, node: gs.Node) -> int:
    """Rule of sampling operators: image and positions must have the batch on axis 0."""
    operator = OPERATORS[node.op]
    names = [walk.name(node, i) for i in range(len(node.inputs))]
    data = [name for i, name in enumerate(names) if name and operator.input(i).role is Role.DATA]
    if any(walk.axis.get(name) != 0 for name in data):
        raise FixedBatchError("image and positions do not both have the batch on axis 0")
    return 0


#: The rules of these operators, by the name in the table of operators.
RULES: dict[str, Rule] = {
    "arg": _arg,
    "attention": _attention,
    "batch_norm": _batch_norm,
    "before_axis_last": _from_axis(-1),
    "beside_axis_last": beside_axis(-1),
    "cum_sum": _cum_sum,
    "data_first": _data_first,
    "einsum": _einsum,
    "elementwise": _elementwise,
    "first_axis": _first_axis,
    "gemm": _gemm,
    "matmul": _mat_mul,
    "recurrent": _recurrent,
    "reduce": _reduce,
    "same": _same,
    "softmax": _softmax,
}
