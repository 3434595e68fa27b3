"""The parts of a node that onnx-graphsurgeon loses: kept on import, restored on export.

Everything else comes from the current graph. Metadata (``metadata_props``, ``doc_string``) has no
effect on the meaning of a node.
"""

import onnx
import onnx_graphsurgeon as gs

from acgraph.ir.odd_values import has_raw_strings

_KINDS = onnx.AttributeProto
#: Kinds that onnx-graphsurgeon reads; it does not write subgraphs back completely.
_READ = frozenset(
    [
        _KINDS.FLOAT, _KINDS.FLOATS, _KINDS.INT, _KINDS.INTS, _KINDS.STRING, _KINDS.STRINGS,
        _KINDS.TENSOR, _KINDS.GRAPH,
    ]
)  # fmt: skip
_LISTS = frozenset([_KINDS.INTS, _KINDS.FLOATS, _KINDS.STRINGS])


def lost_parts(node: onnx.NodeProto) -> onnx.NodeProto | None:
    """Copy the parts of a node that onnx-graphsurgeon loses; None where it keeps everything.

    Returns:
        A node of the same operator with the metadata and only the attributes that would be lost:
        subgraphs, sparse tensors, types, empty lists, strings that are not UTF-8.
    """
    attributes = [attribute for attribute in node.attribute if _is_lost(attribute)]
    if not (attributes or node.metadata_props or node.doc_string):
        return None
    kept = onnx.NodeProto(op_type=node.op_type, domain=node.domain, doc_string=node.doc_string)
    kept.metadata_props.extend(node.metadata_props)
    kept.attribute.extend(attributes)
    return kept


def put_back(node: onnx.NodeProto, source: gs.Node, lost: onnx.NodeProto | None) -> None:
    """Restore the lost parts of an exported node, in place.

    Nothing is restored where the operator of the node has changed, nor attributes that the graph
    no longer has.

    Args:
        node: The node as onnx-graphsurgeon exports it.
        source: The same node in the graph.
        lost: The result of ``lost_parts``.
    """
    for attribute in node.attribute:
        if attribute.HasField("t") and not attribute.t.name:
            attribute.t.ClearField("name")  # onnx-graphsurgeon writes an empty one
    if lost is None or (lost.op_type, lost.domain) != (node.op_type, node.domain):
        return
    wanted = [a for a in lost.attribute if a.name in source.attrs or a.type not in _READ]
    names = {attribute.name for attribute in wanted}
    others = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend([*others, *wanted])
    if lost.doc_string:
        node.doc_string = lost.doc_string
    del node.metadata_props[:]
    node.metadata_props.extend(lost.metadata_props)


def _is_lost(attribute: onnx.AttributeProto) -> bool:
    kind = attribute.type
    if kind == _KINDS.GRAPH or kind not in _READ or has_raw_strings(attribute):
        return True
    return kind in _LISTS and not (attribute.ints or attribute.floats or attribute.strings)
