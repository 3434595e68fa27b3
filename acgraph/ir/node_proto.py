"""Conversion of a node to a NodeProto."""

import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from acgraph.ir.odd_values import exportable


def node_to_proto(node: gs.Node) -> onnx.NodeProto:
    """Convert an onnx-graphsurgeon node to a NodeProto."""
    with exportable([node]):
        proto: onnx.NodeProto = OnnxExporter.export_node(node)
    return proto
