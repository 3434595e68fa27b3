"""A shape inference that fails is counted and said: in facts, and by every command."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.shape_inference
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from acgraph.cli.main import app
from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver.compress import compress
from acgraph.driver.cost.compact import Limit
from acgraph.errors import PassError
from acgraph.ir import infer_facts, model_from_proto, read_model

REASON = "node 'second' (Relu): its shape inference failed (no idea)"


def _net(inputs: list[int | str]) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "w2": (6, 8, 3, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "first"),
        helper.make_node("Relu", ["b"], ["c"], "second"),
        helper.make_node("Conv", ["c", "w2"], ["d"], "conv2", pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], "pool"),
        helper.make_node("Flatten", ["e"], ["y"], "flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [inputs[0], 6])],
        [
            numpy_helper.from_array(rng.standard_normal(s).astype("f4"), k)
            for k, s in shapes.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(_net(["n", 3, 8, 8]), str(tmp_path / "m.onnx"))
    return tmp_path / "m.onnx"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inference that fails for one node."""
    infer = onnx.shape_inference.infer_node_outputs

    def fail(schema: object, node: onnx.NodeProto, *rest: object, **more: object) -> object:
        if node.name == "second":
            raise onnx.shape_inference.InferenceError("[ShapeInferenceError] no idea")
        return infer(schema, node, *rest, **more)

    monkeypatch.setattr(onnx.shape_inference, "infer_node_outputs", fail)


def test_one_failure_is_said_once_and_all_that_follows_is_counted(broken: None) -> None:
    facts = infer_facts(model_from_proto(_net([1, 3, 8, 8])))
    assert facts.unknown[0] == "c"
    assert facts.remarks()[0] == REASON
    assert len(facts.failures) == 1


def test_nothing_is_said_of_a_network_whose_shapes_are_all_found() -> None:
    assert infer_facts(model_from_proto(_net([1, 3, 8, 8]))).remarks() == ()


@pytest.mark.parametrize("command", ["inspect", "prune"])
def test_commands_say_it_in_text_and_json(broken: None, path: Path, command: str) -> None:
    text = CliRunner().invoke(app, [command, str(path)])
    assert f"remark: {REASON}" in text.stdout
    plain = json.loads(CliRunner().invoke(app, [command, str(path), "--format", "json"]).stdout)
    remarks = plain["remarks"] if command == "prune" else plain["model"]["remarks"]
    assert REASON in remarks
    assert any("cannot be inferred" in remark for remark in remarks)


def test_a_cut_whose_macs_are_unknown_names_no_rate(broken: None, path: Path) -> None:
    result = CliRunner().invoke(app, ["prune", str(path)])
    assert "MACs: " in result.stdout
    assert "(rate unknown)" in result.stdout
    plain = json.loads(CliRunner().invoke(app, ["prune", str(path), "--format", "json"]).stdout)
    assert plain["rate"]["macs"] is None
    assert plain["macs_unknown"] == ["conv2"]


def test_unknown_macs_are_within_no_limit(broken: None, path: Path) -> None:
    with pytest.raises(PassError, match="the MACs of 'conv2' became unknown"):
        Limit("macs", 10**12).fits(read_model(path))


def test_compress_warns_and_reports_no_rate_of_macs(
    broken: None, path: Path, tmp_path: Path
) -> None:
    config: CompressConfig = make_config(
        {
            "model": str(path), "target_rate": "1.5x", "data": "noise:64", "epochs": 1,
            "rounds": 1, "timing": False, "threads": 1, "output": tmp_path / "out",
        },
        settings=("search.evaluations=2", "admm.updates=1", "train.precision=fp32"),
    )  # fmt: skip
    report = compress(config)
    assert REASON in report.warnings
    assert report.rate.macs is None
    assert report.after.macs_unknown
