"""``inspect`` shows what is inside the branches of an If, under the name of the branch."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node


def _value(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One branch has two layers, the other none."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((4, 6)).astype(np.float32),
        "w2": rng.standard_normal((6, 4)).astype(np.float32),
    }
    then = helper.make_graph(
        [node("MatMul", ["x", "w1"], ["a"], "fc1"), node("MatMul", ["a", "w2"], ["b"], "fc2")],
        "then", [], [_value("b", 1, 4)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    other = helper.make_graph([node("Relu", ["x"], ["r"], "relu")], "else", [], [_value("r", 1, 4)])
    choice = node("If", ["c"], ["y"], "choice", then_branch=then, else_branch=other)
    inputs = [_value("x", 1, 4), _value("c", kind=TensorProto.BOOL)]
    graph = helper.make_graph([choice], "g", inputs, [_value("y", 1, 4)])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_layers_and_coupled_sets_of_branches_are_listed(acgraph, path: Path) -> None:
    found = json.loads(acgraph("inspect", path, "--format", "json")[0])
    layers = [(layer["name"], layer["macs"]) for layer in found["layers"]]
    assert layers == [("choice/then/fc1", 24), ("choice/then/fc2", 24)]
    (hidden,) = [family for family in found["families"] if family["prunable"]]
    assert hidden["name"] == "choice/then/fc1"
    assert {cut["tensor"] for cut in hidden["cuts"]} == {"choice/then/w1", "choice/then/w2"}


def test_why_explains_a_layer_of_a_branch(acgraph, path: Path) -> None:
    out, _ = acgraph("inspect", path, "--why", "choice/then/fc2")
    assert "fc1: 6 coupled sets, free to cut" in out
    _, err = acgraph("inspect", path, "--why", "choice/then/fc3", code=2)
    assert "did you mean 'fc" in err
