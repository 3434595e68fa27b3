"""Options reach the part that acts by them; what it makes of them is tested beside it."""

from collections.abc import Callable
from typing import Any

import pytest

from acgraph.config import CompressConfig
from acgraph.driver import compress as driver
from acgraph.pruning.rate import Rate


class _SeenError(Exception):
    """Ends a run where everything that is to be seen was."""


def test_the_plan_is_made_of_the_options(
    configure: Callable[..., CompressConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def plan(target: Rate, **options: Any) -> None:
        seen.update(options, target=target.value)
        raise _SeenError

    monkeypatch.setattr("acgraph.driver.stages.plan.plan_schedule", plan)
    asked = {
        "rounds": 3, "epochs": 2.5, "admm_share": 0.25, "retrain_share": 0.125,
        "criterion": "magnitude",
    }  # fmt: skip
    with pytest.raises(_SeenError):
        driver.compress(configure(target_rate="5x", **asked))
    nothing = {
        "time_budget_s": None, "seconds_per_pass": None, "elapsed_s": 0.0, "export_s": 0.0,
    }  # fmt: skip
    assert seen == {"target": 5.0, **asked, **nothing}
