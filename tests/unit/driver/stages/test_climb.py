"""The highest rate within a floor, where none is stated; and what is told of the rates tried."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver import compress as module
from acgraph.driver.compress import compress
from acgraph.driver.schedule.plan import plan_schedule
from acgraph.driver.stages import climb as climbing
from acgraph.driver.stages import measure as measuring
from acgraph.driver.stages.rounds import RoundTarget
from acgraph.driver.state.context import Context
from acgraph.driver.state.records import RateRecord
from acgraph.driver.state.state import State
from acgraph.errors import UsageError
from acgraph.pruning.rate import Rate

Configure = Callable[..., CompressConfig]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A network of three layers, and random images that it labels itself."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return numpy_helper.from_array(rng.normal(0, scale, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "u", "a"], ["1"], "first", strides=[2, 2]),
        helper.make_node("Relu", ["1"], ["2"], "relu1"),
        helper.make_node("Conv", ["2", "v", "b"], ["3"], "second", strides=[2, 2]),
        helper.make_node("Relu", ["3"], ["4"], "relu2"),
        helper.make_node("GlobalAveragePool", ["4"], ["5"], "pool"),
        helper.make_node("Flatten", ["5"], ["6"], "flat"),
        helper.make_node("Gemm", ["6", "w"], ["y"], "last", transB=1),
    ]
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("x", floats, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("y", floats, ["N", 5])],
        [weight("u", 16, 3, 3, 3), weight("v", 32, 16, 3, 3), weight("w", 5, 32),
         numpy_helper.from_array(np.zeros(16, np.float32), "a"),
         numpy_helper.from_array(np.zeros(32, np.float32), "b")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, str(folder / "tiny.onnx"))
    # Smooth pictures, or all of them would have the same mean.
    x = rng.normal(0, 1, (400, 3, 4, 4)).repeat(4, axis=2).repeat(4, axis=3).astype(np.float32)
    np.savez(folder / "data.npz", x=x)
    return {"model": str(folder / "tiny.onnx"), "data": str(folder / "data.npz")}


@pytest.fixture
def configure_tiny(tiny: dict[str, str], tmp_path: Path) -> Configure:
    def make(*settings: str, **options: Any) -> CompressConfig:
        values = {**tiny, "epochs": 3, "timing": False, "threads": 1, "output": tmp_path / "out"}
        fast = ("search.evaluations=2", "train.batch_size=64", "train.augment=false")
        return make_config(values | options, settings=(*fast, *settings))

    return make


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[float]]:
    """Attempts that cut nothing: up to a rate they hold. Returns the rates that are asked for."""

    def install(limit: float) -> list[float]:
        asked: list[float] = []

        def cut(context: Context, state: State, aim: RoundTarget) -> tuple[State, Any]:
            asked.append(aim.rate)
            holds = aim.rate <= limit
            epochs = 0.0 if holds else state.schedule.round_epochs
            tried = RateRecord(rate=aim.rate, accuracy=1.0 if holds else 0.0, epochs=epochs)
            assert aim.enough == context.floor
            after = replace(
                state,
                network=state.network if holds else context.untied,
                frontier=(*state.frontier, tried),
            )
            return after, SimpleNamespace(is_exhausted=False)

        monkeypatch.setattr(climbing, "cut", cut)
        return asked

    return install


def test_neither_rate_nor_floor_is_a_usage_error(configure_tiny: Configure) -> None:
    with pytest.raises(
        UsageError, match="neither a target rate nor a largest accuracy drop is given; use"
    ) as e:
        configure_tiny()
    assert "\n" not in str(e.value)
    assert e.value.exit_code == 2


def test_where_all_hold_the_climb_goes_as_far_as_it_can(configure_tiny: Configure) -> None:
    config = configure_tiny(max_drop=100)
    report = compress(config)
    rates = [point.rate for point in report.frontier]
    assert rates[:2] == sorted(rates[:2])
    assert rates[0] >= 2
    assert rates[-1] > 20
    assert all(point.within_floor for point in report.frontier)
    assert [point.epochs for point in report.frontier[:-1]] == [0.0] * (len(rates) - 1)
    assert report.frontier[-1].epochs == pytest.approx(3, rel=0.1)
    assert report.rate.params >= max(entry.rate for entry in report.rounds) - 1e-9
    assert (report.target.rate, report.target.met, report.exit_code) == (None, True, 0)
    assert json.loads((config.output / "report.json").read_text())["target"]["rate"] is None


def test_a_floor_out_of_reach_writes_the_gentlest(
    configure_tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "floor", property(lambda _: 2.0))
    config = configure_tiny(max_drop=0)
    report = compress(config)
    *tried, last = report.frontier
    rates = [point.rate for point in tried]
    assert len(tried) >= 3
    assert rates == sorted(rates, reverse=True)
    assert not any(point.within_floor for point in report.frontier)
    assert (report.target.met, report.exit_code) == (False, 3)
    assert len(report.rounds) == 1
    assert report.rounds[0].rate == rates[-1]
    assert rates[-1] * 0.999 < last.rate
    assert report.rate.params == pytest.approx(last.rate, rel=0.02)
    assert sum(point.epochs for point in report.frontier) <= 3 + 0.15
    assert (config.output / "model.onnx").is_file()


def test_bisection_closes_in_from_the_best_that_held(
    configure_tiny: Configure, scripted: Callable[[float], list[float]]
) -> None:
    asked = scripted(5.0)
    report = compress(configure_tiny("purify=false", max_drop=1, epochs=12))
    assert asked[:4] == [2.0, 4.0, 8.0, pytest.approx(32**0.5)]
    assert max(rate for rate in asked if rate <= 5) > 4.6
    held = [point.within_floor for point in report.frontier[:-1]]
    assert held == [rate <= 5 for rate in asked]


def test_attempts_that_fail_stay_within_their_share(
    configure_tiny: Configure, scripted: Callable[[float], list[float]]
) -> None:
    asked = scripted(0.0)
    report = compress(configure_tiny("purify=false", max_drop=0, epochs=2, rounds=2))
    assert len(asked) == 2
    *failed, last = report.frontier
    assert sum(point.epochs for point in failed) == pytest.approx(1.0)
    assert last.epochs == pytest.approx(1.0, abs=0.25)


def test_attempts_that_overshoot_come_to_an_end(
    configure_tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def cut(context: Context, state: State, aim: RoundTarget) -> tuple[State, Any]:
        assert aim.number < 20
        asked.append(aim.rate)
        # So coarse that nothing lies below 1.99x.
        tried = RateRecord(rate=max(aim.rate, 1.99), accuracy=0.0, epochs=0.0)
        return replace(state, frontier=(*state.frontier, tried)), SimpleNamespace(
            is_exhausted=False
        )

    monkeypatch.setattr(climbing, "cut", cut)
    compress(configure_tiny("purify=false", max_drop=0, epochs=0))
    assert asked == sorted(set(asked), reverse=True)
    assert len(asked) < 6


def test_no_attempt_begins_once_its_time_is_over(
    configure_tiny: Configure, scripted: Callable[[float], list[float]]
) -> None:
    asked = scripted(1e9)
    config = configure_tiny("purify=false", max_drop=1, epochs=None, time_budget="0.01s")
    report = compress(config)
    assert asked == []
    assert [
        line for line in report.warnings if line.startswith("no rate was tried, because no time")
    ]


def test_a_climb_goes_on_where_it_was_interrupted(
    configure_tiny: Configure,
    scripted: Callable[[float], list[float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = configure_tiny("purify=false", max_drop=1, epochs=12)
    asked = scripted(5.0)
    whole = [*compress(config).frontier]
    rates = list(asked)
    again = configure_tiny("purify=false", max_drop=1, epochs=12)
    asked.clear()
    save = module.save

    def stop(*arguments: Any) -> None:
        save(*arguments)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            compress(again)
    resumed = compress(again.model_copy(update={"resume": again.output}))
    assert asked == rates
    assert [p.rate for p in resumed.frontier[:-1]] == [p.rate for p in whole[:-1]]
    with pytest.raises(UsageError, match=r"started with max_drop 1\.0, not 2"):
        compress(again.model_copy(update={"resume": again.output, "max_drop": 2.0}))


def test_a_rate_and_a_floor_that_cannot_both_be_had_tell_what_was_tried(
    configure_tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "floor", property(lambda _: 2.0))
    config = configure_tiny(target_rate="1000x", max_drop=0, rounds=2, epochs=1)
    report = compress(config)
    assert report.exit_code == 3
    assert len(report.frontier) == len(report.rounds) + 1 == 3
    assert sum(p.epochs for p in report.frontier) == pytest.approx(1, abs=0.3)
    assert "Rates tried" in (config.output / "report.html").read_text()


def test_a_floor_that_holds_on_the_selection_split_alone_is_missed_and_said_so(
    configure_tiny: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measuring.measure_sides

    def worse(*arguments: Any, **options: Any) -> Any:
        before, after = measure(*arguments, **options)
        return [before, after.model_copy(update={"accuracy": before.accuracy - 0.5})]

    monkeypatch.setattr(measuring, "measure_sides", worse)
    monkeypatch.setattr(Context, "floor", property(lambda _: 0.0))
    config = configure_tiny(max_drop=1, target_rate="2x", epochs=0)
    report = compress(config)
    assert report.frontier[-1].within_floor
    assert (report.target.drop_met, report.exit_code) == (False, 3)
    assert any("is within --max-drop on the selection split" in line for line in report.warnings)
    assert "but not on the report split" in (config.output / "report.html").read_text()


def test_without_a_floor_there_is_no_frontier(configure_tiny: Configure) -> None:
    assert compress(configure_tiny(target_rate="2x", epochs=0)).frontier == ()


@pytest.mark.parametrize("criterion", ["reconstruction", "magnitude"])
def test_attempts_and_fine_tuning_are_all_of_the_budget(criterion: Any) -> None:
    stages = plan_schedule(None, epochs=12.0, criterion=criterion)
    assert stages.rates == ()
    assert stages.attempt_epochs == pytest.approx(6.0)
    assert stages.finish_after(stages.attempt_epochs) == pytest.approx(6.0)
    assert stages.finish_after(1.5) == pytest.approx(10.5)
    assert "up to 6 training attempts" in stages.describe()
    assert plan_schedule(None, rounds=3, epochs=12.0).round_epochs == pytest.approx(2.0)
    fixed = plan_schedule(Rate(8.0), epochs=12.0)
    assert fixed.finish_after(5.0) == fixed.finish == 12.0
