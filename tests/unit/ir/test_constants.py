"""Rewriting a constant keeps its rank, its type, and its bytes where nothing changed."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.errors import PassError
from acgraph.ir import (
    in_c_order,
    is_same,
    model_from_proto,
    proto_from_model,
    replace_constants,
)
from acgraph.ir.constants import lift_constants


def _noted() -> onnx.ModelProto:
    """An Add of a vector and a scalar, both Constant nodes with notes, as new exporters write."""
    nodes = [
        helper.make_node("Constant", [], ["v"], "v", value=numpy_helper.from_array(_VECTOR)),
        helper.make_node("Constant", [], ["s"], "s", value_float=2.0),
        helper.make_node("Mul", ["x", "v"], ["a"], "a"),
        helper.make_node("Add", ["a", "s"], ["y"], "b"),
    ]
    for node in nodes:
        node.metadata_props.add(key="namespace", value="net")
    sizes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", sizes[:1], sizes[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


_VECTOR = np.array([1, 2], np.float32)


def _attributes(proto: onnx.ModelProto, node: str) -> list[onnx.AttributeProto]:
    return list(next(n for n in proto.graph.node if n.name == node).attribute)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1)])
def test_c_order_keeps_the_rank(shape: tuple[int, ...]) -> None:
    assert in_c_order(np.zeros(shape, np.int64)).shape == shape


def test_sameness_is_of_bytes() -> None:
    assert is_same(np.array(np.nan), np.array(np.nan))
    assert not is_same(np.array(0.0), np.array(-0.0))
    assert not is_same(np.array(1.0), np.array([1.0]))


def test_a_scalar_stays_a_scalar() -> None:
    model = model_from_proto(_noted())
    replace_constants(model, {"s": np.array(5, np.float32)})
    (value,) = _attributes(proto_from_model(model), "s")
    assert numpy_helper.to_array(value.t).shape == ()
    assert numpy_helper.to_array(value.t) == 5


def test_a_node_with_notes_is_written_with_its_new_values_and_its_notes() -> None:
    model = model_from_proto(_noted())
    replace_constants(model, {"v": np.array([7, 8], np.float32)})
    proto = proto_from_model(model)
    (value,) = _attributes(proto, "v")
    assert numpy_helper.to_array(value.t).tolist() == [7, 8]
    assert [p.value for p in proto.graph.node[0].metadata_props] == ["net"]


def test_what_did_not_change_is_left_as_it_was() -> None:
    source = _noted()
    model = model_from_proto(source)
    replace_constants(model, {"v": _VECTOR.copy(), "s": np.array(2, np.float32)})
    assert _attributes(proto_from_model(model), "s") == _attributes(source, "s")
    assert _attributes(proto_from_model(model), "v") == _attributes(source, "v")


@pytest.mark.parametrize("value", [np.ones(1, np.float32), np.array(1, np.float64)])
def test_another_rank_or_type_is_refused(value: np.ndarray) -> None:
    with pytest.raises(PassError, match="rank 0"):
        replace_constants(model_from_proto(_noted()), {"s": value})


def test_constant_nodes_become_initializers_of_the_same_names() -> None:
    model = model_from_proto(_noted())
    before = {name: value.copy() for name, value in model.constants().items()}
    lift_constants(model)
    written = proto_from_model(model)
    assert [node.op_type for node in written.graph.node] == ["Mul", "Add"]
    assert sorted(tensor.name for tensor in written.graph.initializer) == ["s", "v"]
    onnx.checker.check_model(written)
    assert all(is_same(value, before[name]) for name, value in model.constants().items())


def test_a_constant_node_that_is_returned_stays() -> None:
    proto = _noted()
    proto.graph.output.append(helper.make_tensor_value_info("v", TensorProto.FLOAT, [2]))
    model = model_from_proto(proto)
    lift_constants(model)
    assert [node.op for node in model.graph.nodes] == ["Constant", "Mul", "Add"]
    onnx.checker.check_model(proto_from_model(model))
