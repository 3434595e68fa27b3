"""What onnx-graphsurgeon loses of a node: kept when a node is read, put back when it is written.

Everything else is taken from the graph as it is now. Notes (``metadata_props``, ``doc_string``)
change nothing of what a node is: a node that carries them is otherwise a node like any other.
"""

import onnx
import onnx_graphsurgeon as gs

from acgraph.ir.odd_values import has_raw_strings

_KINDS = onnx.AttributeProto
#: Kinds that onnx-graphsurgeon reads; subgraphs it reads, but does not write back whole.
_READ = frozenset(
    [
        _KINDS.FLOAT, _KINDS.FLOATS, _KINDS.INT, _KINDS.INTS, _KINDS.STRING, _KINDS.STRINGS,
        _KINDS.TENSOR, _KINDS.GRAPH,
    ]
)  # fmt: skip
_LISTS = frozenset([_KINDS.INTS, _KINDS.FLOATS, _KINDS.STRINGS])


def lost_parts(node: onnx.NodeProto) -> onnx.NodeProto | None:
    """Copy what onnx-graphsurgeon would lose of a node; None where it carries all of it.

    Returns:
        A node of the same operator with the notes and only the attributes that would be lost:
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
    """Give a node that is about to be written what was lost of it.

    Nothing is put back where the node has become another operator, and no attribute that the
    graph has dropped since.

    Args:
        node: The node as onnx-graphsurgeon writes it.
        source: The same node in the graph.
        lost: What ``lost_parts`` kept of it, if anything.
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
