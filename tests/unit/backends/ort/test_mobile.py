"""Files for phones: the same function, converted whole or not at all."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.mobile import check_usability, write_ort
from acgraph.backends.ort.session import Session
from acgraph.errors import BackendError, ImportModelError, OutputError

ConvNet = Callable[..., onnx.ModelProto]


def test_the_ort_file_computes_the_same(
    net_path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = list(logging.getLogger().handlers)
    config = write_ort(net_path, tmp_path / "out.ort")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    plain, mobile = Session(net_path), Session(tmp_path / "out.ort")
    for seed in range(3):
        feeds = random_inputs(plain, seed=seed, batch=2)
        np.testing.assert_allclose(
            mobile.run(feeds)["logits"], plain.run(feeds)["logits"], rtol=1e-5, atol=1e-5
        )
    assert config == tmp_path / "out.required_operators_and_types.config"
    text = config.read_text()
    assert "com.microsoft;1;FusedConv" in text
    assert 'Gemm{"inputs": {"0": ["float"]}}' in text
    assert str(tmp_path) not in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.onnx", "out.ort", config.name]


def test_any_ending_and_weights_beside_the_file(conv_net: ConvNet, tmp_path: Path) -> None:
    for name in ("net.optimized.onnx", "net.model", "large.onnx"):
        onnx.save(
            conv_net(),
            tmp_path / name,
            save_as_external_data=name == "large.onnx",
            location="w.bin",
            size_threshold=0,
        )
        write_ort(tmp_path / name, tmp_path / "out.ort")
        assert Session(tmp_path / "out.ort").inputs[0].name == "x"


def test_what_cannot_be_converted_leaves_nothing(tmp_path: Path, net_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ImportModelError, match="no such file"):
        write_ort(tmp_path / "none.onnx", tmp_path / "out.ort")
    with pytest.raises(BackendError, match=r"cannot convert the model to \.ort: ") as caught:
        write_ort(bad, tmp_path / "out.ort")
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError):
        write_ort(net_path, tmp_path / "no" / "folder" / "out.ort")
    assert sorted(tmp_path.iterdir()) == before


def test_usability_knows_fixed_from_dynamic_shapes(conv_net: ConvNet, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(conv_net(batch="N"), path)
    free = check_usability(path)
    assert free.verdicts["NNAPI"] == "NO"
    assert free.verdicts_fixed["NNAPI"] == "YES"
    onnx.save(conv_net(batch=1), path)
    fixed = check_usability(path)
    assert fixed.verdicts["NNAPI"] == "YES"
    assert fixed.verdicts_fixed.get("NNAPI", "YES") == "YES"
    assert set(fixed.verdicts) == {"NNAPI", "CoreML NeuralNetwork", "CoreML MLProgram"}
    assert "partition" in fixed.text


def test_usability_of_no_model(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(BackendError, match="usability checker failed"):
        check_usability(bad)
