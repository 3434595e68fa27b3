"""What is measured of the two files, against numbers counted from them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from acgraph.config import CompressConfig
from acgraph.data import ArrayDataset
from acgraph.driver.outcome import measure_sides
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]
IMAGES = np.random.default_rng(1).standard_normal((4, 1, 28, 28)).astype(np.float32)


def test_weights_beside_the_file_are_part_of_its_bytes(
    configure: Configure, tmp_path: Path
) -> None:
    split = tmp_path / "split.onnx"
    model = onnx.load(str(model_path()))
    onnx.save(
        model, str(split), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    both = split.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    before, after = measure_sides(configure(), split, model_path(), ArrayDataset(IMAGES))
    assert before.bytes == pytest.approx(both, rel=0.05)
    assert before.bytes == pytest.approx(after.bytes, rel=0.05)
    assert before.params == after.params
