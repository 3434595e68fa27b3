from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from acgraph.analysis.cost import model_cost
from acgraph.analysis.dependency import analyse
from acgraph.config_merge import make_config
from acgraph.driver.cost.compact import Limit, SizeMetric, SmallestChooser, compact
from acgraph.driver.schedule.plan import plan_schedule
from acgraph.driver.space.space import Space
from acgraph.driver.state.positions import compose, expand
from acgraph.driver.training.admm import effective_admm
from acgraph.ir import Model, model_from_proto
from acgraph.lowering.base import Candidate, Chooser
from acgraph.lowering.cost_model import CostModelChooser
from acgraph.pruning.dead import dead_sets
from acgraph.pruning.plan import Plan
from acgraph.pruning.rate import Rate
from acgraph.pruning.shrink import shrink


def test_whole_point_costs_what_the_file_does(model: Model, space: Space) -> None:
    whole = tuple(knob.size for knob in space.knobs)
    cost = model_cost(model)
    assert space.cost(whole, "params") == pytest.approx(cost.params, rel=0.01)
    assert space.cost(whole, "macs") == pytest.approx(cost.macs, rel=1e-6)


@pytest.mark.parametrize("share", [0.75, 0.5, 0.3])
def test_cost_predicts_the_written_model(space: Space, share: float) -> None:
    point = tuple(knob.snap(share * knob.size) for knob in space.knobs)
    plan = space.plan(point, space.weights)
    small, _ = compact(shrink(space.dependency, plan).model, SmallestChooser())
    cost = model_cost(small)
    assert space.cost(point, "params") == pytest.approx(cost.params, rel=0.12)
    assert space.cost(point, "macs") == pytest.approx(cost.macs, rel=0.12)


def _size(model: Model, metric: SizeMetric) -> int:
    cost = model_cost(model)
    return cost.params if metric == "params" else cost.bytes


class _Wasteful:
    """Takes the largest form that is not dense: another chooser's idea of fast."""

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        lowered = [c for c in candidates if c.form != "dense"]
        return max(lowered or candidates, key=lambda c: c.params)


@pytest.mark.parametrize("chooser", [_Wasteful(), CostModelChooser()])
@pytest.mark.parametrize("metric", ["params", "size"])
def test_size_target_is_kept_whatever_the_chooser_likes(
    space: Space, chooser: Chooser, metric: SizeMetric
) -> None:
    point = tuple(
        knob.snap(0.4 * knob.size) if knob.kind == "columns" else knob.size for knob in space.knobs
    )
    shrunk = shrink(space.dependency, space.plan(point, space.weights)).model
    smallest = _size(compact(shrunk, SmallestChooser(metric))[0], metric)
    free = _size(compact(shrunk, chooser)[0], metric)
    assert smallest < free
    middle = (smallest + free) // 2
    for most in (smallest, middle):
        small, lowered = compact(shrunk, chooser, limit=Limit(metric, most))
        assert _size(small, metric) <= most
        assert len({layer.name for layer in lowered}) == len(space.layers)


def test_filters_alone_are_predicted_exactly(model: Model) -> None:
    space = Space(dependency=analyse(model), weights=model.constants(), columns=False)
    point = tuple(knob.snap(0.5 * knob.size) for knob in space.knobs)
    small = shrink(space.dependency, space.plan(point, space.weights)).model
    cost = model_cost(small)
    assert space.cost(point, "params") == pytest.approx(cost.params, rel=0.01)
    assert space.cost(point, "macs") == pytest.approx(cost.macs, rel=1e-6)


def test_align_keeps_multiples(model: Model) -> None:
    space = Space(dependency=analyse(model), weights=model.constants(), align=8)
    steps = [knob.step for knob in space.knobs if knob.kind == "filters" and knob.size % 8 == 0]
    assert steps
    assert set(steps) == {8}


def test_columns_removed_once_stay_removed(space: Space) -> None:
    point = tuple(
        knob.snap(0.5 * knob.size) if knob.kind == "columns" else knob.size for knob in space.knobs
    )
    first = shrink(space.dependency, space.plan(point, space.weights)).model
    again = Space(dependency=analyse(first), weights=first.constants())
    for layer in again.column_layers:
        before, after = (of.alive[layer.weight].sum() for of in (space, again))
        assert after == pytest.approx(0.5 * before, abs=1)
    plan = again.plan(tuple(knob.size for knob in again.knobs), again.weights)
    assert not plan.columns


