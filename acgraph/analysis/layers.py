"""The layers of a model: Conv, ConvTranspose, Gemm and MatMul nodes whose weight is a constant."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from acgraph.ir import Facts, Model, constant_node_value
from acgraph.operators import Role, find_operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer and its GEMM matrix ``[filters, columns]``, one such matrix per group.

    Attributes:
        name: Name of the node.
        op_type: Conv, ConvTranspose, Gemm or MatMul.
        weight: Name of the constant weight.
        weight_shape: Shape of that constant.
        weight_input: Index of the node input: 0 where the constant is the left operand.
        filter_axis: Axis of the constant whose positions are filters. In a grouped ConvTranspose,
            it contains the filters of one group.
        channel_axis: Axis of the constant whose positions are input channels.
        filters: Rows of the matrix, over all groups.
        columns: Input channels per group times kernel positions.
        group: Groups of a convolution; number of matrices of a batched MatMul.
        kernel: Spatial kernel, empty for Gemm and MatMul.
        bias: Name of the constant bias, empty without one.
        bias_size: Number of elements of the bias.
        through: Identity, Cast and Transpose nodes from the constant to the layer, in this order.
        output_shape: Shape of the layer's output; None where it is unknown or no facts were given.
    """

    name: str
    op_type: str
    weight: str
    weight_shape: tuple[int, ...]
    weight_input: int
    filter_axis: int
    channel_axis: int
    filters: int
    columns: int
    group: int = 1
    kernel: tuple[int, ...] = ()
    bias: str = ""
    bias_size: int = 0
    through: tuple[str, ...] = ()
    output_shape: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """Elements of the weight."""
        return math.prod(self.weight_shape)


@dataclass(frozen=True, slots=True)
class Source:
    """A constant as a node reads it: axis ``i`` is axis ``axes[i]`` of the constant."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    through: tuple[str, ...] = ()

    @property
    def seen(self) -> tuple[int, ...]:
        """Its shape as the node reads it."""
        return tuple(self.shape[axis] for axis in self.axes)


def layers(model: Model, facts: Facts | None = None) -> list[Layer]:
    """Return every layer of the top graph, in graph order.

    Args:
        model: The model; subgraphs of If, Loop and Scan are not searched.
        facts: Facts of the model, for the output shapes of layers.
    """
    found = (_layer_of(node, facts) for node in model.graph.nodes)
    return [layer for layer in found if layer is not None]


def _layer_of(node: gs.Node, facts: Facts | None) -> Layer | None:
    operator = find_operator(node.op, node.domain)
    if operator is None or not operator.layer:
        return None
    sources = [constant_source(tensor) for tensor in node.inputs[:2]]
    if len(sources) < 2 or all(sources):
        return None  # a product of two constants is a constant, not a layer
    side = 1 if sources[1] is not None else 0
    source = sources[side]
    if source is None or operator.input(side).role not in (Role.WEIGHT, Role.FACTOR):
        return None
    matrix = MATRICES[operator.layer](node, source, side)
    if matrix is None:
        return None
    filter_axis, channel_axis, filters, columns, group, kernel = matrix
    bias = constant_source(node.inputs[2]) if len(node.inputs) > 2 else None
    return Layer(
        name=node.name,
        op_type=node.op,
        weight=source.name,
        weight_shape=source.shape,
        weight_input=side,
        filter_axis=source.axes[filter_axis],
        channel_axis=source.axes[channel_axis],
        filters=filters,
        columns=columns,
        group=group,
        kernel=kernel,
        bias=bias.name if bias is not None else "",
        bias_size=math.prod(bias.shape) if bias is not None else 0,
        through=source.through,
        output_shape=facts.shapes.get(node.outputs[0].name) if facts is not None else None,
    )


def constant_source(tensor: gs.Tensor) -> Source | None:
    """Return the constant behind a value, past Identity, Cast and Transpose; else None."""
    if isinstance(tensor, gs.Constant):
        shape = tuple(int(size) for size in tensor.shape)
        return Source(tensor.name, shape, tuple(range(len(shape))))
    if not tensor.inputs:
        return None
    node = tensor.inputs[0]
    if node.op == "Constant":
        value = constant_node_value(node)
        return None if value is None else Source(tensor.name, value.shape, _identity(value.ndim))
    if node.op not in ("Identity", "Cast", "Transpose"):
        return None
    source = constant_source(node.inputs[0])
    if source is None:
        return None
    axes = source.axes
    if node.op == "Transpose":
        perm = node.attrs.get("perm") or range(len(axes) - 1, -1, -1)
        axes = tuple(axes[axis] for axis in perm)
    return Source(source.name, source.shape, axes, (*source.through, node.name))


def _identity(rank: int) -> tuple[int, ...]:
    return tuple(range(rank))


# Filter axis and channel axis of the weight as the node reads it, filters, columns, group, kernel.
_Matrix = tuple[int, int, int, int, int, tuple[int, ...]]


def _conv(node: gs.Node, source: Source, side: int) -> _Matrix:
    out, channels, *kernel = source.seen
    group = int(node.attrs.get("group", 1))
    return 0, 1, out, channels * math.prod(kernel), group, tuple(kernel)


def _conv_transpose(node: gs.Node, source: Source, side: int) -> _Matrix:
    channels, out, *kernel = source.seen
    group = int(node.attrs.get("group", 1))
    columns = channels // group * math.prod(kernel)
    return 1, 0, out * group, columns, group, tuple(kernel)


def _gemm(node: gs.Node, source: Source, side: int) -> _Matrix:
    transposed = bool(node.attrs.get("transB" if side == 1 else "transA", 0))
    # B [K, N] has N filters; A [M, K] has M.
    filter_axis = int((side == 1) != transposed)
    channel_axis = 1 - filter_axis
    return filter_axis, channel_axis, source.seen[filter_axis], source.seen[channel_axis], 1, ()


def _matmul(node: gs.Node, source: Source, side: int) -> _Matrix | None:
    seen = source.seen
    if len(seen) < 2:
        return None  # a vector has no filters
    last, before = len(seen) - 1, len(seen) - 2
    filter_axis, channel_axis = (last, before) if side == 1 else (before, last)
    group = math.prod(seen[:-2])
    return filter_axis, channel_axis, seen[filter_axis] * group, seen[channel_axis], group, ()


#: The matrix of a weight, by the name in the table of operators.
MATRICES: dict[str, Callable[[gs.Node, Source, int], _Matrix | None]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "gemm": _gemm,
    "matmul": _matmul,
}
