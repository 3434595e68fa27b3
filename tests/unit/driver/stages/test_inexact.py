"""Networks with a normalisation over an axis that could be cut."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.report import Report

Configure = Callable[..., CompressConfig]


@pytest.fixture(scope="module")
def normalised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemm, LayerNormalization over its features, Gemm, Gemm."""
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> TensorProto:
        value = rng.standard_normal(shape) / np.sqrt(shape[0])
        return numpy_helper.from_array(value.astype(np.float32), name)

    weights = [
        constant("w1", 784, 24), constant("scale", 24), constant("shift", 24),
        constant("w2", 24, 20), constant("b2", 20), constant("w3", 20, 10),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "w1"], ["a"], "fc1"),
        helper.make_node("LayerNormalization", ["a", "scale", "shift"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["r"], "relu1"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["c"], "fc2"),
        helper.make_node("Relu", ["c"], ["s"], "relu2"),
        helper.make_node("Gemm", ["s", "w3"], ["y"], "fc3"),
    ]
    graph = helper.make_graph(
        nodes,
        "normalised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    path = tmp_path_factory.mktemp("normalised") / "model.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def _widths(report: Report) -> dict[str, int]:
    return {layer.name: layer.filters[1] for layer in report.layers}


def test_inexact_families_are_not_cut_unless_told(configure: Configure, normalised: Path) -> None:
    config = configure(model=str(normalised), target_rate="1.02x")
    report = compress(config)
    assert report.verify.passed
    assert _widths(report)["fc1"] == 24
    assert _widths(report)["fc2"] < 20
    assert not report.verify.notes


def test_inexact_cuts_are_compared_with_what_was_trained(
    configure: Configure, normalised: Path
) -> None:
    config = configure(model=str(normalised), target_rate="2x", allow_inexact=True)
    report = compress(config)
    assert report.target.met
    assert report.verify.passed
    assert _widths(report)["fc1"] < 24
    assert "inexact cuts, as allowed" in report.verify.notes[0]
    assert "fc1" in report.verify.notes[0]
    folder = config.output
    assert not check_equivalence(str(folder / "model.onnx"), str(folder / "masked.onnx")).passed
