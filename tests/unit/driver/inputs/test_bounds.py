"""What the user keeps stays through all rounds, training, purification and a resumed run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from acgraph.analysis.layers import layers
from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver.checkpoint.checkpoints import stored_options
from acgraph.driver.compress import compress
from acgraph.errors import AcgraphError, UsageError
from acgraph.ir import read_model

Configure = Callable[..., CompressConfig]


@pytest.fixture
def small(make_net: Any, tmp_path: Path) -> Configure:
    """Makes the options of a run on four convolutions and noise."""
    net = make_net()
    x = net.input(1, 3, 6, 6)
    for number, (i, o) in enumerate([(3, 16), (16, 20), (20, 16), (16, 24)]):
        weights = [net.w(o, i, 3, 3), net.w(o)]
        x = net.op("Relu", net.op("Conv", x, *weights, name=f"body.{number}", pads=[1] * 4))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    onnx.save(net.proto(net.gemm(x, 24, 4)), str(tmp_path / "net.onnx"))
    images = np.random.default_rng(0).standard_normal((48, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "images.npz", x=images)

    def make(*settings: str, **options: Any) -> CompressConfig:
        values = {
            "model": str(tmp_path / "net.onnx"), "data": str(tmp_path / "images.npz"),
            "target_rate": "3x", "epochs": 0, "timing": False, "threads": 1,
            "output": tmp_path / "out",
        }  # fmt: skip
        fast = ("search.evaluations=2", "train.precision=fp32", "train.channels_last=false")
        return make_config(values | options, settings=(*fast, *settings))

    return make


def _matrices(path: Path | str) -> dict[str, tuple[int, int]]:
    """Filters and columns of every layer of a file, however it is written."""
    found: dict[str, tuple[int, int]] = {}
    for layer in layers(read_model(path)):
        name = layer.name.partition("/")[0]
        found[name] = (layer.filters, found.get(name, (0, 0))[1] + layer.columns)
    return found


def test_bounds_hold_through_rounds_and_training(small: Configure) -> None:
    config = small(
        "admm.updates=2", epochs=2, rounds=2, keep=["body.1"], layer_rate={"body.2": "1.25x"}
    )
    report = compress(config)
    after = _matrices(config.output / "model.onnx")
    assert after["body.0"][0] == 16, "its filters are what the kept layer reads"
    assert after["body.1"] == (20, 144)
    assert after["body.2"] == (13, 144)
    assert after["body.3"][0] < 20
    kept = [fence.reason for fence in report.fences if fence.node == "body.1"]
    assert kept == ["kept by --keep 'body.1'"]


def test_a_bound_of_all_layers_holds(small: Configure) -> None:
    config = small(max_layer_rate="1.5x", rounds=2)
    compress(config)
    after = _matrices(config.output / "model.onnx")
    for name, (filters, columns) in _matrices(config.model).items():
        assert after[name][0] >= filters / 1.5
        assert after[name][1] >= columns / 1.5
    assert after["body.1"][0] < 20


def test_a_resumed_run_keeps_what_was_kept(
    small: Configure, swap_stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(keep=["body.1"], rounds=2)
    with monkeypatch.context() as patch:
        swap_stage(patch, "purify", _fail)
        with pytest.raises(AcgraphError, match="interrupted here"):
            compress(config)
    again = make_config({"resume": config.output}, stored=stored_options)
    assert again.keep == ("body.1",)
    compress(again)
    assert _matrices(config.output / "model.onnx")["body.1"] == (20, 144)
    with pytest.raises(UsageError, match="was started with keep"):
        compress(make_config({"resume": config.output, "keep": ["*"]}, stored=stored_options))


def _fail(*_: Any) -> None:
    raise AcgraphError("interrupted here")


def test_options_read_what_the_command_line_says() -> None:
    config = make_config(
        {"model": "m.onnx", "target_rate": 2, "keep": "head*", "layer_rate": ["a=b=1.5x", "c=2"]}
    )
    assert config.keep == ("head*",)
    assert {k: v.value for k, v in config.layer_rate.items()} == {"a=b": 1.5, "c": 2.0}
    with pytest.raises(UsageError, match="has no pattern that names layers; write PATTERN=RATE"):
        make_config({"model": "m.onnx", "target_rate": 2, "layer_rate": "2x"})
    with pytest.raises(UsageError, match=r"at least 1, not 0\.5"):
        make_config({"model": "m.onnx", "target_rate": 2, "max_layer_rate": 0.5})