def test_projection_of_admm_keeps_what_the_mask_keeps(space: Space) -> None:
    point = tuple(knob.snap(0.5 * knob.size) for knob in space.knobs)
    projected = space.constraint(point).project(dict(space.weights))
    plan = space.masked_plan(point, space.weights)
    for family, gone in plan.sets.items():
        assert np.array_equal(~projected.sets[family], gone)


def test_constraint_names_all_weights_that_it_projects(space: Space) -> None:
    half = tuple(
        knob.snap(0.5 * knob.size) if knob.kind == "columns" else knob.size for knob in space.knobs
    )
    first = shrink(space.dependency, space.plan(half, space.weights)).model
    again = Space(dependency=analyse(first), weights=first.constants())
    # Columns of the first round are gone: the whole point of the second still restricts them.
    constraint = again.constraint(tuple(knob.size for knob in again.knobs))
    names = again.constrained(constraint)
    assert set(names) == {layer.weight for layer in again.column_layers}
    projected = constraint.project({name: again.weights[name] for name in names}).weights
    for name in names:
        assert np.array_equal(projected[name], again.weights[name])


def test_expand_puts_trained_weights_where_they_lay(model: Model, space: Space) -> None:
    point = tuple(knob.snap(0.5 * knob.size) for knob in space.knobs)
    shrunk = shrink(space.dependency, space.plan(point, space.weights))
    positions = compose({}, shrunk)
    dense = expand(model, space.dependency, shrunk.model.constants(), positions)
    again = shrink(space.dependency, space.plan(point, space.weights)).model.constants()
    for name, value in dense.constants().items():
        full = model.constants()[name]
        assert value.shape == full.shape
        kept = np.isclose(value, full)
        assert (kept | (value == 0)).all()
        assert np.count_nonzero(value) == np.count_nonzero(again[name])


def test_dead_sets_finds_unread_and_unmade(space: Space) -> None:
    family = next(f for f in space.families if any(m.role == "column" for m in f.members))
    weights = {name: value.copy() for name, value in space.weights.items()}
    for member in family.members:
        value = np.moveaxis(weights[member.tensor], member.axis, 0)
        if member.role == "column":
            value[member.sets == 1] = 0
        if member.role == "filter":
            value[member.sets == 2] = 0
    found = dead_sets(space.dependency, [family], weights)
    assert np.flatnonzero(found[family.name]).tolist() == [1, 2]
    assert not dead_sets(space.dependency, [family], space.weights)


def test_the_criterion_sets_rounds_and_shares() -> None:
    reconstructed = plan_schedule(Rate(8.0), epochs=10.0)
    assert (reconstructed.rates, reconstructed.admm, reconstructed.retrain) == ((8.0,), 0.0, 0.0)
    assert reconstructed.finish == 10.0
    further = plan_schedule(Rate(30.0), epochs=10.0)
    assert len(further.rates) == 2
    assert further.retrain > 0.0
    stated = plan_schedule(Rate(8.0), epochs=10.0, admm_share=0.95, criterion="magnitude")
    assert 3 * stated.retrain == pytest.approx(0.5)
    assert stated.finish == pytest.approx(0.0)


def test_a_plan_is_told_without_what_it_leaves_out() -> None:
    assert plan_schedule(Rate(4.0), epochs=8.0).describe() == "1 round (4x); fine-tuning 8 epochs"
    assert plan_schedule(Rate(4.0), epochs=8.0, criterion="magnitude").describe() == (
        "2 rounds (2x, 4x), each ADMM 0.4 epochs and retraining 0.6 epochs; fine-tuning 6 epochs"
    )


def test_stages_spend_the_budget_once() -> None:
    stages = plan_schedule(Rate(8.0), epochs=10.0, criterion="magnitude")
    assert stages.rates == pytest.approx((2.0, 4.0, 8.0))
    assert 3 * (stages.admm + stages.retrain) + stages.finish == pytest.approx(10.0)
    assert stages.finish_by_s is None


