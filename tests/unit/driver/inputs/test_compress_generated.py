"""A run without any data trains on inputs that are made, and says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from acgraph.config import CompressConfig
from acgraph.data.generated import generated_data_warning
from acgraph.driver.compress import compress

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
