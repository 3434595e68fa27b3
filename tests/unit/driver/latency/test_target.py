from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper

from acgraph.analysis.cost import model_cost
from acgraph.analysis.dependency import analyse
from acgraph.backends.ort.session import SessionSettings
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.latency import table as latency_table
from acgraph.driver.latency import target as speed
from acgraph.driver.latency.table import LayerTable, latency_cost, time_layers
from acgraph.driver.latency.target import LatencyModel
from acgraph.driver.space.space import Space
from acgraph.driver.stages import bisection as settle
from acgraph.driver.stages import target
from acgraph.ir import Model, model_from_proto, read_model
from acgraph.lowering.base import Candidate
from acgraph.lowering.cost_model import CostModel, CostModelChooser
from acgraph.models.demo import model_path


def _estimated_ms(ways: Sequence[Candidate]) -> float:
    return min(CostModel().latency_us(way.fragment) for way in ways) / 1e3


def test_a_table_is_read_linearly_and_held_at_its_ends() -> None:
    axes = (np.array([0.5, 1.0]), np.array([1.0]), np.array([0.5, 1.0]))
    table = LayerTable(axes, np.array([[[1.0, 2.0]], [[3.0, 6.0]]]))
    assert table.at(1.0, 0.2, 1.0) == 6.0
    assert table.at(0.75, 1.0, 0.5) == 2.0
    assert table.at(0.75, 1.0, 0.75) == 3.0
    assert table.at(0.1, 1.0, 0.1) == 1.0


def test_layers_of_one_shape_are_timed_once() -> None:
    text = "<ir_version: 8, opset_import: ['' : 17]> twins (float[1, 8, 6, 6] x) => (float y) {"
    text += "a = Conv<pads = [1, 1, 1, 1]>(x, u) b = Relu(a) c = Conv<pads = [1, 1, 1, 1]>(b, v)"
    proto = onnx.parser.parse_model(text.replace("'", '"') + " y = Identity(c) }")
    rng = np.random.default_rng(0)
    for name in ("u", "v"):
        weight = rng.standard_normal((8, 8, 3, 3)).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weight, name))
    twins = model_from_proto(proto)
    seen = []

    def fastest(ways: Sequence[Candidate]) -> float:
        seen.append(ways)
        return 1.0

    tables = time_layers(Space(dependency=analyse(twins), weights=twins.constants()), fastest)
    assert len(tables) == 2
    first, second = tables.values()
    assert first is second
    assert len(seen) == first.ms.size


def test_points_cost_what_their_layers_take(space: Space) -> None:
    cost = latency_cost(space, time_layers(space, _estimated_ms), 2.0)
    whole = tuple(knob.size for knob in space.knobs)
    assert cost(whole) == pytest.approx(2.0)
    previous = 2.0
    for share in (0.8, 0.6, 0.4, 0.2):
        point = tuple(knob.snap(share * knob.size) for knob in space.knobs)
        assert cost(point) < previous
        previous = cost(point)


def test_predictions_are_corrected_by_whole_models(
    space: Space, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host where whole models gain twice what the sum of their layers says, in logarithms."""
    sums = latency_cost(space, time_layers(space, _estimated_ms), 1.0)
    measured = []

    def share(original: Model, shrunk: Model, chooser: object, settings: SessionSettings) -> float:
        taken = sums(points[-1]) ** 2
        measured.append(taken)
        return taken

    points = []
    plan = Space.plan

    def remember(self: Space, point: tuple[int, ...], weights: object) -> object:
        points.append(point)
        return plan(self, point, weights)

    monkeypatch.setattr(speed, "share_of_latency", share)
    monkeypatch.setattr(Space, "plan", remember)
    monkeypatch.setattr(speed, "time_layers", lambda space, _: time_layers(space, _estimated_ms))
    corrected = LatencyModel(
        original=model, chooser=CostModelChooser(), whole=1.0, budget=0.4,
        settings=SessionSettings(),
    )(space)  # fmt: skip
    assert len(measured) >= 2
    assert measured[-1] == pytest.approx(0.4, rel=0.1)
    point = tuple(knob.snap(0.6 * knob.size) for knob in space.knobs)
    assert corrected(point) == pytest.approx(sums(point) ** 2, rel=0.05)


def test_a_latency_target_is_measured_before_training(
    configure: Callable[..., CompressConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(latency_table, "CHANNEL_SHARES", (0.3, 1.0))
    monkeypatch.setattr(latency_table, "COLUMN_SHARES", (0.25, 1.0))
    monkeypatch.setattr(speed, "TABLE_BUDGET_S", 0.002)
    monkeypatch.setattr(settle, "MAX_POINTS", 2)
    report = compress(configure(target_rate="1.5x", metric="latency", timing=True, epochs=0.5))
    assert report.rate.latency is not None
    assert report.rate.latency > 1.35  # 1.5 on a quiet machine
    assert list((tmp_path / "cache" / "tables" / "lowering").iterdir())


def test_an_interrupted_measurement_does_not_overshoot_the_target(
    configure: Callable[..., CompressConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fourth measurement takes twice as long as it should."""
    monkeypatch.setattr(latency_table, "CHANNEL_SHARES", (0.3, 0.6, 1.0))
    calls = []

    def share(original: Model, shrunk: Model, chooser: object, settings: SessionSettings) -> float:
        calls.append(shrunk)
        true = (model_cost(shrunk).macs / model_cost(original).macs) ** 0.8
        return true * (2.0 if len(calls) % 4 == 3 else 1.0)

    monkeypatch.setattr(speed, "share_of_latency", share)
    monkeypatch.setattr(target, "share_of_latency", share)
    monkeypatch.setattr(speed, "time_layers", lambda space, _: time_layers(space, _estimated_ms))
    compress(
        configure("purify=false", target_rate="2x", metric="latency", timing=True, epochs=0.1,
                  columns={"enabled": False})
    )  # fmt: skip
    before, after = model_cost(read_model(model_path())).macs, model_cost(calls[-1]).macs
    assert 2.0 <= (before / after) ** 0.8 <= 2.2
