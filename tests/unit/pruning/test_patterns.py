"""The projections onto column patterns, against the best of all masks."""

import doctest
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgraph.pruning import patterns
from acgraph.pruning.patterns import PATTERNS, allowed_counts, project_columns

Mask = np.ndarray


def is_evenly_spaced(indices: Mask) -> bool:
    return len(set(np.diff(indices).tolist())) <= 1


def is_allowed(mask: Mask, pattern: str, multiple: int) -> bool:
    """Say what each pattern means, by looking at a finished mask ``[I, k]`` or ``[I, kh, kw]``."""
    channels = mask.shape[0]
    flat = mask.reshape(channels, -1)
    counts = {0, *range(0, channels + 1, multiple), channels}
    if pattern == "free":
        return bool(mask.sum() % multiple == 0 or mask.all())
    if pattern == "kernel":
        return bool((flat == flat[:1]).all())
    per_position = set(flat.sum(axis=0).tolist())
    if pattern == "balanced":
        return len(per_position) == 1 and per_position <= counts
    if pattern == "contiguous":
        ranges = [np.flatnonzero(column) for column in flat.T]
        return per_position <= counts and all((np.diff(r) == 1).all() for r in ranges)
    used = flat.any(axis=1)
    rows = {tuple(row) for row in flat[used]}
    support = mask[used].any(axis=0)
    axes = [np.unique(axis) for axis in np.nonzero(support)] if support.ndim else []
    box = int(np.prod([len(axis) for axis in axes]))
    return (
        len(rows) == 1
        and int(used.sum()) in counts
        and mask.sum() == box * used.sum()
        and all(is_evenly_spaced(axis) for axis in axes)
    )


def best_by_trying(weight: Mask, keep: int, pattern: str, multiple: int) -> float | None:
    """The largest norm of all allowed masks of 1 to ``keep`` columns; None where there is none."""
    powers = (weight.astype(np.float64) ** 2).sum(axis=0)
    best = None
    for flags in itertools.product([False, True], repeat=powers.size):
        mask = np.array(flags).reshape(powers.shape)
        if 0 < mask.sum() <= keep and is_allowed(mask, pattern, multiple):
            best = max(best or 0.0, float(powers[mask].sum()))
    return best


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from([(4, 3), (2, 5), (3, 2, 2), (10,), (5, 2), (1, 3, 3), (2, 2, 2)]),
    share=st.floats(0.05, 1.0),
    pattern=st.sampled_from(PATTERNS),
    multiple=st.sampled_from([1, 1, 2, 3]),
    seed=st.integers(0, 1000),
    ties=st.booleans(),
)
def test_projection_is_the_best_of_all_masks(
    shape: tuple[int, ...], share: float, pattern: str, multiple: int, seed: int, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((2, *shape)).astype(np.float32)
    if ties:
        weight = rng.integers(0, 3, weight.shape).astype(np.float32)
    keep = max(1, round(share * int(np.prod(shape))))
    mask = project_columns(weight, keep, pattern, multiple)
    assert mask.shape == shape
    assert mask.dtype == np.bool_
    assert is_allowed(mask, pattern, multiple)
    best = best_by_trying(weight, keep, pattern, multiple)
    kept = float((weight.astype(np.float64) ** 2).sum(axis=0)[mask].sum())
    if best is None:
        assert mask.sum() > keep  # the smallest choice of the pattern is larger than asked for
    else:
        assert mask.sum() <= keep
        assert kept == pytest.approx(best)


def test_free_keeps_exactly_k_under_ties() -> None:
    assert project_columns(np.ones((2, 4, 3, 3)), 7).sum() == 7


def test_smallest_choice_stays_where_less_is_asked_for() -> None:
    weight = np.random.default_rng(0).standard_normal((2, 8, 3))
    assert project_columns(weight, 1, "balanced", 4).sum(axis=0).tolist() == [4, 4, 4]
    assert project_columns(weight, 1, "kernel").sum() == 8
    assert project_columns(weight, 1, "contiguous", 4).sum() == 4
    assert project_columns(weight, 1, "box", 4).sum() == 4
    assert project_columns(weight, 1, "free", 4).sum() == 4


def test_box_of_everything_but_a_border_is_found() -> None:
    weight = np.full((3, 4, 3, 3), 1e-3)
    weight[:, [0, 2], 0:3:2, 1:] = 1.0
    mask = project_columns(weight, 8, "box")
    assert mask.sum() == 8
    assert mask[np.ix_([0, 2], [0, 2], [1, 2])].all()


def test_nothing_and_everything() -> None:
    weight = np.random.default_rng(1).standard_normal((2, 4, 3, 3))
    for pattern in PATTERNS:
        assert not project_columns(weight, 0, pattern).any()
        assert project_columns(weight, 36, pattern).all()


@pytest.mark.parametrize(
    ("keep", "pattern", "multiple"),
    [(-1, "free", 1), (37, "free", 1), (3, "odd", 1), (3, "box", 0)],
)
def test_wrong_arguments_are_refused(keep: int, pattern: str, multiple: int) -> None:
    with pytest.raises(ValueError, match=r"cannot|no pattern"):
        project_columns(np.ones((2, 4, 3, 3)), keep, pattern, multiple)


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        project_columns(np.full((1, 2, 3), np.nan), 1, "box")


def test_counts_are_multiples_or_all() -> None:
    assert allowed_counts(10, 4) == [4, 8, 10]
    assert allowed_counts(3, 8) == [3]


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(patterns).failed == 0
