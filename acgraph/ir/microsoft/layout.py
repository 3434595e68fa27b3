"""Shapes of the operators that ONNX Runtime lays out in blocks of channels (NCHWc).

They are fenced, but what lies behind them need not be: the shapes that they show are those of the
standard operators, channels rounded up to whole blocks; where the layout ends, a node says how
many channels there really are.
"""

import onnx
import onnx.defs
import onnx_graphsurgeon as gs

from acgraph.operators import is_standard

_DOMAIN = "com.microsoft.nchwc"
_STANDARD = frozenset(["AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"])


def schema_domain(node: gs.Node) -> str:
    """Return the domain whose operator of the same name has the shapes of a node."""
    if is_standard(node.domain) or (node.domain == _DOMAIN and node.op in _STANDARD):
        return ""
    return str(node.domain)


def as_standard(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> None:
    """Make a node the standard operator that has its shapes: without what only this one knows."""
    known = [attribute for attribute in node.attribute if attribute.name in schema.attributes]
    del node.attribute[:]
    node.attribute.extend(known)
    node.domain = ""


def reordered(node: gs.Node, kind: onnx.TypeProto | None) -> onnx.TypeProto | None:
    """Return the type behind a node that enters or leaves the layout; None for any other node.

    Args:
        node: The node.
        kind: The type of its input, None where that is unknown.
    """
    if node.domain != _DOMAIN or kind is None or not kind.tensor_type.HasField("shape"):
        return None
    made = onnx.TypeProto()
    made.CopyFrom(kind)
    dims = made.tensor_type.shape.dim
    if node.op not in ("ReorderInput", "ReorderOutput") or len(dims) != 4:
        return None
    last = bool(node.attrs.get("channels_last", 0))
    sizes = list(dims)
    if node.op == "ReorderInput":
        order = [sizes[k] for k in ((0, 3, 1, 2) if last else (0, 1, 2, 3))]
    else:
        channels = onnx.TensorShapeProto.Dimension(dim_value=int(node.attrs["channels"]))
        order = [sizes[0], *([*sizes[2:], channels] if last else [channels, *sizes[2:]])]
    shape = onnx.TensorShapeProto(dim=order)
    made.tensor_type.shape.CopyFrom(shape)
    return made
