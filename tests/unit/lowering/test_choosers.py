"""Choosing by estimate and by time: never slower than dense, and times are remembered."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgraph.backends.ort.layer_timing import layer_timer, timing_chooser
from acgraph.backends.ort.session import SessionSettings
from acgraph.ir import Model
from acgraph.lowering import Candidate, ConvLayer, CostModel, CostModelChooser, candidates
from acgraph.lowering.chooser import MARGIN, TimingChooser, cache_folder
from acgraph.lowering.cost_model import best
from acgraph.passes.lower_columns import lower_columns


def conv_layer(lab: Any, share: float = 0.2, size: int = 16, channels: int = 32) -> ConvLayer:
    kept = np.random.default_rng(0).random((channels, 3, 3)) < share
    return ConvLayer.alone(lab.pruned_weight((channels, *kept.shape), kept), size)


@pytest.fixture
def ways(lab: Any) -> list[Candidate]:
    return candidates(conv_layer(lab))


class Clock:
    """Stands for a runtime: the n-th model takes ``times[n]``, by default 1, 2, 3..."""

    def __init__(self, times: Sequence[float] = ()) -> None:
        self.times = list(times)
        self.calls = 0

    def __call__(self, models: list[Model]) -> list[float]:
        self.calls += 1
        return (self.times or [float(n + 1) for n in range(len(models))])[: len(models)]


def chooser(tmp_path: Path, clock: Clock, **options: Any) -> TimingChooser:
    # Nothing is sorted out beforehand, so that the clock alone decides.
    flat = CostModel(
        **{name: 0.0 for name in CostModel.__slots__ if name != "node_us"}, node_us=0.0
    )
    options = {"runtime": "r1", "cache_dir": tmp_path, "estimate": flat} | options
    return TimingChooser(time=clock, **options)


def test_the_fastest_is_chosen(tmp_path: Path, ways: list[Candidate]) -> None:
    times = [10.0] * len(ways)
    times[3] = 4.0
    assert chooser(tmp_path, Clock(times)).choose(ways) is ways[3]


def test_nothing_slower_than_dense_is_chosen(tmp_path: Path, ways: list[Candidate]) -> None:
    clock = Clock([1.0] + [1.01] * (len(ways) - 1))
    for metric in ("latency", "params", "size"):
        assert chooser(tmp_path, clock, metric=metric).choose(ways) is ways[0]


def test_a_gain_within_noise_is_none(tmp_path: Path, ways: list[Candidate]) -> None:
    clock = Clock([1.0] + [1.0 - MARGIN / 2] * (len(ways) - 1))
    assert chooser(tmp_path, clock).choose(ways) is ways[0]
    assert chooser(tmp_path, clock, metric="params").choose(ways) is not ways[0]


def test_params_takes_the_smallest_that_is_not_slower(ways: list[Candidate]) -> None:
    by_params = sorted(range(1, len(ways)), key=lambda n: ways[n].params)
    times = [1.0] * len(ways)
    times[by_params[0]] = 1.5
    chosen = best(ways, times, "params")
    assert chosen.params == ways[by_params[1]].params
    assert best(ways, [1.0] * len(ways), "size").size == min(way.size for way in ways)


def test_times_are_remembered(tmp_path: Path, ways: list[Candidate]) -> None:
    clock = Clock()
    first = chooser(tmp_path, clock).latencies(ways)
    again = chooser(tmp_path, clock).latencies(ways)
    assert first == again
    assert clock.calls == 1
    (file,) = (tmp_path / "lowering").iterdir()
    content = json.loads(file.read_text())
    assert content["labels"] == [way.label for way in ways]
    assert content["latency_ms"] == first


def test_weights_do_not_matter_to_the_memory_but_support_and_runtime_do(
    tmp_path: Path, lab: Any, ways: list[Candidate]
) -> None:
    clock = Clock()
    chooser(tmp_path, clock).latencies(ways)
    layer = conv_layer(lab)
    doubled = dataclasses.replace(layer, weight=layer.weight * 2)
    chooser(tmp_path, clock).latencies(candidates(doubled))
    assert clock.calls == 1
    chooser(tmp_path, clock, runtime="r2").latencies(ways)
    assert clock.calls == 2
    chooser(tmp_path, clock).latencies(candidates(conv_layer(lab, share=0.3)))
    assert clock.calls == 3
    chooser(tmp_path, clock).latencies(candidates(conv_layer(lab, size=17)))
    assert clock.calls == 4


def test_a_spoilt_memory_is_measured_again(
    tmp_path: Path, ways: list[Candidate], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    first = chooser(tmp_path, clock).latencies(ways)
    (file,) = (tmp_path / "lowering").iterdir()
    file.write_text("{")
    assert chooser(tmp_path, clock).latencies(ways) == first
    assert clock.calls == 2
    assert "measuring again" in caplog.text
    assert json.loads(file.read_text())["latency_ms"] == first


def test_without_a_place_to_remember_it_still_measures(
    tmp_path: Path, ways: list[Candidate], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lowering").write_text("a file where the folder should be")
    assert chooser(tmp_path, Clock()).latencies(ways) == [n + 1.0 for n in range(len(ways))]
    assert "cannot cache the measured times" in caplog.text


def test_hopeless_candidates_are_not_timed(tmp_path: Path, lab: Any) -> None:
    ways = candidates(conv_layer(lab, share=0.04, channels=64))
    timed: list[int] = []

    def clock(models: list[Model]) -> list[float]:
        timed.append(len(models))
        return [1.0] * len(models)

    TimingChooser(time=clock, runtime="r", cache_dir=tmp_path).choose(ways)
    assert 1 < timed[0] < len(ways)


def test_the_cache_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACGRAPH_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("ACGRAPH_CACHE")
    assert cache_folder().name == "acgraph"


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    share=st.floats(0.05, 0.95),
    size=st.sampled_from([1, 4, 8, 32]),
    channels=st.sampled_from([8, 32]),
    metric=st.sampled_from(["latency", "params", "size"]),
)
def test_the_estimate_never_chooses_what_it_holds_for_slower(
    lab: Any, share: float, size: int, channels: int, metric: Any
) -> None:
    ways = candidates(conv_layer(lab, share, size, channels))
    chosen = CostModelChooser(metric=metric).choose(ways)
    assert chosen is CostModelChooser(metric=metric).choose(ways)
    model = CostModel()
    assert model.latency_us(chosen.fragment) <= model.latency_us(ways[0].fragment)
    if metric == "params":
        assert chosen.params <= ways[0].params


def test_estimates_grow_with_the_work(lab: Any) -> None:
    model = CostModel()
    small, large = (candidates(conv_layer(lab, size=size))[0] for size in (8, 32))
    assert model.latency_us(small.fragment) * 4 < model.latency_us(large.fragment)


def test_onnx_runtime_times_candidates_and_remembers(lab: Any, tmp_path: Path) -> None:
    layer = conv_layer(lab, share=0.05, size=24, channels=64)
    spec = lab.Spec(weight=layer.weight, spatial=(24, 24), attrs={"pads": [1] * 4})
    timed = timing_chooser(cache_dir=tmp_path, budget_s=0.02)
    (result,) = lower_columns(lab.conv_model(spec), choose=timed)
    assert result.form != "dense"  # a twentieth of the work, so that noise cannot hide it
    (file,) = (tmp_path / "lowering").iterdir()
    times = json.loads(file.read_text())["latency_ms"]
    assert min(times) < times[0]
    assert "NchwcTransformer" not in timed.runtime
    assert timing_chooser(settings=SessionSettings(nchwc=True)).runtime != timed.runtime


def test_layer_timer_returns_a_time_for_each(lab: Any, ways: list[Candidate]) -> None:
    models = [
        lab.conv_model(lab.Spec(weight=np.ones((4, 4, 3, 3), np.float32), spatial=(8, 8)))
    ] * 2
    times = layer_timer(budget_s=0.01)(models)
    assert len(times) == 2
    assert all(time > 0 for time in times)
