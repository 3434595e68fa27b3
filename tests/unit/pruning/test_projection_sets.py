"""Projections against the definition: no other choice of k groups is nearer."""

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgraph.analysis.families import Family, Member
from acgraph.pruning.projection import (
    ColumnCut,
    Constraint,
    SetCut,
    column_mask,
    input_channel_mask,
    set_mask,
    set_norms,
    zero_columns,
    zero_sets,
)
from acgraph.pruning.ranking import top_mask

Array = npt.NDArray[Any]


def member(tensor: str, axis: int, sets: list[int], role: str) -> Member:
    return Member(tensor=tensor, axis=axis, sets=np.array(sets, dtype=np.int64), role=role)


def residual_family() -> Family:
    """Two writers of a stream of 4, one with a position of its own, and a flattened reader."""
    return Family(
        name="stream",
        size=4,
        members=(
            member("a", 0, [0, 1, 2, 3], "filter"),
            member("b", 0, [2, 3, 0, 1, -1], "filter"),
            member("bias", 0, [0, 1, 2, 3], "filter"),
            member("reader", 1, [0, 0, 1, 1, 2, 2, 3, 3], "column"),
            member("sizes", 0, [0, 1, 2, 3], "other"),
        ),
    )


def residual_weights(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    shapes = {"a": (4, 3, 3, 3), "b": (5, 2, 1, 1), "bias": (4,), "reader": (6, 8), "sizes": (4,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def distance(a: dict[str, Array], b: dict[str, Array]) -> float:
    return float(np.sqrt(sum(((a[n].astype(np.float64) - b[n]) ** 2).sum() for n in a)))


def all_masks(size: int, keep: int) -> list[npt.NDArray[np.bool_]]:
    masks = []
    for kept in combinations(range(size), keep):
        mask = np.zeros(size, dtype=np.bool_)
        mask[list(kept)] = True
        masks.append(mask)
    return masks


@pytest.mark.parametrize("roles", [("filter",), ("column",), ("filter", "column")])
@pytest.mark.parametrize("keep", [0, 1, 2, 3, 4])
def test_set_projection_is_the_nearest_of_all_choices(keep: int, roles: tuple[str, ...]) -> None:
    family, weights = residual_family(), residual_weights()
    found = Constraint(sets=(SetCut(family=family, keep=keep, roles=roles),)).project(weights)
    assert found.sets["stream"].sum() == keep
    nearest = min(
        distance(weights, weights | zero_sets(family, weights, mask, roles=roles))
        for mask in all_masks(4, keep)
    )
    assert distance(weights, found.weights) == pytest.approx(nearest, rel=1e-6)
    assert found.distance == pytest.approx(nearest, rel=1e-6)


def test_removed_sets_are_zero_on_all_members_and_nothing_else_is() -> None:
    family, weights = residual_family(), residual_weights()
    mask = np.array([True, False, True, True])
    zeroed = zero_sets(family, weights, mask)
    assert set(zeroed) == {"a", "b", "bias", "reader"}
    assert not zeroed["a"][1].any()
    assert not zeroed["b"][3].any()
    assert zeroed["bias"][1] == 0
    assert not zeroed["reader"][:, 2:4].any()
    for name, array in zeroed.items():
        changed = array != weights[name]
        assert (array[changed] == 0).all()
    assert (zeroed["b"][4] == weights["b"][4]).all()
    assert np.count_nonzero(zeroed["reader"]) == 6 * 6


def test_norms_are_joint_over_all_members() -> None:
    family, weights = residual_family(), residual_weights()
    norms = set_norms(family, weights)
    by_hand = np.sqrt(
        (weights["a"][1] ** 2).sum() + (weights["b"][3] ** 2).sum() + weights["bias"][1] ** 2
    )
    assert norms[1] == pytest.approx(by_hand, rel=1e-6)


def test_scales_change_which_set_is_weakest() -> None:
    family = Family("s", 2, (member("a", 0, [0, 1], "filter"), member("b", 0, [0, 1], "filter")))
    weights = {"a": np.array([3.0, 1.0]), "b": np.array([1.0, 2.0])}
    assert set_mask(family, weights, 1).tolist() == [True, False]
    assert set_mask(family, weights, 1, scales={"b": 10.0}).tolist() == [False, True]
    constraint = Constraint(sets=(SetCut(family=family, keep=1),))
    assert constraint.project(weights, {"b": 10.0}).sets["s"].tolist() == [False, True]


def test_a_tied_weight_counts_once() -> None:
    once = Family("s", 2, (member("a", 0, [0, 1], "filter"),))
    twice = Family("s", 2, (member("a", 0, [0, 1], "filter"), member("a", 0, [0, 1], "filter")))
    weights = {"a": np.array([[3.0], [1.0]])}
    assert set_norms(twice, weights).tolist() == set_norms(once, weights).tolist()


def test_a_family_outside_the_weights_is_an_error() -> None:
    with pytest.raises(ValueError, match="no member"):
        set_norms(residual_family(), {"other": np.ones(3)})


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=12),
    st.integers(min_value=0, max_value=12),
)
def test_exactly_k_under_ties_lowest_index_first(norms: list[float], wish: int) -> None:
    keep = min(wish, len(norms))
    mask = top_mask(np.array(norms), keep)
    ranked = sorted(range(len(norms)), key=lambda i: (-norms[i], i))
    assert sorted(np.flatnonzero(mask)) == sorted(ranked[:keep])


@pytest.mark.parametrize("keep", [-1, 4])
def test_counts_out_of_range_are_refused(keep: int) -> None:
    with pytest.raises(ValueError, match="cannot keep"):
        top_mask(np.ones(3), keep)


def test_diverged_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        column_mask(np.array([[1.0, np.nan]]), 1)


@pytest.mark.parametrize("keep", [0, 3, 7])
def test_column_projection_is_the_nearest_of_all_choices(keep: int) -> None:
    weight = np.random.default_rng(1).normal(size=(5, 2, 2, 2))
    mask = column_mask(weight, keep)
    assert mask.shape == (2, 2, 2)
    assert mask.sum() == keep
    nearest = min(
        float(((weight - zero_columns(weight, other.reshape(2, 2, 2))) ** 2).sum())
        for other in all_masks(8, keep)
    )
    assert ((weight - zero_columns(weight, mask)) ** 2).sum() == pytest.approx(nearest)


def test_whole_channel_projection_is_the_nearest_of_all_choices() -> None:
    weight = np.random.default_rng(2).normal(size=(3, 5, 2, 2))
    mask = input_channel_mask(weight, 2)
    nearest = min(
        float(((weight - zero_columns(weight, other)) ** 2).sum()) for other in all_masks(5, 2)
    )
    assert ((weight - zero_columns(weight, mask)) ** 2).sum() == pytest.approx(nearest)


def test_matrix_weights_have_one_column_per_input() -> None:
    weight = np.array([[1.0, 5.0, 3.0], [0.0, 0.0, 4.0]])
    assert column_mask(weight, 2).tolist() == [False, True, True]


@settings(max_examples=40)
@given(
    st.integers(0, 1000),
    st.integers(0, 4),
    st.integers(0, 27),
    st.sampled_from(["columns-first", "filters-first", "best"]),
)
def test_combined_projection_meets_both_counts_and_is_idempotent(
    seed: int, sets: int, columns: int, order: Any
) -> None:
    weights = residual_weights(seed)
    constraint = Constraint(
        sets=(SetCut(family=residual_family(), keep=sets),),
        columns=(ColumnCut(tensor="a", keep=columns),),
        order=order,
    )
    before = {name: array.copy() for name, array in weights.items()}
    once = constraint.project(weights)
    assert once.sets["stream"].sum() == sets
    assert once.columns["a"].sum() == columns
    assert np.count_nonzero(np.abs(once.weights["a"]).sum(axis=(1, 2, 3))) <= sets
    assert np.count_nonzero(np.abs(once.weights["a"]).sum(axis=0)) <= columns
    twice = constraint(once.weights)
    for name, array in once.weights.items():
        assert (twice[name] == array).all()
        assert (weights[name] == before[name]).all()
        assert array.dtype == weights[name].dtype
        assert not np.shares_memory(array, weights[name])


def test_the_order_is_obeyed_and_best_is_never_worse() -> None:
    family = Family("f", 2, (member("w", 0, [0, 1], "filter"),))
    cuts = (SetCut(family=family, keep=1),), (ColumnCut(tensor="w", keep=2),)
    rng = np.random.default_rng(3)
    differed = 0
    for _ in range(60):
        weights = {"w": rng.normal(size=(2, 3))}
        first = Constraint(sets=cuts[0], columns=cuts[1], order="columns-first").project(weights)
        second = Constraint(sets=cuts[0], columns=cuts[1], order="filters-first").project(weights)
        best = Constraint(sets=cuts[0], columns=cuts[1]).project(weights)
        assert (first.columns["w"] == column_mask(weights["w"], 2)).all()
        assert (second.sets["f"] == set_mask(family, weights, 1)).all()
        assert best.distance == pytest.approx(min(first.distance, second.distance))
        differed += first.distance != pytest.approx(second.distance)
    assert differed > 5


def test_patterns_and_multiples_are_obeyed() -> None:
    weight = np.random.default_rng(4).normal(size=(6, 8, 3, 3))
    kernel = Constraint(columns=(ColumnCut(tensor="w", keep=24, pattern="kernel"),))
    mask = kernel.project({"w": weight}).columns["w"]
    positions = mask.any(axis=0)
    assert positions.sum() == 3
    assert (mask == positions).all()
    free = Constraint(columns=(ColumnCut(tensor="w", keep=23, multiple=8),))
    assert free.project({"w": weight}).columns["w"].sum() == 16
