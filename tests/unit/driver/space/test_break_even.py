from dataclasses import replace

import numpy as np

from acgraph.driver.cost.compact import compact
from acgraph.driver.space.break_even import STEPS, break_even_share
from acgraph.driver.space.columns import LayerReader
from acgraph.driver.space.space import Space
from acgraph.driver.space.time_saving import time_saving_space
from acgraph.ir import Model
from acgraph.lowering.candidates import candidates
from acgraph.lowering.cost_model import CostModel, CostModelChooser
from acgraph.lowering.layer import ConvLayer
from acgraph.pruning.projection import column_mask, zero_columns
from acgraph.pruning.shrink import shrink
from acgraph.search import Knob


def _gain(layer: ConvLayer, share: float) -> float:
    mask = column_mask(layer.weight, int(share * layer.columns), pattern="free")
    cut = replace(layer, weight=zero_columns(layer.weight, mask))
    times = [CostModel().latency_us(way.fragment) for way in candidates(cut)]
    return times[0] - min(times[1:], default=times[0])


def test_the_share_is_where_dense_stops_being_fastest(space: Space, model: Model) -> None:
    reader = LayerReader.of(model, space.dependency.facts)
    shares = []
    for layer in space.column_layers:
        read = reader.read(layer)
        assert isinstance(read, ConvLayer)
        share = break_even_share(read)
        shares.append(share)
        if share:
            assert _gain(read, share) > 0
        if share < 1 - 1 / STEPS:
            assert _gain(read, share + 1 / STEPS) <= 0
    assert any(0 < share < 1 for share in shares)


def test_a_layer_that_no_cut_makes_faster_has_no_share(space: Space, model: Model) -> None:
    reader = LayerReader.of(model, space.dependency.facts)
    read = reader.read(space.column_layers[-1])
    assert isinstance(read, ConvLayer)
    assert break_even_share(read, model=CostModel(node_us=1e6)) == 0


def test_thrifty_columns_are_whole_or_faster_for_it(space: Space) -> None:
    saves_time = replace(space, saves_time=True)
    columns = [knob for knob in saves_time.knobs if knob.kind == "columns"]
    assert any(knob.most is not None and knob.most < knob.size - 1 for knob in columns)
    point = tuple(
        knob.snap(0.999 * knob.size) if knob.kind == "columns" else knob.size
        for knob in saves_time.knobs
    )
    shrunk = shrink(saves_time.dependency, saves_time.plan(point, saves_time.weights)).model
    _, lowered = compact(shrunk, CostModelChooser())
    pairs = zip(saves_time.column_layers, point[len(saves_time.families) :], strict=True)
    cut = {layer.name for layer, kept in pairs if kept < layer.columns}
    assert cut
    assert all(layer.form != "dense" for layer in lowered if layer.name in cut)


def test_other_columns_are_offered_only_where_the_budget_needs_them(space: Space) -> None:
    whole = space.cost(tuple(knob.size for knob in space.knobs), "params")
    least = replace(space, saves_time=True)
    reachable = least.cost(tuple(knob.floor for knob in least.knobs), "params")
    assert time_saving_space(space, "params", 0.5 * whole).saves_time
    assert not time_saving_space(space, "params", 0.99 * reachable).saves_time


def test_counts_in_the_gap_are_not_allowed() -> None:
    knob = Knob(name="k", kind="columns", size=90, min_keep=9, step=4, most=42)
    allowed = {*range(12, 41, 4), 90}
    assert {knob.snap(kept) for kept in np.linspace(0, 95, 300)} == allowed
    assert {knob.snap_up(kept) for kept in np.linspace(0, 90, 300)} == allowed
    assert knob.raised(40) == 90
    assert knob.raised(12, 2) == 20
    assert knob.lowered(90) == 40
    assert knob.lowered(20) == 16
    assert knob.lowered(12) == 12
