"""Labels: unions, grids, fences; against a naive union-find and brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgraph.analysis.labels import MAX_REASONS, Labels, concat, merge
from acgraph.diagnostics import Diagnostic

WHY = Diagnostic(message="because")


def pattern(axis: np.ndarray) -> list[int]:
    """Number labels by first appearance, so that label values do not matter."""
    seen: dict[int, int] = {}
    return [seen.setdefault(x, len(seen)) for x in axis.ravel().tolist()]


def test_unify_is_transitive() -> None:
    labels = Labels()
    a, b, c = labels.fresh(3), labels.fresh(3), labels.fresh(3)
    labels.unify(a, b, WHY)
    labels.unify(b, c, WHY)
    assert np.array_equal(labels.resolve(a), labels.resolve(c))
    assert len(np.unique(labels.resolve(a))) == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20))
def test_unions_agree_with_a_naive_partition(pairs: list[tuple[int, int]]) -> None:
    labels = Labels()
    axis = labels.fresh(12)
    classes = [{k} for k in range(12)]
    for i, j in pairs:
        labels.unify(axis[i : i + 1], axis[j : j + 1], WHY)
        joined = classes[i] | classes[j]
        for k in joined:
            classes[k] = joined
    roots = labels.resolve(axis)[:, 0]
    for i, j in itertools.combinations(range(12), 2):
        assert (roots[i] == roots[j]) == (j in classes[i])


def test_an_axis_that_is_never_cut_fences_what_it_meets() -> None:
    labels = Labels()
    a = labels.fresh(2)
    assert labels.unify(a, None, WHY) is None
    assert set(labels.fences) == set(a.ravel().tolist())


def test_split_and_merge_come_back() -> None:
    labels = Labels()
    axis = labels.fresh(12)
    rows, columns = labels.split(axis, [3, 4], WHY)
    assert rows is not None
    assert columns is not None
    assert rows.shape == (3, 1)
    assert columns.shape == (4, 1)
    back = merge([rows, columns], [3, 4])
    assert back is not None
    assert np.array_equal(labels.resolve(axis), labels.resolve(back))
    # position (r, c) goes with row r or with column c, and with nothing else
    grid = labels.resolve(axis).reshape(3, 4, 2)
    for r, c in itertools.product(range(3), range(4)):
        assert set(grid[r, c]) == {rows[r, 0], columns[c, 0]}


def test_split_in_three() -> None:
    labels = Labels()
    axis = labels.fresh(24)
    parts = labels.split(axis, [2, 3, 4], WHY)
    assert [p.shape[0] for p in parts if p is not None] == [2, 3, 4]
    assert labels.resolve(axis).shape == (24, 3)


def test_a_repeated_label_varies_along_one_side_only() -> None:
    labels = Labels()
    channel = labels.fresh(3)
    repeated = merge([channel, None], [3, 4])
    rows, columns = labels.split(repeated, [3, 4], WHY)
    assert columns is None
    assert rows is not None
    assert np.array_equal(rows, channel)


def test_one_label_for_a_whole_axis_is_fenced() -> None:
    labels = Labels()
    one = labels.fresh(1)
    parts = labels.split(np.repeat(one, 6, axis=0), [2, 3], WHY)
    assert parts == [None, None]
    assert int(one[0, 0]) in labels.fences


def test_a_grid_that_is_no_grid_is_joined_to_rows() -> None:
    labels = Labels()
    a = labels.fresh(3)[:, 0]
    # rows 0 and 1 share a label across: only whole rows are left, and these two go together
    axis = np.array([a[0], a[1], a[1], a[2]])[:, None]
    rows, columns = labels.split(axis, [2, 2], WHY)
    found = [p for p in (rows, columns) if p is not None]
    assert len(found) == 1
    assert len(np.unique(labels.resolve(axis))) == 1


def test_a_free_axis_becomes_the_grid_that_it_meets() -> None:
    labels = Labels()
    axis, weight = labels.fresh(6), labels.fresh(6)
    labels.split(axis, [2, 3], WHY)
    labels.unify(weight, axis, WHY)
    assert np.array_equal(labels.resolve(weight), labels.resolve(axis))
    assert not labels.fences


def test_two_grids_alike_join_column_by_column() -> None:
    labels = Labels()
    a, b = labels.fresh(6), labels.fresh(6)
    labels.split(a, [2, 3], WHY)
    labels.split(b, [2, 3], WHY)
    labels.unify(a, b, WHY)
    assert np.array_equal(labels.resolve(a), labels.resolve(b))
    assert not labels.fences


def test_two_grids_unlike_fence_what_does_not_fit() -> None:
    labels = Labels()
    a, b = labels.fresh(6), labels.fresh(6)
    labels.split(a, [2, 3], WHY)
    labels.split(b, [3, 2], WHY)
    labels.unify(a, b, WHY)
    fenced = set(labels.fences)
    assert set(labels.resolve(a).ravel().tolist()) <= fenced
    assert set(labels.resolve(b).ravel().tolist()) <= fenced


def test_fences_follow_a_label_into_its_class_and_into_its_grid() -> None:
    labels = Labels()
    a, b, axis = labels.fresh(1), labels.fresh(1), labels.fresh(4)
    labels.fence(b, WHY)
    labels.unify(a, b, WHY)
    assert labels.fences[int(labels.resolve(a)[0, 0])] == [WHY]
    labels.mark_inexact(axis[:1], WHY)
    rows, columns = labels.split(axis, [2, 2], WHY)
    assert rows is not None
    assert columns is not None
    assert set(labels.inexact) == {int(rows[0, 0]), int(columns[0, 0])}


def test_concat_leaves_label_zero_where_nothing_can_go() -> None:
    labels = Labels()
    a = labels.fresh(2)
    joined = concat([a, None], [2, 3])
    assert joined is not None
    assert joined[:, 0].tolist() == [*a[:, 0].tolist(), 0, 0, 0]
    assert concat([None, None], [1, 1]) is None


def test_a_label_keeps_its_first_reasons() -> None:
    labels = Labels()
    a = labels.fresh(1)
    for k in range(MAX_REASONS + 3):
        labels.fence(a, Diagnostic(message=str(k)))
    reasons = labels.fences[int(a[0, 0])]
    assert [r.message for r in reasons] == [str(k) for k in range(MAX_REASONS)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([2, 3, 4]), min_size=2, max_size=3), st.data())
def test_any_cut_of_a_grid_leaves_a_rectangle(sizes: list[int], data: st.DataObject) -> None:
    labels = Labels()
    axis = labels.fresh(int(np.prod(sizes)))
    labels.split(axis, sizes, WHY)
    resolved = labels.resolve(axis)
    names = np.unique(resolved)
    gone = data.draw(st.sets(st.sampled_from(names.tolist())))
    kept = ~np.isin(resolved, list(gone)).any(axis=1).reshape(sizes)
    sides = [
        kept.any(axis=tuple(k for k in range(len(sizes)) if k != d)) for d in range(len(sizes))
    ]
    rectangle = np.ones(sizes, bool)
    for d, side in enumerate(sides):
        shape = [1] * len(sizes)
        shape[d] = -1
        rectangle &= side.reshape(shape)
    assert np.array_equal(kept, rectangle)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_unify_does_not_depend_on_the_order(order: tuple[int, int]) -> None:
    labels = Labels()
    axes = [labels.fresh(6), labels.fresh(6)]
    labels.split(axes[0], [2, 3], WHY)
    labels.unify(axes[order[0]], axes[order[1]], WHY)
    assert pattern(labels.resolve(axes[0])) == pattern(labels.resolve(axes[1]))
