"""Data that a run cannot learn from, or whose figures would deceive, is refused or told."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.inputs.data import open_data
from acgraph.errors import DataError, UsageError
from acgraph.ir import read_model
from acgraph.models.demo import load_data, model_path, normalise

Configure = Callable[..., CompressConfig]


def test_what_is_missing_of_two_inputs_is_said_in_one_line(
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
    file = tmp_path / "one.npz"
    np.savez(file, left=np.zeros((8, 1, 28, 28), np.float32))
    with pytest.raises(DataError) as caught:
        open_data(configure(data=str(file)), read_model(tmp_path / "two.onnx"))
    assert str(caught.value) == (
        f"{file}: an array is missing for input 'right', float32 [N, 1, 28, 28]; give an array for "
        "each input of the model, under the name of the input"
    )


@pytest.mark.parametrize(
    ("data", "evaluation"),
    [
        ("", ""),
        ("#x,y", ""),
        ("#x[:40],y[:40]", "#x[39:],y[39:]"),
        ("#x[-20:],y[-20:]", "#x,y"),
        ("#x[::2],y[::2]", "#x[::3],y[::3]"),
    ],
)
def test_training_images_are_not_evaluated_on(
    configure: Configure, tmp_path: Path, data: str, evaluation: str
) -> None:
    file, link = _some(tmp_path, 60), tmp_path / "link.npz"
    link.symlink_to(file)
    config = configure(data=f"{file}{data}", eval_data=f"{link}{evaluation}")
    with pytest.raises(UsageError, match="accuracy would be measured on training examples"):
        open_data(config, read_model(model_path()))


@pytest.mark.parametrize(
    ("data", "evaluation"), [("#x[:40],y[:40]", "#x[40:],y[40:]"), ("#x[::2],y[::2]", "#x[1::2]")]
)
def test_other_rows_of_a_file_are_evaluated_on(
    configure: Configure, tmp_path: Path, data: str, evaluation: str
) -> None:
    file = _some(tmp_path, 60)
    found = open_data(
        configure(data=f"{file}{data}", eval_data=f"{file}{evaluation}"), read_model(model_path())
    )
    assert len(found.train) + len(found.select) + len(found.report) == 60


@pytest.mark.parametrize(
    ("count", "separate", "message"),
    [
        (1, True, "1 example, but one half selects the network .* give at least 2"),
        (2, False, "2 of 2 examples are held out .* leaves none for training"),
        (1, False, "leaves none for training; give more examples, or give --eval-data"),
    ],
)
def test_too_little_data_is_refused_in_one_line(
    configure: Configure, images: Path, tmp_path: Path, count: int, separate: bool, message: str
) -> None:
    few = str(_some(tmp_path, count))
    config = configure(data=few, eval_data=None)
    if separate:
        config = configure(eval_data=few)
    with pytest.raises(UsageError, match=message) as caught:
        open_data(config, read_model(model_path()))
    assert "\n" not in str(caught.value)


def test_few_reported_images_are_warned_of(configure: Configure, tmp_path: Path) -> None:
    config = configure(eval_data=str(_some(tmp_path, 21)), target_rate="1x", epochs=0)
    report = compress(config)
    assert report.warnings == (
        "accuracy is measured on only 10 examples, so that each of them counts for 10 points",
    )
    again = compress(config.model_copy(update={"resume": config.output}))
    assert again.warnings == report.warnings


def _some(folder: Path, count: int) -> Path:
    x, y, _, _ = load_data()
    file = folder / "few.npz"
    np.savez(file, x=normalise(x[-count:]), y=y[-count:].astype(np.int64))
    return file


def _network(folder: Path, shape: Sequence[int | str]) -> str:
    """Write a network whose classes are the channels: what it computes is no matter here."""
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape[:2])
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        onnx.helper.make_node("Flatten", ["mean"], ["y"]),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, str(folder / "any.onnx"))
    return str(folder / "any.onnx")


def test_pixels_come_as_the_options_say(configure: Configure, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 5, 3, 3)).astype(np.uint8)
    np.savez(tmp_path / "pixels.npz", x=pixels)
    path = _network(tmp_path, ["N", "a", "b", "c"])
    spec = str(tmp_path / "pixels.npz")
    mean, std, scale = (1.0, 2.0, 3.0), (2.0, 4.0, 8.0), 0.5
    config = configure(
        model=path, data=f"{spec}#x[:4]", eval_data=f"{spec}#x[4:]",
        mean=mean, std=std, scale=scale, layout="NHWC",
    )  # fmt: skip
    found = open_data(config, read_model(path)).train.batch(np.arange(4)).x
    expected = (pixels[:4] * scale - mean) / std
    assert np.allclose(found, expected, atol=1e-5)
    transposed = config.model_copy(update={"layout": "NCHW"})
    found = open_data(transposed, read_model(path)).train.batch(np.arange(4)).x
    assert np.allclose(found, expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_images_of_a_folder_come_in_the_size_that_is_stated(
    configure: Configure, tmp_path: Path
) -> None:
    for name in ("ant", "cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (20, 10)).save(tmp_path / "images" / name / f"{number}.png")
    path = _network(tmp_path, ["N", 3, "h", "w"])
    config = configure(
        model=path, data=str(tmp_path / "images"), eval_data=None, mean=(0.5,), std=(0.5,),
        image_size=12,
    )  # fmt: skip
    found = open_data(config, read_model(path)).train.batch(np.arange(2)).x
    assert found.shape == (2, 3, 12, 12)
