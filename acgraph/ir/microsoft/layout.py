"""Shapes of ONNX Runtime's operators in the blocked layout NCHWc.

The analysis fences these operators, but the nodes behind them need shapes. The output shapes are
those of the standard operators with the channels rounded up to whole blocks; ReorderOutput states
the real number of channels.
"""

import onnx
import onnx.defs
import onnx_graphsurgeon as gs

from acgraph.operators import is_standard

_DOMAIN = "com.microsoft.nchwc"
_STANDARD = frozenset(["AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"])


def schema_domain(node: gs.Node) -> str:
    """Return the domain whose operator of the same name has the same shape inference."""
    if is_standard(node.domain) or (node.domain == _DOMAIN and node.op in _STANDARD):
        return ""
    return str(node.domain)


def as_standard(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> None:
    """Convert a node to the standard operator of the same shapes, without unknown attributes."""
    known = [attribute for attribute in node.attribute if attribute.name in schema.attributes]
    del node.attribute[:]
    node.attribute.extend(known)
    node.domain = ""


def reordered(node: gs.Node, kind: onnx.TypeProto | None) -> onnx.TypeProto | None:
    """Return the output type of a node that enters or leaves the layout; None for other nodes.

    Args:
        node: The node.
        kind: The type of its input; None where it is unknown.
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
