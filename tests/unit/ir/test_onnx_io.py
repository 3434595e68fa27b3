from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.errors import ImportModelError, OutputError
from acgraph.ir import (
    clone_model,
    count_params,
    model_from_proto,
    onnx_io,
    proto_from_model,
    read_model,
    write_model,
    write_proto,
)


def _model(
    *nodes: onnx.NodeProto, weights: dict[str, np.ndarray], **extra: object
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [x], [y], initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, **extra
    )


@pytest.fixture
def linear() -> onnx.ModelProto:
    w = np.arange(12, dtype=np.float32).reshape(4, 3)
    return _model(helper.make_node("MatMul", ["x", "w"], ["y"]), weights={"w": w})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImportModelError, match="no such file"):
        read_model(tmp_path / "none.onnx")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ImportModelError, match="a folder"):
        read_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello, world", b"\x08\x08\x12"])
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(ImportModelError, match="not an ONNX file") as caught:
        read_model(path)
    assert "\n" not in str(caught.value)


def test_truncated(tmp_path: Path, linear: onnx.ModelProto) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(linear.SerializeToString()[:-20])
    with pytest.raises(ImportModelError):
        read_model(path)


def test_unnamed_and_equal_names_become_unique(linear: onnx.ModelProto) -> None:
    del linear.graph.node[:]
    linear.graph.node.extend(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"], name="same"),
            helper.make_node("Relu", ["b"], ["y"], name="same"),
        ]
    )
    names = [node.name for node in model_from_proto(linear).graph.nodes]
    assert len(set(names)) == 3
    assert "same" in names
    assert names == [node.name for node in model_from_proto(linear).graph.nodes]


def test_metadata_and_node_metadata_survive(linear: onnx.ModelProto) -> None:
    linear.metadata_props.add(key="author", value="someone")
    linear.producer_name = "exporter"
    linear.graph.node[0].metadata_props.add(key="place", value="head")
    again = proto_from_model(clone_model(model_from_proto(linear)))
    assert [(p.key, p.value) for p in again.metadata_props] == [("author", "someone")]
    assert again.producer_name == "exporter"
    assert [(p.key, p.value) for p in again.graph.node[0].metadata_props] == [("place", "head")]


def test_subgraphs_come_back_as_they_were() -> None:
    inner = helper.make_graph(
        [helper.make_node("Add", ["a", "w"], ["out"], name="inner")],
        "then", [], [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )  # fmt: skip
    proto = _model(
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("ReduceMax", ["a"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
        weights={"w": np.ones(4, np.float32), "zero": np.zeros((), np.float32)},
    )
    again = proto_from_model(model_from_proto(proto))
    assert again.graph.node[3].attribute == proto.graph.node[3].attribute
    assert count_params(again) == count_params(proto)
    x = {"x": np.ones((1, 4), np.float32)}
    before, after = (
        ort.InferenceSession(p.SerializeToString()).run(None, x) for p in (proto, again)
    )
    assert np.array_equal(before[0], after[0])


def test_initializers_that_are_inputs_become_constants(linear: onnx.ModelProto) -> None:
    linear.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    model = model_from_proto(linear)
    assert [t.name for t in model.graph.inputs] == ["x"]
    assert "1 graph input with an initializer removed" in model.remarks[0]
    assert "w" in model.constants()


def test_params_count_indices_and_constant_nodes() -> None:
    proto = _model(
        helper.make_node("Constant", [], ["i"], value_ints=[0, 2]),
        helper.make_node("Gather", ["x", "i"], ["g"], axis=1),
        helper.make_node("MatMul", ["g", "w"], ["y"]),
        weights={"w": np.ones((2, 5), np.float32)},
    )
    assert count_params(proto) == 2 + 10


def test_write_is_whole_or_not_at_all(tmp_path: Path, linear: onnx.ModelProto) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_proto(linear, tmp_path / "none" / "a.onnx")
    size = write_model(model_from_proto(linear), tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").stat().st_size == size
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_large_models_keep_their_weights_beside_them(
    tmp_path: Path, linear: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_io, "EXTERNAL_BYTES", 1000)
    linear.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.random.default_rng(0).random((4, 300), np.float32), "w")
    )
    expected = numpy_helper.to_array(linear.graph.initializer[0]).copy()
    path = tmp_path / "a.onnx"
    write_proto(linear, path)
    assert {p.name for p in tmp_path.iterdir()} == {"a.onnx", "a.onnx.data"}
    again = read_model(path)
    assert np.array_equal(again.constants()["w"], expected)
