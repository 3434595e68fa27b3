"""Data that a run cannot learn from, or whose figures would deceive, is refused or told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from acgraph.config import CompressConfig
from acgraph.driver.inputs import open_data
from acgraph.errors import UsageError
from acgraph.ir import read_model
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]


def test_a_network_of_two_inputs_is_refused_in_one_line(
    configure: Configure, tmp_path: Path
) -> None:
    pair = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 1, 28, 28])
        for name in ("left", "right")
    ]
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 1, 28, 28])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["left", "right"], ["y"])], "g", pair, [out]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, str(tmp_path / "two.onnx"))
    with pytest.raises(UsageError) as caught:
        open_data(configure(), read_model(tmp_path / "two.onnx"))
    assert str(caught.value) == (
        f"{tmp_path / 'two.onnx'}: has 2 inputs (left, right), compress trains networks of one; "
        "make the others constants; acgraph prune takes any number"
    )
