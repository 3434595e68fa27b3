"""Latency: the structure of what is measured; no test depends on how fast this machine is."""

import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from acgraph.backends.ort.footprint import measure_footprint
from acgraph.backends.ort.latency import (
    MAX_RUNS,
    MIN_RUNS,
    Latency,
    Ratio,
    compare_latency,
    interleave,
    latency_from_samples,
    measure_latency,
)
from acgraph.backends.ort.profile import profile_operators
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.errors import BackendError, UsageError

ConvNet = Callable[..., onnx.ModelProto]


def _latency(samples: list[float]) -> Latency:
    return latency_from_samples(samples)


def test_summary_of_samples() -> None:
    latency = _latency([float(n) for n in range(1, 12)])
    assert (latency.p50_ms, latency.p90_ms, latency.min_ms, latency.runs) == (6.0, 10.0, 1.0, 11)


def test_models_take_turns_and_the_order_turns_round() -> None:
    calls: list[str] = []

    def call(name: str) -> Callable[[], None]:
        def run() -> None:
            calls.append(name)
            time.sleep(0.002)

        return run

    samples = interleave([call("a"), call("b")], runs=4, warmup=1)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab" + "ba"
    assert [len(part) for part in samples] == [4, 4]
    assert min(min(part) for part in samples) >= 2.0


def test_short_calls_are_repeated_within_a_sample() -> None:
    count = 0

    def call() -> None:
        nonlocal count
        count += 1

    (samples,) = interleave([call], runs=3, warmup=1)
    assert len(samples) == 3
    assert count > 100
    assert max(samples) < 1.0  # of one call, not of all of them


def test_the_budget_decides_how_many_runs() -> None:
    def call() -> None:
        time.sleep(0.003)

    (few,) = interleave([call], warmup=1, budget_s=0.0)
    (more,) = interleave([call], warmup=1, budget_s=0.15)
    assert len(few) == MIN_RUNS
    assert MIN_RUNS < len(more) <= MAX_RUNS


def test_a_ratio_is_of_pairs_and_not_of_medians() -> None:
    """A machine that slows down threefold half way through does not move a paired ratio."""
    load = [1.0] * 10 + [3.0] * 10
    before = _latency([2.0 * factor for factor in load])
    after = _latency([1.0 * factor for factor in load])
    assert compare_latency(before, after) == Ratio(median=2.0, low=2.0, high=2.0)
    assert compare_latency(after, before).median == 0.5


def test_interrupted_runs_do_not_move_a_ratio() -> None:
    """Three runs of four are interrupted in one model, every other in the other."""
    before = _latency([2.0 if index % 4 == 0 else 6.0 for index in range(200)])
    after = _latency([1.0 if index % 2 == 0 else 5.0 for index in range(200)])
    assert compare_latency(before, after) == Ratio(median=2.0, low=2.0, high=2.0)


def test_long_runs_that_are_nearly_all_interrupted_do_not_flatter_short_ones() -> None:
    before = _latency([2.0 if index % 8 == 0 else 14.0 for index in range(160)])
    after = _latency([1.0] * 160)
    assert compare_latency(before, after) == Ratio(median=2.0, low=2.0, high=2.0)


@pytest.mark.parametrize("clean", [4, 1])
def test_blocks_without_an_uninterrupted_run_do_not_count(clean: int) -> None:
    """Only in few blocks of 10 rounds one long run was left alone."""
    before = _latency([2.0 if index % 10 == 0 and index < 10 * clean else 14.0
                       for index in range(160)])  # fmt: skip
    ratio = compare_latency(before, _latency([1.0] * 160))
    assert ratio.median == 2.0
    assert ratio.low == 2.0
    assert (ratio.high == 2.0) == (clean > 1)  # nothing tells how far off a single one is


def test_every_sample_begins_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: log.append("sleep"))

    def call() -> None:
        log.append("run")
        end = time.perf_counter() + 0.001
        while time.perf_counter() < end:
            pass

    interleave([call, call], runs=2, warmup=1)
    assert log == ["run", "run"] + ["sleep", "run"] * 4


def test_equal_models_are_not_faster() -> None:
    noisy = [1.0, 1.2, 0.9, 1.1, 1.05, 0.95, 1.0, 1.3]
    ratio = compare_latency(_latency(noisy), _latency(noisy[::-1]))
    assert ratio.low <= 1.0 <= ratio.high
    assert not ratio.is_faster
    assert not Ratio(median=1.02, low=1.01, high=1.03).is_faster
    assert not Ratio(median=1.5, low=0.9, high=2.0).is_faster
    assert Ratio(median=1.5, low=1.4, high=1.6).is_faster


def test_latencies_measured_apart_are_not_compared() -> None:
    with pytest.raises(UsageError, match="cannot be paired"):
        compare_latency(_latency([1.0]), _latency([1.0, 2.0]))


def test_measures_paths_models_and_sessions_together(conv_net: ConvNet, net_path: Path) -> None:
    proto = conv_net(size=64, channels=16)
    models = [net_path, proto.SerializeToString(), Session(net_path)]
    small, large, again = measure_latency(models, runs=7)
    assert small.runs == large.runs == again.runs == 7
    assert large.min_ms > small.min_ms  # 170 times the work
    assert small.min_ms <= small.p50_ms <= small.p90_ms


def test_no_runs_are_no_measurement(net_path: Path) -> None:
    with pytest.raises(UsageError, match="runs is 0"):
        measure_latency([net_path], runs=0)


def test_the_profile_names_the_operators_that_run(net_path: Path) -> None:
    table = profile_operators(net_path, runs=5)
    assert {entry.op_type for entry in table} >= {"FusedConv", "Gemm"}
    assert "BatchNormalization" not in {entry.op_type for entry in table}
    assert sum(entry.share for entry in table) == pytest.approx(1.0)
    assert [entry.p50_ms for entry in table] == sorted(
        (entry.p50_ms for entry in table), reverse=True
    )
    plain = profile_operators(net_path, SessionSettings(optimisation="none"), runs=5)
    assert "BatchNormalization" in {entry.op_type for entry in plain}


def test_the_footprint_is_of_a_process_of_its_own(conv_net: ConvNet, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(conv_net(size="S"), path)
    ballast = bytearray(300 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    small = measure_footprint(path, shapes={"x": (1, 3, 8, 8)})
    del ballast
    large = measure_footprint(path, shapes={"x": (2, 3, 512, 512)})
    assert small.base_bytes < 300 << 20
    assert small.load_ms > 0
    assert small.first_run_ms > 0
    # the input alone is 6 MB
    assert large.model_bytes > small.model_bytes + (6 << 20)


def test_a_probe_that_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"the memory probe failed: .*not an ONNX file"):
        measure_footprint(path)
