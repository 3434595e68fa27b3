"""A run without any data trains on noise, and says so."""

from collections.abc import Callable

from acgraph.config import CompressConfig
from acgraph.data.noise import WARNING
from acgraph.driver.compress import compress

Configure = Callable[..., CompressConfig]


def test_noise_is_trained_on_with_a_warning(configure: Configure) -> None:
    said: list[str] = []
    config = configure(data="noise:80", eval_data=None, target_rate="1.5x", epochs=1.0, rounds=1)
    report = compress(config, say=said.append)
    assert WARNING in report.warnings
    assert any("no labels, agreement with the original on 8 images counts" in line for line in said)
    assert said[0].startswith("output ")
    assert report.target.met
    assert report.verify.passed
