"""``--runtime``: what is timed is what shall run the result, everywhere in a run."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import acgraph.driver.prune.files as files_module
from acgraph.backends.ort import latency, layer_timing, profile
from acgraph.backends.ort.profile import profile_operators
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.cli.main import run
from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver.compress import compress
from acgraph.driver.latency import table as latency_table
from acgraph.driver.latency import target as speed
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.latency.layer_times import layer_times
from acgraph.driver.latency.table import time_layer
from acgraph.driver.stages import bisection as settle
from acgraph.errors import UsageError
from acgraph.ir import Model
from acgraph.lowering.base import Candidate
from acgraph.lowering.chooser import TimingChooser
from acgraph.lowering.layer import ConvLayer
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]
VALUES = {"model": "a", "target_rate": "2x"}


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Note of every session that is timed who opens it, and whether it has the NCHWc layout."""
    found: list[tuple[str, bool]] = []

    def recorder(name: str) -> type[Session]:
        class Recorder(Session):
            def __init__(
                self, model: Any, settings: SessionSettings | None = None, **options: Any
            ) -> None:
                super().__init__(model, settings, **options)
                found.append((name, self.settings.nchwc))

        return Recorder

    for module in (latency, layer_timing, profile):
        monkeypatch.setattr(module, "Session", recorder(module.__name__.rpartition(".")[2]))
    return found


@pytest.mark.parametrize("runtime", ["ort", "ort-mobile"])
def test_all_that_a_run_times_is_timed_in_the_runtime(
    configure: Configure,
    timed: list[tuple[str, bool]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runtime: str,
) -> None:
    monkeypatch.setenv("ACGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(latency_table, "CHANNEL_SHARES", (0.5, 1.0))
    monkeypatch.setattr(speed, "TABLE_BUDGET_S", 0.001)
    monkeypatch.setattr(speed, "PROBES", 1)
    monkeypatch.setattr(settle, "MAX_POINTS", 1)
    for place in ("latency.target", "results.outcome"):
        briefly = partial(latency.measure_latency, budget_s=0.02)
        monkeypatch.setattr(f"acgraph.driver.{place}.measure_latency", briefly)
    learned: list[str] = []

    def learn(chooser: TimingChooser) -> int:
        learned.append(chooser.runtime)
        return 16

    monkeypatch.setattr("acgraph.driver.opening.measure_align", learn)
    config = configure(
        "purify=false", target_rate="1.3x", metric="latency", timing=True, epochs=0,
        columns={"enabled": False}, runtime=runtime,
    )  # fmt: skip
    report = compress(config)
    assert {nchwc for _, nchwc in timed} == {runtime == "ort"}
    assert {who for who, _ in timed} == {"latency", "layer_timing", "profile"}
    assert report.runtime == runtime
    if runtime == "ort":
        assert len(learned) == 1
        assert "nchwc=True" in learned[0]
        assert {after % 16 for _, after in (x.filters for x in report.layers[:-1])} == {0}
    else:
        assert not learned


def test_only_a_latency_of_the_server_needs_steps_by_default() -> None:
    assert make_config(VALUES).effective_align == 1
    assert make_config({**VALUES, "runtime": "ort"}).effective_align == 1
    assert make_config({**VALUES, "metric": "latency"}).effective_align == 1
    served = {**VALUES, "metric": "latency", "runtime": "ort"}
    assert make_config(served).effective_align == "auto"
    assert make_config({**served, "align": 1}).effective_align == 1
    assert make_config({**VALUES, "align": "auto"}).effective_align == "auto"


def test_no_other_runtime_can_be_timed() -> None:
    with pytest.raises(UsageError, match=r"runtime: .*'ort' or 'ort-mobile', not 'web'"):
        make_config({**VALUES, "runtime": "web"})


@pytest.mark.parametrize(
    ("group", "step", "filters", "channels"),
    [
        (1, 1, {5, 15, 29, 48}, {3, 8, 15, 24}),
        (1, 16, {16, 32, 48}, {16, 24}),
        (24, 16, {16, 32, 48}, {1}),
    ],
)
def test_layers_are_timed_in_the_steps_that_are_kept(
    group: int, step: int, filters: set[int], channels: set[int]
) -> None:
    seen: list[tuple[int, ...]] = []

    def fastest(ways: Sequence[Candidate]) -> float:
        (weight,) = (
            operand.values
            for conv in ways[0].fragment.steps
            for operand in conv.operands
            if hasattr(operand, "values") and operand.values.ndim == 4
        )
        seen.append(weight.shape)
        return float(len(weight))

    layer = ConvLayer.alone(np.ones((48, 24 // group, 3, 3), np.float32), 8)
    if group > 1:
        layer = replace(layer, group=group, input_shape=(1, 24, 8, 8))
    table = time_layer(layer, fastest, columns=False, pattern="free", step=step)
    assert {shape[0] for shape in seen} == filters
    assert {shape[1] for shape in seen} == channels
    for kept in filters:
        assert table.at(kept / 48, 1.0, 1.0) == pytest.approx(kept)


def test_layers_are_told_apart_in_the_layout_of_servers(model: Model) -> None:
    settings = SessionSettings(nchwc=True)
    names = {entry.name for entry in profile_operators(model, settings, runs=1)}
    if not any(name.endswith("_nchwc") for name in names):
        pytest.skip(f"ONNX Runtime has no NCHWc layout on {platform.machine()}")
    layers = [node.name for node in model.graph.nodes if node.op in ("Conv", "Gemm")]
    assert not names & {name for name in layers if "conv" in name}
    found = layer_times(model, layers, model, settings)
    assert set(found) == set(layers)
    assert all(milliseconds > 0 for milliseconds in found.values())


@pytest.mark.parametrize("runtime", ["ort", "ort-mobile"])
def test_prune_times_its_forms_in_the_runtime(
    timed: list[tuple[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setenv("ACGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files_module, "LATENCY_BUDGET_S", 0.01)
    asked: list[SessionSettings] = []

    def chooser(metric: str, *, timing: bool, settings: SessionSettings) -> object:
        asked.append(settings)
        return make_chooser(metric, timing=False)

    monkeypatch.setattr("acgraph.driver.prune.magnitude.make_chooser", chooser)
    words = ["--columns", "0.5", "--quantize", "int8", "-o", str(tmp_path / "b.onnx"), "--no-ort"]
    assert run(["prune", str(model_path()), *words, "--runtime", runtime]) == 0
    assert [settings.nchwc for settings in asked] == [runtime == "ort"]
    assert timed == [("latency", runtime == "ort")] * 2
