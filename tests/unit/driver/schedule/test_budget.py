"""A time budget holds for everything beside training, and leaves training at least half of it."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acgraph.cli import started
from acgraph.config import CompressConfig
from acgraph.data import ArrayDataset
from acgraph.driver import compress as driver
from acgraph.driver.inputs import time_limit
from acgraph.driver.inputs.data import RunData, open_data
from acgraph.driver.inputs.time_limit import within_time
from acgraph.driver.results import outcome
from acgraph.driver.schedule import budget, pace
from acgraph.driver.schedule.budget import DeadlineChooser, fewer_examples
from acgraph.driver.schedule.plan import plan_schedule
from acgraph.driver.stages import plan as planning
from acgraph.driver.stages import round as one_round
from acgraph.driver.stages import round_search
from acgraph.driver.stages.goal import Goal
from acgraph.driver.stages.measure import _times_layers
from acgraph.driver.stages.round import run_round
from acgraph.driver.state.context import Context
from acgraph.driver.state.records import Rehearsal
from acgraph.driver.state.state import State
from acgraph.ir import count_params, proto_from_model, read_model
from acgraph.pruning.rate import Rate

Configure = Callable[..., CompressConfig]


class _Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.mark.parametrize("elapsed_s", [0.0, 5.0, 20.0, 60.0])
@pytest.mark.parametrize("export_s", [0.0, 9.0, 40.0])
@pytest.mark.parametrize("target", [Rate(4.0), Rate(64.0), None])
def test_a_plan_keeps_its_budget_and_half_of_it_trains(
    target: Rate | None, export_s: float, elapsed_s: float
) -> None:
    stages = plan_schedule(
        target, time_budget_s=100.0, seconds_per_pass=4.0, elapsed_s=elapsed_s, export_s=export_s
    )
    rounds = len(stages.rates) or stages.attempts
    assert stages.finish_by_s is not None
    assert stages.search_s is not None
    assert stages.purify_s is not None
    kept = 100.0 - stages.finish_by_s
    assert min(1.3 * export_s, 25.0) <= kept <= 25.0
    others = rounds * stages.search_s + stages.purify_s
    training = stages.finish_by_s - elapsed_s - others
    assert training >= min(50.0, stages.finish_by_s - elapsed_s)
    if stages.finish_by_s - elapsed_s < 50.0:
        assert others == 0
    assert rounds * stages.round_epochs * 4.0 <= training + 1e-9
    if stages.attempt_by_s is not None:
        assert elapsed_s <= stages.attempt_by_s <= stages.finish_by_s


def test_batches_end_when_time_is_over(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "time", clock)

    def read() -> Any:
        for number in range(5):
            yield number
            clock.now += 1.0

    assert list(within_time(read(), 2.5)) == [0, 1, 2]
    assert list(within_time(read(), 0.0)) == [0]
    assert list(within_time(read(), None)) == [0, 1, 2, 3, 4]


def test_splits_are_as_large_as_can_be_judged_in_time() -> None:
    x = np.arange(1000, dtype=np.float32)[:, None]
    data = RunData(train=ArrayDataset(x), select=ArrayDataset(x), report=ArrayDataset(x[:300]))
    less = fewer_examples(data, image_s=0.01, budget_s=100.0)
    # Five times on the one in 6 s, two models on the other in 5 s.
    assert (len(less.train), len(less.select), len(less.report)) == (1000, 120, 250)
    found = less.select.batch(np.arange(120)).x
    assert found[0, 0] == 0
    assert found[-1, 0] > 980
    least = fewer_examples(data, image_s=100.0, budget_s=10.0)
    assert (len(least.select), len(least.report)) == (16, 16)
    assert fewer_examples(data, image_s=1e-6, budget_s=100.0) == data


def test_forms_are_timed_while_there_is_time(
    clock: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "time", clock)
    first, last = (SimpleNamespace(choose=lambda found, i=i: found[i]) for i in (0, -1))
    chooser = DeadlineChooser(first, last, until_s=10.0)
    candidates: Any = ["timed", "estimated"]
    assert chooser.choose(candidates) == "timed"
    clock.now = 10.0
    assert chooser.choose(candidates) == "estimated"


def test_a_search_gets_what_measuring_leaves_of_its_time(
    configure: Configure, begin: Any, clock: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure("search.method=uniform")
    context, state = begin(config)
    model = state.network.model
    seen: dict[str, Any] = {}
    measure, search = one_round.measure_layers, round_search.search

    def slow(*arguments: Any, **options: Any) -> Any:
        seen["measuring"] = options["seconds"]
        clock.now += 7.0
        return measure(*arguments, **options)

    def noted(*arguments: Any, **options: Any) -> Any:
        seen["searching"] = options["time_budget_s"]
        return search(*arguments, **options)

    monkeypatch.setattr(one_round, "measure_layers", slow)
    monkeypatch.setattr(round_search, "search", noted)
    monkeypatch.setattr(one_round, "time", clock)
    monkeypatch.setattr(round_search, "time", clock)
    stages = replace(plan_schedule(config.target_rate), admm=0.0, retrain=0.0, search_s=10.0)
    goal = Goal(number=1, budget=count_params(proto_from_model(model)) / 2)
    assert run_round(context, replace(state, schedule=stages), goal, print) is not None
    assert seen == {"measuring": pytest.approx(4.0), "searching": pytest.approx(3.0)}


def test_a_mode_is_timed_once_and_in_a_share_of_the_budget(configure: Configure) -> None:
    seen: list[dict[str, Any]] = []

    class Trainer:
        def __init__(self, *_: object, **options: Any) -> None:
            seen.append(options)

        def choose_mode(self) -> Any:
            return SimpleNamespace(precision="bf16", channels_last=True, threads=3)

    config = configure(epochs=None, time_budget="40s")
    nothing: Any = SimpleNamespace(train=None)
    backend: Any = SimpleNamespace(trainer=Trainer)
    train = pace.with_mode(config, backend, nothing, nothing, nothing).train
    assert (train.precision, train.channels_last) == ("bf16", True)
    assert seen[0]["probe_s"] == pytest.approx(0.1)  # of 20 steps, in 5 % of the budget


def test_the_run_counts_from_where_its_command_began(
    configure: Configure, swap_stage: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    class _SeenError(Exception):
        pass

    def plan(_: Rate, **options: Any) -> None:
        seen.update(options)
        raise _SeenError

    known = pace.Pace(pass_s=1.0, evaluation_s=1.0, image_s=0.5)
    rehearsal = Rehearsal(cut_s=1.0, check_s=10.0, export_s=20.0)
    monkeypatch.setattr(planning, "measure_pace", lambda *_: known)
    monkeypatch.setattr(planning, "plan_schedule", plan)

    def rehearsed(_: Context, state: State) -> State:
        return replace(state, rehearsal=rehearsal)

    swap_stage(monkeypatch, "rehearse", rehearsed)
    config = configure(epochs=None, time_budget="1000s")
    with pytest.raises(_SeenError):
        driver.compress(config, begin=time.perf_counter() - 300.0)
    assert 300.0 < seen["elapsed_s"] < 400.0
    images = len(open_data(config, read_model(config.model)).report)
    assert seen["export_s"] == pytest.approx(10.0 + 20.0 + 2 * images * 0.5)


def test_a_command_began_when_its_process_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(started, "_noted", [])
    assert time.perf_counter() - started.start_time() < 1.0
    monkeypatch.setattr(started, "process_age", lambda: 50.0)
    started.note_start()
    assert 50.0 <= time.perf_counter() - started.start_time() < 51.0
    if Path("/proc/self/stat").is_file():
        monkeypatch.undo()
        assert started.process_age() > 0


@pytest.mark.parametrize(
    ("left_s", "expected"),
    [
        (None, {}),
        (1e6, {"budget_s": outcome.BUDGET_S}),
        (100.0, {"runs": 17, "warmup": 1}),  # 35 s of 2 s a round
        (20.0, None),
    ],
)
def test_latency_is_measured_in_what_is_left(
    left_s: float | None, expected: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(outcome, "Session", lambda *_, **__: None)
    monkeypatch.setattr(outcome, "_seconds_of_a_run", lambda *_: 1.0)
    monkeypatch.setattr(
        outcome, "measure_latency", lambda *_, **options: asked.append(options) or ["timed"]
    )
    told: list[str] = []
    nothing: Any = None
    found = outcome._latencies(["a", "b"], nothing, None, left_s, told.append)
    whole = {"sizes": None} if left_s is None else {}
    assert asked == ([] if expected is None else [{**expected, **whole}])
    assert (found is None) == (expected is None) == bool(told)


def test_layers_are_profiled_where_there_is_time_for_that() -> None:
    told: list[str] = []
    sides: Any = [SimpleNamespace(latency_ms=SimpleNamespace(p50=50.0))] * 2

    def times(left_s: float | None, *, timing: bool = True, measured: Any = sides) -> bool:
        context: Any = SimpleNamespace(
            config=SimpleNamespace(timing=timing), clock=SimpleNamespace(left_s=left_s)
        )
        return _times_layers(context, measured, told.append)

    assert times(None)
    assert not times(None, timing=False)
    assert times(5.0)
    assert not told
    assert not times(3.0)
    assert not times(5.0, measured=[SimpleNamespace(latency_ms=None)] * 2)
    assert len(told) == 2
