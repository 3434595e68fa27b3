"""How long a run takes is said before it starts, once, and by the clock of this host."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acgraph.backends.select import training_backend
from acgraph.config import CompressConfig
from acgraph.config_sections import SearchConfig
from acgraph.data import ArrayDataset
from acgraph.driver.checkpoint.state_file import read_state
from acgraph.driver.compress import compress
from acgraph.driver.inputs.data import RunData
from acgraph.driver.schedule import pace as timing
from acgraph.driver.schedule.pace import about, estimate, measure_pace, search_limit_s
from acgraph.driver.schedule.plan import MAX_SEARCH_S, Pace, RunSchedule, plan_schedule
from acgraph.ir import Model
from acgraph.pruning.rate import Rate

Configure = Callable[..., CompressConfig]
PACE = Pace(pass_s=60.0, evaluation_s=2.0)


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def lines_of(config: CompressConfig) -> list[str]:
    """What is said until the first round begins."""
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        compress(config, status=lines.append)
    return lines


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, swap_stage: Callable[..., None]) -> list[Model]:
    """Every model whose pace was measured, in order; no round ever begins."""
    found: list[Model] = []

    def measure(_: CompressConfig, __: object, model: Model, *___: object) -> Pace:
        found.append(model)
        return PACE

    monkeypatch.setattr("acgraph.driver.stages.plan.measure_pace", measure)
    swap_stage(monkeypatch, "round", stop)
    return found


def test_a_plan_of_epochs_says_how_long_it_takes(configure: Configure, timed: list[Model]) -> None:
    lines = lines_of(configure(timing=True, epochs=8))
    (said,) = [line for line in lines if line.startswith("time: ")]
    assert "at most about 8 min of training (less as the network shrinks)" in said
    assert "about 4 s of search" in said  # 2 evaluations of 2 s; purification searches nothing
    assert lines.index(said) == 1 + next(i for i, x in enumerate(lines) if x.startswith("plan: "))


def test_nothing_is_timed_where_timing_is_off(configure: Configure, timed: list[Model]) -> None:
    assert not [line for line in lines_of(configure(timing=False)) if line.startswith("time: ")]
    assert timed == []


def test_a_time_budget_says_itself_how_long_it_takes(
    configure: Configure, timed: list[Model]
) -> None:
    lines = lines_of(configure(epochs=None, time_budget="100s"))
    assert not [line for line in lines if line.startswith("time: ")]
    assert len(timed) == 1


def test_a_run_that_goes_on_is_not_timed_again(configure: Configure, timed: list[Model]) -> None:
    config = configure(timing=True, epochs=8)
    first = lines_of(config)
    (stage,) = read_state(config.output / "checkpoints")["stages"]
    assert Pace(**stage["state"]["pace"]) == PACE
    again = lines_of(config.model_copy(update={"resume": config.output}))
    plans = [[x for x in lines if x.startswith("plan: ")] for lines in (first, again)]
    assert plans[0] == plans[1] != []
    assert len(timed) == 1


def test_the_estimate_adds_all_training_and_every_evaluation(configure: Configure) -> None:
    stages = plan_schedule(Rate(64.0), rounds=3, epochs=10.0, admm_share=0.2, retrain_share=0.3)
    config = configure("search.evaluations=5")
    found = estimate(config, stages, PACE)
    assert found.train_s == pytest.approx(10 * 60)
    assert found.search_s == pytest.approx((3 * 5 + 16) * 2)
    without = estimate(configure("search.evaluations=5", "purify=false"), stages, PACE)
    assert without.search_s == pytest.approx(3 * 5 * 2)
    prepared = replace(PACE, preparing_s=7.0)
    assert estimate(config, stages, prepared).search_s == pytest.approx((3 * 5 + 16) * 2 + 3 * 7)
    slow = replace(prepared, evaluation_s=1000.0)
    assert estimate(config, stages, slow).search_s == pytest.approx((3 * 5 + 16) * 1000 + 3 * 7)
    unstated = configure("purify=false").model_copy(update={"search": SearchConfig()})
    assert estimate(unstated, stages, slow).search_s == MAX_SEARCH_S
    more = replace(stages, rates=(8.0,), retrain=2.0)
    assert estimate(config, more, PACE).train_s < found.train_s


class _Clock:
    """Counts the images that training and evaluation take, and takes a fixed time for each."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def test_a_pace_is_that_of_the_images_used(
    configure: Configure, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, fits = _Clock(), []

    class Trainer:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def choose_mode(self) -> None:
            pass

        def fit(self, **options: Any) -> Any:
            fits.append(options)
            clock.now += 1.0
            return type("Fit", (), {"images_per_second": 100.0 + len(fits)})

        def evaluate(self, _: object, limit: int, **__: object) -> float:
            clock.now += 0.01 * limit
            return 0.5

    backend: Any = SimpleNamespace(trainer=Trainer)
    monkeypatch.setattr(timing, "time", clock)
    data = ArrayDataset(np.zeros((640, 1, 28, 28), np.float32), np.zeros(640, np.int64))
    config = configure("criterion=magnitude", "search.recalibrate=3")
    found = measure_pace(
        config, backend, model, model, RunData(train=data, select=data, report=data)
    )
    assert len(fits) == 2  # of a second each: no fit starts after two seconds
    assert found.pass_s == pytest.approx(640 / 102)
    assert found.evaluation_s == pytest.approx(0.01 * (3 * 64 + 640))
    assert fits[0]["epochs"] == pytest.approx(8 / 10)
    assert fits[0]["learning_rate"] <= 1e-6


