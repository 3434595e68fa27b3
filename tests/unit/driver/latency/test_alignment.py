"""``align auto``: the step of a runtime whose blocks are known, and what is done with it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver.compress import compress
from acgraph.driver.latency.alignment import STEPS, measure_align
from acgraph.driver.network import Network
from acgraph.driver.space.space import open_space
from acgraph.errors import UsageError
from acgraph.ir import Model, read_model
from acgraph.lowering.chooser import TimingChooser
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]


class Blocks:
    """Stands for a runtime that computes filters and channels in blocks of so many."""

    def __init__(self, block: int, noise: float = 0.0) -> None:
        self.block = block
        self.noise = noise
        self.calls = 0
        self.rng = np.random.default_rng(block)

    def __call__(self, models: list[Model]) -> list[float]:
        self.calls += 1
        return [self._time(model) for model in models]

    def _time(self, model: Model) -> float:
        (weight,) = [w for w in model.constants().values() if w.ndim == 4]
        filters, channels, *kernel = weight.shape
        whole = math.ceil(filters / self.block) * math.ceil(channels / self.block) * self.block**2
        jitter = 1 + self.noise * self.rng.standard_normal()
        return float((5.0 + 0.01 * whole * math.prod(kernel)) * jitter)


def _chooser(tmp_path: Path, clock: Blocks) -> TimingChooser:
    return TimingChooser(time=clock, runtime="r", cache_dir=tmp_path)


@pytest.mark.parametrize("block", STEPS)
@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_the_block_of_the_runtime_is_found(tmp_path: Path, block: int, noise: float) -> None:
    assert measure_align(_chooser(tmp_path, Blocks(block, noise))) == block


def test_it_is_remembered(tmp_path: Path) -> None:
    clock = Blocks(8)
    assert measure_align(_chooser(tmp_path, clock)) == measure_align(_chooser(tmp_path, clock)) == 8
    assert clock.calls == 1


@pytest.fixture
def blocks_of_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Time alignment by a clock whose blocks have 8; return the threads that it was asked for."""
    threads: list[int] = []

    def chooser(*, settings: Any) -> TimingChooser:
        threads.append(settings.threads)
        return _chooser(tmp_path / "cache", Blocks(8))

    monkeypatch.setattr("acgraph.driver.opening.timing_chooser", chooser)
    return threads


def test_the_run_keeps_multiples_of_it_and_can_go_on(
    configure: Configure, blocks_of_8: list[int]
) -> None:
    options: dict[str, Any] = {
        "target_rate": "1.5x", "align": "auto", "columns": {"enabled": False}, "epochs": 0,
    }  # fmt: skip
    config = configure("purify=false", timing=True, **options)
    lines: list[str] = []
    report = compress(config, status=lines.append)
    assert [
        line for line in lines if line.startswith("align: filters are kept in multiples of 8, ")
    ]
    assert blocks_of_8 == [1]
    cut = [layer.filters for layer in report.layers if layer.filters[0] != layer.filters[1]]
    assert cut
    assert {after % 8 for _, after in cut} == {0}
    again = config.model_copy(update={"resume": config.output})
    assert compress(again).after.params == report.after.params


def test_auto_needs_the_clock() -> None:
    values = {"model": "a", "target_rate": "2x", "align": "auto"}
    assert make_config(values).align == "auto"
    with pytest.raises(UsageError, match="align is auto, but timing is off"):
        make_config({**values, "timing": False})


@pytest.mark.parametrize("given", ["0", "-4", "some", "2.5"])
def test_a_step_is_a_number_or_auto(given: str) -> None:
    values = {"model": "a", "target_rate": "2x"}
    assert make_config({**values, "align": "12"}).align == 12
    with pytest.raises(UsageError, match="align: must be auto or a positive number of filters"):
        make_config({**values, "align": given})


def test_nothing_is_opened_with_a_step_that_is_not_known() -> None:
    config = make_config({"model": "a", "target_rate": "2x", "align": "auto"})
    with pytest.raises(UsageError, match="no multiple has been measured"):
        open_space(Network(read_model(model_path())), config)
