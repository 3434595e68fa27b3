"""What onnx-graphsurgeon loses of a node comes back; the rest of it is as the graph is now."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.ir import (
    Model,
    infer_facts,
    model_from_proto,
    proto_from_model,
    replace_constants,
)


def _read(*nodes: onnx.NodeProto, annotate: bool = True, **weights: np.ndarray) -> Model:
    for node in nodes:
        if annotate:
            node.metadata_props.add(key="namespace", value=f"model/{node.op_type}")
            node.doc_string = f"makes {node.output[0]}"
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return model_from_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


@pytest.mark.parametrize("annotate", [False, True])
def test_shapes_are_found_of_nodes_whose_inputs_were_renamed(annotate: bool) -> None:
    weight = np.ones((4, 3, 3, 3), np.float32)
    model = _read(
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("Conv", ["a", "w"], ["y"], name="conv"),
        annotate=annotate,
        w=weight,
    )
    relu, conv = model.graph.nodes
    relu.outputs[0].name = "renamed"
    conv.inputs[1] = type(conv.inputs[1])("w/conv", weight)
    facts = infer_facts(model)
    assert facts.shapes["y"] == (1, 4, 6, 6)
    assert facts.unknown == []


@pytest.mark.parametrize("annotate", [False, True])
def test_a_changed_constant_is_written_as_it_is_now(annotate: bool) -> None:
    old = numpy_helper.from_array(np.ones((1, 3, 8, 8), np.float32))
    model = _read(
        helper.make_node("Constant", [], ["c"], name="constant", value=old),
        helper.make_node("Add", ["x", "c"], ["y"], name="add"),
        annotate=annotate,
    )
    replace_constants(model, {"c": np.full((1, 3, 8, 8), 5, np.float32)})
    written = proto_from_model(model)
    session = ort.InferenceSession(written.SerializeToString())
    (y,) = session.run(None, {"x": np.zeros((1, 3, 8, 8), np.float32)})
    assert (y == 5).all()
    notes = [(node.doc_string, len(node.metadata_props)) for node in written.graph.node]
    assert notes == ([("makes c", 1), ("makes y", 1)] if annotate else [("", 0), ("", 0)])


def test_a_constant_that_was_an_empty_list_becomes_another() -> None:
    empty = helper.make_node("Constant", [], ["c"], name="constant")
    empty.attribute.add(name="value_ints", type=onnx.AttributeProto.INTS)
    model = _read(empty, helper.make_node("Reshape", ["x", "c"], ["y"], name="reshape"))
    assert proto_from_model(model).graph.node[0].attribute == empty.attribute
    replace_constants(model, {"c": np.array([3, 64], np.int64)})
    written = proto_from_model(model).graph.node[0]
    assert [attribute.name for attribute in written.attribute] == ["value"]


def test_an_empty_list_comes_back() -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", group=1)
    conv.attribute.add(name="pads", type=onnx.AttributeProto.INTS)
    model = _read(conv, annotate=False, w=np.ones((4, 3, 3, 3), np.float32))
    written = proto_from_model(model).graph.node[0]
    assert sorted(a.name for a in written.attribute) == ["group", "pads"]
    assert model.graph.nodes[0].attrs == {"group": 1, "pads": []}
