"""A run without any data trains on inputs that are made, and says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from acgraph.config import CompressConfig
from acgraph.data import first_example
from acgraph.data.generated import generated_data_warning
from acgraph.driver.compress import compress
from acgraph.driver.inputs.data import open_data
from acgraph.ir import read_model

Configure = Callable[..., CompressConfig]


@pytest.mark.parametrize("data", ["noise:80", "synthetic:80"])
def test_made_inputs_are_trained_on_with_a_warning(configure: Configure, data: str) -> None:
    said: list[str] = []
    config = configure(data=data, eval_data=None, target_rate="1.5x", epochs=1.0, rounds=1)
    report = compress(config, status=said.append)
    assert generated_data_warning(data) in report.warnings
    assert any("scored by their agreement with the original on 8 images" in line for line in said)
    assert said[0].startswith("output ")
    assert report.target.met
    assert report.verify.passed


def test_without_data_the_inputs_are_synthetic(configure: Configure, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 28, 28, 1), np.uint8)
    np.savez(tmp_path / "val.npz", x=pixels, y=np.arange(20) % 10)
    config = configure(
        data=None, eval_data=str(tmp_path / "val.npz"), mean=(0.5,), std=(0.5,),
        target_rate="1.5x", epochs=0.01,
    )  # fmt: skip
    assert config.data == "synthetic"
    report = compress(config)
    assert generated_data_warning("synthetic") in report.warnings
    assert report.measure == "accuracy"  # the evaluation data is real


@pytest.mark.parametrize("is_training_real", [True, False])
def test_generated_data_has_the_sizes_of_the_real_data(
    configure: Configure, tmp_path: Path, is_training_real: bool
) -> None:
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3, "H", "W"])
        for name in "xy"
    )
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset), str(tmp_path / "open.onnx"))
    np.savez(tmp_path / "real.npz", x=np.zeros((8, 3, 40, 56), np.float32))
    specs = [str(tmp_path / "real.npz"), "synthetic:4"]
    data, evaluation = specs if is_training_real else specs[::-1]
    model = read_model(tmp_path / "open.onnx")
    opened = open_data(configure(data=data, eval_data=evaluation), model)
    assert model.sizes is not None
    assert model.sizes.shapes == {"x": (1, 3, 40, 56)}
    assert {first_example(part).inputs["x"].shape for part in (opened.train, opened.report)} == {
        (1, 3, 40, 56)
    }
