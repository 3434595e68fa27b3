"""Nodes that are written back as they were read: keep them in step with a changed attribute."""

import onnx
import onnx_graphsurgeon as gs

from acgraph.ir.model import Model
from acgraph.ir.shapes import node_to_proto


def update_original(model: Model, node: gs.Node) -> None:
    """Carry the attributes of a changed node over to its original, which keeps all the rest.

    Subgraphs and other attributes that onnx-graphsurgeon does not carry whole stay as they were.
    """
    old = model.originals.get(node.name)
    if old is None:
        return
    new = onnx.NodeProto()
    new.CopyFrom(old)
    del new.attribute[:]
    fresh = {attribute.name: attribute for attribute in node_to_proto(node).attribute}
    whole = {attribute.name: attribute for attribute in old.attribute if _is_whole(attribute)}
    new.attribute.extend({**fresh, **whole}.values())
    model.originals[node.name] = new


def _is_whole(attribute: onnx.AttributeProto) -> bool:
    kinds = onnx.AttributeProto
    return attribute.type in (kinds.GRAPH, kinds.GRAPHS, kinds.SPARSE_TENSOR, kinds.TYPE_PROTO)
