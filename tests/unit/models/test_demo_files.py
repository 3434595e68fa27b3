"""The files of the demo: the network is as good as stated, the images are what they should be."""

import gzip
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from acgraph.analysis.cost import file_cost
from acgraph.data import load_dataset
from acgraph.errors import DataError
from acgraph.ir import proto_from_model
from acgraph.models import demo, train_demo
from acgraph.models.embed_demo import compressed, draw
from acgraph.models.fashion_mnist import load_split, read_idx

FOLDER = Path(demo.__file__).parent
ORIGINALS = Path("/usr/share/datasets/fashion-mnist")


def outputs(x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(demo.model_path(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"input": x})[0]
    return result


def test_images_are_stored_as_described() -> None:
    x_train, y_train, x_test, y_test = demo.load_data()
    assert (x_train.shape, x_test.shape) == ((12_000, 28, 28), (5_000, 28, 28))
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        assert images.dtype == labels.dtype == np.uint8
        assert (images.min(), images.max()) == (0, 255)
        shares = np.bincount(labels, minlength=10) / len(labels)
        assert len(shares) == len(demo.CLASSES) == 10
        assert shares.min() > 0.08
        assert shares.max() < 0.12


def test_no_test_image_is_among_the_training_images() -> None:
    x_train, _, x_test, _ = demo.load_data()
    train = {image.tobytes() for image in x_train}
    assert not any(image.tobytes() in train for image in x_test)


def test_specs_hold_the_stored_images_as_the_network_takes_them() -> None:
    x_train, y_train, x_test, y_test = demo.load_data()
    ((x, y),) = demo.train()
    assert x.shape == (12_000, 1, 28, 28)
    assert (x.dtype.name, y.dtype.name) == ("float32", "int64")
    assert x.mean() == pytest.approx(0.0, abs=0.02)
    assert x.std() == pytest.approx(1.0, abs=0.02)
    np.testing.assert_array_equal(np.rint((x[:, 0] * demo.std + demo.mean) * 255), x_train)
    np.testing.assert_array_equal(y, y_train)
    (select, select_labels), (report, report_labels) = demo.select()[0], demo.report()[0]
    assert (len(select), len(report)) == (2_000, 3_000)
    np.testing.assert_array_equal(np.concatenate([select, report]), demo.normalise(x_test))
    np.testing.assert_array_equal(np.concatenate([select_labels, report_labels]), y_test)


def test_specs_are_data_for_the_command_line() -> None:
    inputs = [("input", ("batch", 1, 28, 28), np.float32)]
    data = load_dataset("acgraph.models.demo:select", inputs=inputs, classes=10)
    assert len(data) == 2_000


def test_files_are_small_and_licensed() -> None:
    total = sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file())
    assert total < 8_000_000
    licence = (FOLDER / "LICENSE.fashion-mnist").read_text(encoding="utf-8")
    assert "MIT License" in licence
    assert "Zalando SE" in licence


def test_network_is_as_accurate_as_stated() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (.*?) \| ([\d.]+) % \|$", readme, re.MULTILINE))
    right = {}
    for name, batches in (("select", demo.select()), ("report", demo.report())):
        ((x, y),) = batches
        right[name] = outputs(x).argmax(1) == y
    measured = {
        "the 5,000 test images here": np.concatenate([right["select"], right["report"]]),
        "the first 2,000 of them, `select`": right["select"],
        "the other 3,000, `report`": right["report"],
    }
    for row, hits in measured.items():
        assert 100 * hits.mean() == pytest.approx(float(rows[row]), abs=0.1), row
        assert hits.mean() > 0.925


def test_network_is_an_ordinary_export() -> None:
    proto = onnx.load(demo.model_path())
    onnx.checker.check_model(proto, full_check=True)
    assert {node.op_type for node in proto.graph.node} == {
        "Add",
        "Conv",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "Relu",
    }
    assert (proto.ir_version, proto.opset_import[0].version) == (8, 17)
    assert "layer1.0.conv1.weight" in {tensor.name for tensor in proto.graph.initializer}
    assert outputs(np.zeros((3, 1, 28, 28), np.float32)).shape == (3, 10)
    cost = file_cost(demo.model_path())
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{cost.params:,} params" in readme
    assert f"{cost.macs / 1e6:.1f} M MACs" in readme


def test_exported_network_computes_what_was_trained() -> None:
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (1024, 28, 28)).astype(np.uint8)
    labels = (images[:, :14].mean((1, 2)) > images[:, 14:].mean((1, 2))).astype(np.int64)
    network = train_demo.train(images, labels, epochs=1, seed=0)
    model = train_demo.demo_model(network)
    session = onnxruntime.InferenceSession(
        proto_from_model(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = demo.normalise(images[:16])
    with torch.inference_mode():
        expected = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(session.run(None, {"input": x})[0], expected, rtol=1e-4, atol=1e-4)


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + sizes + array.tobytes())


def test_published_files_are_read_and_drawn_from(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)
    labels = np.arange(6, dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx(images))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    loaded, loaded_labels = load_split(tmp_path, "train")
    np.testing.assert_array_equal(loaded, images)
    assert loaded_labels.dtype == np.int64
    drawn, drawn_labels = draw(tmp_path, "train", 4, seed=0)
    np.testing.assert_array_equal(drawn, images[drawn_labels])
    assert len(set(drawn_labels.tolist())) == 4
    assert len(compressed(np.zeros((100, 28, 28), np.uint8))) < 1_000


def test_damaged_and_missing_files_are_one_line_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    with pytest.raises(DataError, match="No such file"):
        read_idx(path)
    path.write_bytes(b"not gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(path)
    path.write_bytes(idx(np.zeros((2, 3), np.uint8))[:-12])
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(path)
    path.write_bytes(gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x09short"))
    with pytest.raises(DataError, match="not an IDX file"):
        read_idx(path)


@pytest.mark.skipif(not ORIGINALS.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_stored_images_are_the_published_ones() -> None:
    x_train, y_train, x_test, y_test = demo.load_data()
    for (images, labels), drawn in (
        ((x_train, y_train), draw(ORIGINALS, "train", len(x_train), seed=0)),
        ((x_test, y_test), draw(ORIGINALS, "t10k", len(x_test), seed=0)),
    ):
        np.testing.assert_array_equal(images, drawn[0])
        np.testing.assert_array_equal(labels, drawn[1])