def test_shares_say_what_admm_and_retraining_get() -> None:
    stages = plan_schedule(Rate(4.0), rounds=2, epochs=10.0, admm_share=0.4, retrain_share=0.2)
    assert (stages.admm, stages.retrain, stages.finish) == pytest.approx((2.0, 1.0, 4.0))
    timed: dict[str, Any] = {"time_budget_s": 100.0, "seconds_per_pass": 1.0}
    more = plan_schedule(Rate(4.0), admm_share=0.4, retrain_share=0.2, **timed)
    less = plan_schedule(Rate(4.0), admm_share=0.2, retrain_share=0.1, **timed)
    assert more.admm == pytest.approx(2 * less.admm)
    assert more.retrain == pytest.approx(2 * less.retrain)


def test_stages_turn_time_into_epochs() -> None:
    timed: dict[str, Any] = {"rounds": 2, "time_budget_s": 100.0, "admm_share": 0.1}
    slow = plan_schedule(Rate(8.0), seconds_per_pass=10.0, **timed)
    fast = plan_schedule(Rate(8.0), seconds_per_pass=5.0, **timed)
    assert len(slow.rates) == 2
    assert fast.admm == pytest.approx(2 * slow.admm)
    assert fast.retrain == pytest.approx(2 * slow.retrain)
    assert slow.finish_by_s is not None
    assert 10.0 * slow.finish > 100.0
    assert slow.search_s is not None
    rounds = 2 * (10.0 * (slow.admm + slow.retrain) + slow.search_s)
    assert rounds < slow.finish_by_s < 100.0


def test_rho_grows_as_updates_shrink() -> None:
    config = make_config({"model": "m.onnx", "target_rate": "2x"})
    long = effective_admm(config, 200.0, 0.01, 50_000)
    short = effective_admm(config, 2.0, 0.01, 50_000)
    assert long.rho == pytest.approx(config.admm.rho, rel=0.01)
    assert short.rho == pytest.approx(100 * config.admm.rho, rel=0.01)
    tiny = effective_admm(config, 3 / 391, 0.01, 50_000)
    assert tiny.updates == 3
    assert effective_admm(config, 3 / 391, 10.0, 50_000).rho_max == pytest.approx(0.5 / 10.0)


def test_empty_plan_changes_nothing(space: Space) -> None:
    same = shrink(space.dependency, Plan()).model
    assert {n: v.shape for n, v in same.constants().items()} == {
        n: v.shape for n, v in space.weights.items()
    }


def _convs(outputs: str, body: str) -> Model:
    """Two convolutions with BatchNormalization behind one of them, as the text of a graph says."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> '
        f"net (float[1,3,8,8] x) => ({outputs}) {{ {body} }}"
    )
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    shapes = {"u": (16, 3, 3, 3), "v": (8, 16, 3, 3)}
    shapes |= dict.fromkeys(("scale", "shift", "mean", "b"), (16,))
    for name, shape in shapes.items():
        proto.graph.initializer.append(
            onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        )
    ones = onnx.numpy_helper.from_array(np.ones(16, np.float32), "var")
    proto.graph.initializer.append(ones)
    return model_from_proto(proto)


NORM = "n = BatchNormalization(c, scale, shift, mean, var)"


@pytest.mark.parametrize(
    ("outputs", "body"),
    [
        ("float[1,8,4,4] y", f"c = Conv(x, u) {NORM} r = Relu(n) y = Conv(r, v)"),
        ("float[1,8,4,4] y", f"c = Conv(x, u, b) {NORM} r = Relu(n) y = Conv(r, v)"),
        # Not folded: the result of the convolution is an output, too.
        (
            "float[1,8,4,4] y, float[1,16,6,6] c",
            f"c = Conv(x, u) {NORM} r = Relu(n) y = Conv(r, v)",
        ),
        # Not folded: its weights are computed.
        (
            "float[1,8,4,4] y",
            "c = Conv(x, u) s = Abs(b) n = BatchNormalization(c, s, shift, mean, var) "
            "r = Relu(n) y = Conv(r, v)",
        ),
    ],
)
def test_a_normalisation_costs_where_the_file_keeps_it(outputs: str, body: str) -> None:
    model = _convs(outputs, body)
    space = Space(dependency=analyse(model), weights=model.constants(), columns=False)
    whole = tuple(knob.size for knob in space.knobs)
    written = model_cost(compact(model, SmallestChooser())[0])
    assert space.cost(whole, "params") == written.params
    assert space.cost(whole, "macs") == written.macs
