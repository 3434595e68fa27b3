from collections.abc import Callable
from typing import Any

import pytest

from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import FitResult
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress


@pytest.mark.parametrize(("rate", "share"), [("1.5x", 0.4), ("5x", 1.0)])
@pytest.mark.parametrize("metric", ["params", "macs"])
def test_fine_tuning_takes_small_steps_after_a_mild_cut(
    configure: Callable[..., CompressConfig],
    monkeypatch: pytest.MonkeyPatch,
    rate: str,
    share: float,
    metric: str,
) -> None:
    peaks: list[float] = []
    fit = TorchTrainer.fit

    def noted(self: TorchTrainer, **options: Any) -> FitResult:
        if options["description"] == "fine-tune":
            peaks.append(options["learning_rate"])
        return fit(self, **options)

    monkeypatch.setattr(TorchTrainer, "fit", noted)
    said: list[str] = []
    compress(
        configure("train.learning_rate=0.08", target_rate=rate, metric=metric), say=said.append
    )
    assert peaks == [pytest.approx(0.08 * share)]
    assert any("goes up to 0.032 only" in line for line in said) == (share < 1)
