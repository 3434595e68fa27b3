"""Find nodes that cannot run on inputs of their shapes, where onnx's shape inference does not."""

import math
from collections.abc import Mapping

import onnx_graphsurgeon as gs

from acgraph.diagnostics import Diagnostic, Location
from acgraph.operators import Trait, operators_with

Shape = tuple[int, ...]
#: Operators whose kernel must fit into the input: an empty output means that it does not.
_WINDOWS = operators_with(Trait.WINDOW)


def contradiction(
    node: gs.Node, known: Mapping[str, Shape], made: Mapping[str, Shape]
) -> Diagnostic | None:
    """Return why a node cannot run with its inferred shapes; None where no reason was found.

    Args:
        node: The node.
        known: Shapes of its inputs, as far as they are known.
        made: Inferred shapes of its outputs.
    """
    reason = _reason(node, known, made)
    where = Location(node=node.name, op_type=node.op)
    return Diagnostic(location=where, message=reason) if reason else None


def _reason(node: gs.Node, known: Mapping[str, Shape], made: Mapping[str, Shape]) -> str:
    shapes = [known.get(tensor.name) for tensor in node.inputs]
    first = shapes[0] if shapes else None
    for tensor in node.outputs:
        shape = made.get(tensor.name)
        if shape is None:
            continue
        is_empty = node.op in _WINDOWS and 0 in shape and 0 not in (first or ())
        if min(shape, default=0) < 0 or is_empty:
            target = "" if first is None else f" into {_text(first)}"
            return f"its kernel does not fit{target}"
    if first is None or not made:
        return ""
    if node.op == "Conv":
        return _channels(node, first, shapes[1])
    if node.op == "Pad" and node.attrs.get("mode", "constant") == "reflect":
        return _reflection(first, made.get(node.outputs[0].name))
    if node.op == "Reshape":
        shape = made.get(node.outputs[0].name)
        if shape is not None and math.prod(shape) != math.prod(first):
            return f"it cannot reshape {_text(first)} to {_text(shape)}"
    return ""


def _reflection(x: Shape, made: Shape | None) -> str:
    """Check that no axis is padded by more elements than it has beside each end."""
    pairs = zip(x, made or (), strict=False)
    if any(after > before + 2 * max(before - 1, 0) for before, after in pairs):
        return f"its reflection pads are too large for {_text(x)}"
    return ""


def _channels(node: gs.Node, x: Shape, weight: Shape | None) -> str:
    if weight is None or len(x) < 2 or len(weight) < 2:
        return ""
    wanted = weight[1] * int(node.attrs.get("group", 1))
    return "" if x[1] == wanted else f"it needs {wanted} input channels, but gets {x[1]}"


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"
