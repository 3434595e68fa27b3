from collections.abc import Callable

import pytest

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.models.demo import model_path


@pytest.mark.parametrize("rate", [2.0, 4.0])
def test_size_target_is_met_and_not_overshot(
    configure: Callable[..., CompressConfig], rate: float
) -> None:
    config = configure(target_rate=f"{rate}x", metric="size")
    report = compress(config)
    written = (config.output / "model.onnx").stat().st_size
    assert report.target.met
    assert rate <= model_path().stat().st_size / written < 1.25 * rate
