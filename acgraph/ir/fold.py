"""Evaluate one node on known values, for shape arithmetic.

The frequent operators of shape arithmetic are implemented in numpy. Others run in onnx's reference
implementation.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx.reference
import onnx_graphsurgeon as gs
from onnx.helper import tensor_dtype_to_np_dtype

from acgraph.ir.growth import is_too_large
from acgraph.ir.model import Array
from acgraph.ir.node_proto import node_to_proto
from acgraph.operators import Trait, operators_with

_Fn = Callable[..., Any]


def _cast(node: gs.Node, x: Array) -> Array:
    to = node.attrs["to"]
    # The cast of infinity to an integer depends on the runtime, so it counts as unknown.
    with np.errstate(invalid="raise"):
        return x.astype(tensor_dtype_to_np_dtype(to) if isinstance(to, int) else to)


def _gather(node: gs.Node, x: Array, index: Array) -> Array:
    return np.take(x, index.astype(np.int64), axis=int(node.attrs.get("axis", 0)))


def _concat(node: gs.Node, *xs: Array) -> Array:
    return np.concatenate(xs, axis=int(node.attrs["axis"]))


def _slice(node: gs.Node, x: Array, *args: Array) -> Array:
    if not args:  # opset 9 and earlier
        kept = {key: np.asarray(node.attrs[key]) for key in ("starts", "ends", "axes")
                if key in node.attrs}  # fmt: skip
        args = tuple(kept.values())
    starts, ends = args[0], args[1]
    axes = args[2] if len(args) > 2 and args[2] is not None else np.arange(len(starts))
    steps = args[3] if len(args) > 3 and args[3] is not None else np.ones(len(starts), np.int64)
    out = x
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if int(step) < 0 and int(end) < -x.shape[int(axis)] else int(end)
        index = [slice(None)] * x.ndim
        index[int(axis)] = slice(int(start), stop, int(step))
        out = out[tuple(index)]
    return out


def _squeeze(node: gs.Node, x: Array, axes: Array | None = None) -> Array:
    chosen = node.attrs.get("axes") if axes is None else axes.tolist()
    return np.squeeze(x, axis=None if chosen is None else tuple(int(a) for a in chosen))


def _unsqueeze(node: gs.Node, x: Array, axes: Array | None = None) -> Array:
    chosen = node.attrs.get("axes") if axes is None else axes.tolist()
    return np.expand_dims(x, axis=tuple(int(a) for a in chosen))


def _div(node: gs.Node, a: Any, b: Any) -> Any:
    if np.issubdtype(a.dtype, np.integer):
        if (b == 0).any():
            return None
        return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
    return a / b


_TABLE: dict[str, _Fn] = {
    "Add": lambda n, a, b: a + b,
    "Cast": _cast,
    "Concat": _concat,
    "Div": _div,
    "Equal": lambda n, a, b: np.asarray(a == b),
    "Gather": _gather,
    "Greater": lambda n, a, b: np.asarray(a > b),
    "Identity": lambda n, x: x,
    "Less": lambda n, a, b: np.asarray(a < b),
    "Mul": lambda n, a, b: a * b,
    "Neg": lambda n, x: -x,
    "Not": lambda n, x: ~x,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": lambda n, a, b: a - b,
    "Unsqueeze": _unsqueeze,
    "Where": lambda n, c, a, b: np.where(c, a, b),
}

#: Not evaluated: random operators, and operators that depend on more than their inputs.
_NEVER = operators_with(Trait.IMPURE)


def evaluate_node(
    node: gs.Node, inputs: Sequence[Array | None], opset: int, limit: int
) -> list[Array] | None:
    """Evaluate a node.

    Args:
        node: The node.
        inputs: Values of its inputs; None for an optional input that is absent.
        opset: Opset version of the model.
        limit: Largest number of elements of a result.

    Returns:
        The outputs; None where it cannot be evaluated or where a result exceeds the limit.
    """
    if node.op in _NEVER:
        return None
    if is_too_large(node, inputs, limit):
        return None
    rule = _TABLE.get(node.op)
    if rule is not None:
        try:
            with np.errstate(all="ignore"):
                value = rule(node, *inputs)
        except (IndexError, ValueError, TypeError, FloatingPointError):
            value = None
        return None if value is None or np.size(value) > limit else [np.asarray(value)]
    return _reference(node, inputs, opset, limit)


def _reference(
    node: gs.Node, inputs: Sequence[Array | None], opset: int, limit: int
) -> list[Array] | None:
    proto = node_to_proto(node)
    names = [t.name for t in node.inputs]
    feeds = {name: x for name, x in zip(names, inputs, strict=True) if name and x is not None}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            run = onnx.reference.ReferenceEvaluator(proto, opsets={"": opset})
            outputs = run.run(None, feeds)
    except Exception:
        return None
    arrays = [np.asarray(value) for value in outputs]
    return None if any(a.size > limit or a.dtype == object for a in arrays) else arrays