def test_the_first_run_of_a_network_is_not_what_an_image_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, counts = _Clock(), []

    class Judge:
        def evaluate(self, _: object, limit: int, **__: object) -> float:
            counts.append(limit)
            clock.now += (5.0 if len(counts) == 1 else 0.0) + 0.01 * limit
            return 0.5

    judge: Any = Judge()
    monkeypatch.setattr(timing, "time", clock)
    data = ArrayDataset(np.zeros((640, 1, 28, 28), np.float32), np.zeros(640, np.int64))
    assert timing.image_seconds(judge, data, 64) == pytest.approx(0.01)
    assert counts == [1, 8, 64]


def test_mending_is_part_of_an_evaluation(
    configure: Configure, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ArrayDataset(np.zeros((64, 1, 28, 28), np.float32), np.zeros(64, np.int64))
    split = RunData(train=data, select=data, report=data)
    monkeypatch.setattr(timing, "_evaluation_s", lambda *_: 0.0)
    backend = training_backend()
    found = measure_pace(configure(), backend, model, model, split)
    assert found.evaluation_s > 0
    assert found.preparing_s > 64 * found.image_s
    plain = configure("criterion=magnitude")
    found = measure_pace(plain, backend, model, model, split)
    assert found.evaluation_s == found.preparing_s == 0


def test_durations_are_said_roughly() -> None:
    assert [about(s) for s in (0.1, 9.4, 34, 754, 5500)] == [
        "1 s",
        "9 s",
        "30 s",
        "13 min",
        "1.5 h",
    ]


def test_stages_without_training_take_no_time(configure: Configure) -> None:
    idle = RunSchedule(rates=(2.0,), admm=0.0, retrain=0.0, finish=0.0)
    assert estimate(configure(), idle, PACE).train_s == 0


def test_a_short_run_searches_for_a_minute_and_a_long_one_for_14() -> None:
    stages = plan_schedule(Rate(4.0), rounds=1, epochs=2.0)
    limits = [search_limit_s(stages, replace(PACE, pass_s=seconds)) for seconds in (0.1, 20.0, 1e4)]
    assert limits == [60.0, pytest.approx(3 * 2 * 20.0), MAX_SEARCH_S]
    assert search_limit_s(stages, None) == MAX_SEARCH_S
