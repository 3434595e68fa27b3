"""What is searched follows the configuration: filters, columns, and their pattern."""

from typing import Any

import numpy as np
import pytest

from acgraph.analysis.layers import layers
from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver.network import Network
from acgraph.driver.space.reconstruction import Input, WeightReconstruction
from acgraph.driver.space.space import Space, open_space
from acgraph.driver.training.masks import training_masks
from acgraph.errors import UsageError
from acgraph.ir import Model, clone_model
from acgraph.pruning.patterns import project_columns
from acgraph.pruning.plan import Plan
from acgraph.search import Point


def config(**options: Any) -> CompressConfig:
    return make_config({"model": "m.onnx", "target_rate": "4x", **options})


def spaced(model: Model, **columns: Any) -> Space:
    return open_space(Network(model), config(columns=columns))


def half_of_the_columns(space: Space) -> Point:
    return tuple(k.snap(0.5 * k.size) if k.kind == "columns" else k.size for k in space.knobs)


PATTERNS = ["free", "balanced", "kernel", "contiguous", "box"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_mask_and_admm_project_onto_the_same_pattern(model: Model, pattern: str) -> None:
    space = spaced(model, pattern=pattern)
    point = half_of_the_columns(space)
    plan = space.masked_plan(point, space.weights)
    projected = space.constraint(point).project(dict(space.weights))
    kept = {
        layer.weight: k
        for layer, k in zip(space.column_layers, point[-len(space.column_layers) :], strict=True)
    }
    assert set(plan.columns) == set(projected.columns) == set(kept)
    for name, gone in plan.columns.items():
        assert np.array_equal(~gone, projected.columns[name])
        assert np.array_equal(~gone, project_columns(space.weights[name], kept[name], pattern))


def test_patterns_cut_otherwise(model: Model) -> None:
    plans = []
    for pattern in PATTERNS:
        space = spaced(model, pattern=pattern)
        plan = space.masked_plan(half_of_the_columns(space), space.weights)
        plans.append(b"".join(gone.tobytes() for gone in plan.columns.values()))
    assert len(set(plans)) == len(PATTERNS)


def test_auto_chooses_for_each_layer_and_keeps_to_it(model: Model) -> None:
    space = spaced(model, pattern="auto")
    assert set(space.patterns) == {layer.weight for layer in space.column_layers}
    assert set(space.patterns.values()) <= set(PATTERNS)
    assert set(space.patterns.values()) != {"free"}  # the demo's layers are small
    cuts = space.constraint(half_of_the_columns(space)).columns
    assert {cut.tensor: cut.pattern for cut in cuts} == space.patterns


def test_a_second_round_stays_in_the_pattern(model: Model) -> None:
    first = spaced(model, pattern="kernel")
    plan = first.masked_plan(half_of_the_columns(first), first.weights)
    weights = {
        name: np.where(plan.columns[name][None], 0, value) if name in plan.columns else value
        for name, value in first.weights.items()
    }
    second = Space(dependency=first.dependency, weights=weights, pattern="kernel")
    again = second.masked_plan(half_of_the_columns(second), weights)
    for name, gone in again.columns.items():
        kept = second.alive[name] & ~gone
        assert (kept == kept[:1]).all()
        assert 0 < kept[0].sum() < second.alive[name][0].sum()


def test_counts_go_in_the_steps_of_the_pattern(model: Model) -> None:
    def steps(**columns: Any) -> dict[str, int]:
        space = spaced(model, **columns)
        return {k.name: k.step for k in space.knobs if k.kind == "columns"}

    name = "columns /layer2/layer2.0/conv2/Conv"  # 64 channels, 3x3
    assert steps()[name] == 1
    assert steps(pattern="kernel")[name] == 64
    assert steps(pattern="balanced")[name] == 9
    assert steps(pattern="balanced", multiple=4)[name] == 36


def test_multiple_is_kept(model: Model) -> None:
    space = spaced(model, pattern="balanced", multiple=8)
    plan = space.masked_plan(half_of_the_columns(space), space.weights)
    for name, gone in plan.columns.items():
        counts = (space.alive[name] & ~gone).reshape(len(gone), -1).sum(axis=0)
        assert all(count % 8 == 0 or count == len(gone) for count in counts), name


def test_patterns_weigh_columns_by_what_they_read(model: Model) -> None:
    plain = spaced(model, pattern="kernel")
    layer = next(x for x in plain.column_layers if x.name == "/layer2/layer2.0/conv2/Conv")
    scales = np.full(layer.weight_shape[1:], 1e-3)
    scales[:, 0, 0] = 1e3
    read = Input(np.diag(scales.ravel() ** 2), np.zeros(scales.size))
    reconstruction = WeightReconstruction(layers={layer.weight: layer}, inputs={layer.weight: read})
    space = Space(
        dependency=plain.dependency,
        weights=plain.weights,
        pattern="kernel",
        reconstruction=reconstruction,
    )
    plan = space.masked_plan(half_of_the_columns(space), space.weights)
    assert not plan.columns[layer.weight][:, 0, 0].any()
    least = [k.floor if k.name.endswith(layer.name) else k.size for k in space.knobs]
    gone = space.masked_plan(tuple(least), space.weights).columns[layer.weight]
    assert np.argwhere(~gone.all(axis=0)).tolist() == [[0, 0]]


def test_filters_and_columns_can_be_left_out(model: Model) -> None:
    def kinds(**options: Any) -> set[str]:
        return {knob.kind for knob in open_space(Network(model), config(**options)).knobs}

    assert kinds() == {"filters", "columns"}
    assert kinds(filters=False) == {"columns"}
    assert kinds(columns={"enabled": False}) == {"filters"}
    with pytest.raises(UsageError, match="neither filters nor columns"):
        config(filters=False, columns={"enabled": False})
    for shaped in ({"pattern": "kernel"}, {"multiple": 4}):
        with pytest.raises(UsageError, match="columns are not pruned"):
            config(columns={"enabled": False, **shaped})


def test_columns_are_regular_by_themselves_where_time_is_the_target(model: Model) -> None:
    assert open_space(Network(model), config()).pattern == "free"
    assert open_space(Network(model), config(metric="latency")).pattern == "auto"
    stated = config(metric="latency", columns={"pattern": "free"})
    assert open_space(Network(model), stated).pattern == "free"


def test_unknown_patterns_are_refused() -> None:
    with pytest.raises(UsageError, match="no column pattern is named 'round'"):
        config(columns={"pattern": "round"})


@pytest.mark.parametrize(
    ("options", "has_columns"),
    [
        ({"metric": "params"}, True),
        ({"metric": "latency"}, True),
        ({"metric": "macs"}, False),
        ({"metric": "macs", "columns": {"enabled": True}}, True),
        ({"metric": "macs", "columns": {"pattern": "auto"}}, True),
        ({"metric": "macs", "columns": {"multiple": 4}}, True),
        ({"metric": "macs", "filters": False}, True),
        ({"metric": "params", "columns": {"enabled": False}}, False),
    ],
)
def test_columns_are_cut_unless_the_target_is_of_macs_alone(
    model: Model, options: dict[str, Any], has_columns: bool
) -> None:
    space = open_space(Network(model), config(**options))
    assert any(knob.kind == "columns" for knob in space.knobs) == has_columns


@pytest.mark.parametrize("columns", [True, False])
def test_what_was_cut_stays_cut_where_no_more_may_be(
    model: Model, monkeypatch: pytest.MonkeyPatch, columns: bool
) -> None:
    """Filters that went made the layer too small to be worth a knob, or columns are off."""
    if columns:
        monkeypatch.setattr("acgraph.driver.space.knobs.SMALL_LAYER", 1.0)
    cut = clone_model(model)
    layer = half_cut_layer(cut)
    weight = cut.constants()[layer]
    space = open_space(Network(cut), config(columns={"enabled": columns}))
    assert not any(knob.kind == "columns" for knob in space.knobs)
    held = training_masks(space, Plan(), cut.constants())[layer]
    assert np.array_equal(np.broadcast_to(held, weight.shape), weight != 0)
    whole = tuple(knob.size for knob in space.knobs)
    before = open_space(Network(model), config(columns={"enabled": columns}))
    gone = before.cost(whole, "params") - space.cost(whole, "params")
    assert gone == pytest.approx(weight.size / 2, rel=0.05)  # and indices


def half_cut_layer(model: Model) -> str:
    """Make half of the columns of a convolution zero, in place; return its weight's name."""
    layer = next(x for x in layers(model) if x.op_type == "Conv" and x.columns > 100)
    for tensor in model.graph.tensors().values():
        if tensor.name == layer.weight:
            value = tensor.values.copy()
            value.reshape(len(value), -1)[:, ::2] = 0
            tensor.values = value
    return layer.weight
