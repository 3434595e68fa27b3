"""How large the result of a node is, before it is computed: few numbers can describe a huge one."""

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir.lazy import Array
from acgraph.limits import memory_limit

_Inputs = Sequence[Array | None]
#: Results below this number of elements are computed where only a bound on them is known.
_ALWAYS = 1 << 24
#: Estimate of the bytes that an element takes while it is computed.
_ELEMENT_BYTES = 32


def is_too_large(node: gs.Node, inputs: _Inputs, limit: int) -> bool:
    """Return whether the results of a node may exceed a number of elements, or the memory.

    Args:
        node: The node.
        inputs: Values of its inputs; None for an optional input that is absent.
        limit: Largest number of elements of a result.
    """
    allowed = limit if node.op in _EXACT else max(limit, _ALWAYS)
    return most_elements(node, inputs) > min(allowed, memory_limit() // _ELEMENT_BYTES)


def most_elements(node: gs.Node, inputs: _Inputs) -> float:
    """Return a bound on the number of elements of each result of a node.

    Args:
        node: The node.
        inputs: Values of its inputs; None for an optional input that is absent.
    """
    rule = _GROWING.get(node.op)
    try:
        return _broadcast(inputs) if rule is None else rule(node, inputs)
    except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return math.inf  # invalid inputs, which have no result


def _broadcast(inputs: _Inputs) -> float:
    """Bound the result of operators that broadcast, and of those that select or concatenate."""
    shapes = [x.shape for x in inputs if x is not None]
    total = float(sum(math.prod(shape) for shape in shapes))
    try:
        found = np.broadcast_shapes(*shapes)
    except ValueError:
        return total
    return max(float(math.prod(found)), total)


def _given(inputs: _Inputs, index: int) -> Array:
    value = inputs[index]
    if value is None:
        raise IndexError
    return value


def _product(values: Array) -> float:
    return float(np.prod(np.maximum(values.astype(np.float64), 1.0)))


def _shaped(_: gs.Node, inputs: _Inputs) -> float:
    return _product(_given(inputs, 0))


def _expanded(_: gs.Node, inputs: _Inputs) -> float:
    wanted = [int(size) for size in _given(inputs, 1)]
    if math.prod(map(float, wanted)) > sys.maxsize:
        return math.inf
    return float(math.prod(np.broadcast_shapes(_given(inputs, 0).shape, wanted)))


def _tiled(_: gs.Node, inputs: _Inputs) -> float:
    return _product(_given(inputs, 1)) * _given(inputs, 0).size


def _ranged(_: gs.Node, inputs: _Inputs) -> float:
    start, stop, step = (float(_given(inputs, k).reshape(())) for k in range(3))
    return abs(stop - start) / abs(step) + 1


def _one_hot(_: gs.Node, inputs: _Inputs) -> float:
    return _given(inputs, 0).size * float(_given(inputs, 1).reshape(-1)[0])


def _padded(node: gs.Node, inputs: _Inputs) -> float:
    pads = _given(inputs, 1) if len(inputs) > 1 else np.asarray(node.attrs["pads"])
    added = np.abs(pads.astype(np.float64)).sum()
    return float(math.prod(size + float(added) for size in _given(inputs, 0).shape))


def _resized(node: gs.Node, inputs: _Inputs) -> float:
    if len(inputs) > 3 and inputs[3] is not None and inputs[3].size:
        return _product(inputs[3]) * _given(inputs, 0).size
    named = np.asarray(node.attrs["scales"]) if "scales" in node.attrs else None
    scales = [x for x in (*inputs[1:3], named) if x is not None and x.size]
    return _product(scales[-1]) * _given(inputs, 0).size


def _gathered(node: gs.Node, inputs: _Inputs) -> float:
    values, indices = _given(inputs, 0), _given(inputs, 1)
    axis = int(node.attrs.get("axis", 0))
    return float(indices.size * values.size / max(values.shape[axis], 1))


def _multiplied(_: gs.Node, inputs: _Inputs) -> float:
    left, right = _given(inputs, 0), _given(inputs, 1)
    return float(left.size) * right.size


#: Operators whose result is larger than their inputs when broadcast.
_GROWING: dict[str, Callable[[gs.Node, _Inputs], float]] = {
    "ConstantOfShape": _shaped,
    "ConvTranspose": _multiplied,
    "Einsum": _multiplied,
    "Expand": _expanded,
    "Gather": _gathered,
    "GatherND": _multiplied,
    "Gemm": _multiplied,
    "MatMul": _multiplied,
    "OneHot": _one_hot,
    "Pad": _padded,
    "Range": _ranged,
    "Resize": _resized,
    "Tile": _tiled,
    "Upsample": _resized,
}
#: Those whose bound is the exact number, or nearly so.
_EXACT = frozenset(["ConstantOfShape", "Expand", "OneHot", "Range", "Tile"])
