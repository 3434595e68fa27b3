"""What ``acgraph compress`` does where data, a weight or the loss is not finite."""

import json
import re

import numpy as np
import onnx
import pytest

from acgraph.cli.main import run
from acgraph.ir import read_model, write_model
from acgraph.models.demo import load_data, model_path, normalise
from acgraph.models.resnet import resnet_cifar


@pytest.fixture(scope="module")
def loaded():
    x, y, *_ = load_data()
    return normalise(x[:96]), y[:96].astype(np.int64)


@pytest.fixture
def images(loaded):
    return loaded[0].copy(), loaded[1]


@pytest.fixture
def small(tmp_path):
    """A network like that of the demo; most of a run on that one is measuring its wide layers."""
    file = tmp_path / "small.onnx"
    model = resnet_cifar(8, channels=1, image=28, widths=(4, 8, 8), keep_batchnorm=False)
    write_model(model, file)
    return file


def compress(tmp_path, model, images, *options):
    file = tmp_path / "images.npz"
    np.savez(file, x=images[0], y=images[1])
    return run(
        ["compress", str(model), "--data", str(file), "--target-rate", "1.5x", "--rounds", "1",
         "--evaluations", "1", "--no-timing", "--threads", "1", "-o", str(tmp_path / "out"),
         "--set", "train.precision=fp32", "--set", "train.channels_last=false", *options]
    )  # fmt: skip


def last_line(capsys):
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_data_that_is_not_finite(tmp_path, small, images, capsys):
    images[0][41].flat[3] = np.inf
    assert compress(tmp_path, small, images, "--epochs", "1") == 1
    assert re.match(r"error: .*images\.npz: .*41", last_line(capsys))


def test_a_weight_that_is_not_finite(tmp_path, images, capsys):
    model = onnx.load(str(model_path()))
    (weight, *_) = (t for t in model.graph.initializer if len(t.dims) == 4)
    values = np.array(onnx.numpy_helper.to_array(weight))
    values.flat[2] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, str(tmp_path / "bad.onnx"))
    assert compress(tmp_path, tmp_path / "bad.onnx", images, "--epochs", "1") == 1
    expected = (
        rf"error: .*bad\.onnx: node '.+' \(Conv\): weight '{re.escape(weight.name)}' contains nan"
    )
    assert re.match(expected, last_line(capsys))


def test_a_run_survives_training_that_diverges_at_any_rate(tmp_path, small, images, capsys):
    code = compress(
        tmp_path, small, images, "--epochs", "4", "--batch-size", "32",
        "--learning-rate", "1e25", "--set", "train.schedule=constant",
        "--set", "admm_share=0.2", "--set", "retrain_share=0.2",
    )  # fmt: skip
    assert code == 0, last_line(capsys)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    for what in ("round 1: ADMM", "round 1: retrain", "fine-tune"):
        assert any(
            re.match(rf"{what}: .* at step \d+ .* the previous weights are kept", text)
            for text in report["warnings"]
        ), what
    model = read_model(tmp_path / "out" / "model.onnx")
    floats = [v for v in model.constants().values() if v.dtype.kind == "f"]
    assert all(np.isfinite(value).all() for value in floats)
