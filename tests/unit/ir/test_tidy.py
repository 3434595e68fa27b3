"""Whatever ONNX Runtime loads is read, and whatever is written the checker and we take."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from acgraph.cli.main import app
from acgraph.errors import ImportModelError
from acgraph.ir import infer_facts, model_from_proto, proto_from_model, read_model, write_model

Info = onnx.ValueInfoProto
X = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)


def _value(name: str, *shape: int | str | None) -> Info:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _net(x: Info | None = None, y: Info | None = None) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "w2"], ["y"], "second", pads=[1] * 4),
    ]
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype("f4"), name)
        for name, shape in (("w1", (16, 3, 3, 3)), ("w2", (4, 16, 3, 3)))
    ]
    ends = x or _value("x", "n", 3, 8, 8), y or _value("y", "n", 4, 8, 8)
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _bare(name: str) -> Info:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _reversed(proto: onnx.ModelProto) -> None:
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _unnamed(proto: onnx.ModelProto) -> None:
    proto.graph.name = ""


def _default_domain(proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        node.domain = "ai.onnx"


def _other_domain(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Gelu", "com.microsoft"


def _late_operator(proto: onnx.ModelProto) -> None:
    """A LayerNormalization at opset 13, as ONNX Runtime's optimiser writes it."""
    proto.opset_import[0].version = 13
    proto.graph.node[1].CopyFrom(
        helper.make_node("LayerNormalization", ["a", "s"], ["b"], "relu", axis=-1)
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(8, np.float32), "s"))


def _no_output_shape(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].CopyFrom(_bare("y"))


def _no_output_type(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].CopyFrom(Info(name="y"))


def _no_input_shape(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].CopyFrom(_bare("x"))


def _bare_value_info(proto: onnx.ModelProto) -> None:
    """As onnxruntime's quantiser leaves it: an output is listed among the inner values, too."""
    proto.graph.value_info.append(_bare("y"))


ODD: dict[Callable[[onnx.ModelProto], None], str] = {
    _reversed: "the nodes were not in topological order",
    _unnamed: "the graph had no name",
    _default_domain: "nodes named the default domain",
    _other_domain: "no version of the domain 'com.microsoft' was imported",
    _late_operator: "(1 LayerNormalization)",
    _no_output_shape: "output 'y' has no shape in the file; (?, 4, 8, 8)",
    _no_output_type: "output 'y' has no shape in the file; (?, 4, 8, 8)",
    _no_input_shape: "input 'x' has no shape in the file; (?, 3, ?, ?)",
    _bare_value_info: "",
}


def _run(path: Path) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


@pytest.mark.parametrize("change", ODD, ids=lambda f: f.__name__)
def test_what_onnx_runtime_loads_is_read_pruned_and_written(
    change: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    proto = _net()
    change(proto)
    path, small = tmp_path / "m.onnx", tmp_path / "small.onnx"
    path.write_bytes(proto.SerializeToString())
    expected = _run(path)
    model = read_model(path)
    assert any(ODD[change] in x for x in model.remarks) if ODD[change] else not model.remarks
    write_model(model, tmp_path / "again.onnx")
    np.testing.assert_allclose(_run(tmp_path / "again.onnx"), expected, rtol=1e-4, atol=1e-4)
    for command in (
        ["inspect", path],
        ["prune", path, "-o", small, "--no-ort"],
        ["inspect", small],
    ):
        done = CliRunner().invoke(app, list(map(str, command)))
        assert done.exit_code == 0, done.stderr
    assert _run(small).shape == expected.shape
    written = onnx.load(str(small))
    assert sum(np.prod(t.dims) for t in written.graph.initializer) < 16 * 63
    onnx.checker.check_model(written, full_check=True)
    assert not read_model(small).remarks


def test_the_proto_of_the_caller_stays_as_it_was() -> None:
    proto = _net()
    _reversed(proto)
    before = proto.SerializeToString(deterministic=True)
    model_from_proto(proto)
    assert proto.SerializeToString(deterministic=True) == before


def test_sorting_moves_no_more_than_it_must() -> None:
    names = [f"n{i}" for i in range(8)]
    nodes = [helper.make_node("Relu", ["x"], [name], name) for name in names]
    nodes[2].input[0] = "n6"
    graph = helper.make_graph(nodes, "g", [_value("x", 2)], [_value("n7", 2)])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    order = [node.name for node in model_from_proto(proto).graph.nodes]
    assert order == ["n0", "n1", "n3", "n4", "n5", "n6", "n2", "n7"]


def test_nodes_that_a_subgraph_reads_come_before_it() -> None:
    branch = helper.make_graph([helper.make_node("Relu", ["a"], ["o"])], "b", [], [_value("o", 2)])
    nodes = [
        helper.make_node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch),
        helper.make_node("Neg", ["x"], ["a"], "neg"),
    ]
    inputs = [_value("x", 2), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "g", inputs, [_value("y", 2)])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert [node.name for node in model_from_proto(proto).graph.nodes] == ["neg", "if"]


@pytest.mark.parametrize("command", ["inspect", "prune"])
def test_nodes_in_a_circle_are_refused(command: str, tmp_path: Path) -> None:
    proto = _net()
    proto.graph.node[0].input[0] = "b"
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ImportModelError, match="topologically sorted"):
        read_model(path)
    done = CliRunner().invoke(app, [command, str(path)])
    assert done.exit_code == 1


def test_an_input_of_unknown_rank_is_said_and_stops_nobody() -> None:
    proto = _net()
    _no_input_shape(proto)
    proto.graph.node.insert(0, helper.make_node("Trilu", ["x"], ["z"], "odd"))
    proto.graph.node[1].input[0] = "z"
    model = model_from_proto(proto)
    assert model.remarks == ["input 'x' has no shape in the file, and none can be inferred"]
    assert infer_facts(model).unknown[0] == "x"
    assert proto_from_model(model).graph.input == proto.graph.input


def test_an_input_without_a_shape_is_measured_at_the_sizes_that_its_readers_take(
    tmp_path: Path,
) -> None:
    proto = _net()
    _no_input_shape(proto)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    for more in ([], ["--input-shape", "x:1,3,16,16"]):
        done = CliRunner().invoke(app, ["measure", str(path), "--runs", "2", *more])
        assert done.exit_code == 0, done.stderr
