import numpy as np
import pytest

from acgraph.analysis.families import Family, Member
from acgraph.pruning.importance import column_norms, set_importance


def family() -> Family:
    sets = np.array([0, 1, 2])
    return Family(
        "f",
        3,
        (
            Member("w", 0, sets, "filter"),
            Member("r", 1, np.repeat(sets, 2), "column"),
        ),
    )


WEIGHTS = {
    "w": np.array([[3.0, 4.0], [0.0, 1.0], [2.0, 0.0]]),
    "r": 100.0 * np.array([[1.0, 0.0, 2.0, 0.0, 0.0, 3.0]]),
}
W = np.array([5.0, 1.0, 2.0])
R = np.array([100.0, 200.0, 300.0])


def test_mean_normalises_each_member_then_averages() -> None:
    expected = (W / W.mean() + R / R.mean()) / 2
    assert set_importance(family(), WEIGHTS) == pytest.approx(expected)


def test_max_normalises_by_the_greatest() -> None:
    expected = (W / W.max() + R / R.max()) / 2
    assert set_importance(family(), WEIGHTS, normalise="max") == pytest.approx(expected)


def test_none_is_the_plain_joint_norm() -> None:
    expected = np.sqrt(W**2 + R**2)
    assert set_importance(family(), WEIGHTS, normalise="none") == pytest.approx(expected)


def test_order_is_the_p_of_the_norm() -> None:
    expected = np.array([7.0, 1.0, 2.0])
    found = set_importance(family(), WEIGHTS, order=1, normalise="none", roles=("filter",))
    assert found == pytest.approx(expected)


def test_members_without_weights_take_no_part() -> None:
    assert set_importance(family(), {"w": WEIGHTS["w"]}) == pytest.approx(W / W.mean())


def test_an_all_zero_member_adds_nothing() -> None:
    weights = WEIGHTS | {"r": np.zeros((1, 6))}
    assert set_importance(family(), weights) == pytest.approx(W / W.mean() / 2)


def test_scaling_a_layer_leaves_normalised_importance_alone() -> None:
    scaled = WEIGHTS | {"w": WEIGHTS["w"] * 1e-3}
    assert set_importance(family(), scaled) == pytest.approx(set_importance(family(), WEIGHTS))


def test_column_norms_are_over_all_filters() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype(np.float32)
    assert column_norms(weight) == pytest.approx(np.linalg.norm(weight, axis=0), rel=1e-5)
    assert column_norms(weight, order=1) == pytest.approx(np.abs(weight).sum(axis=0), rel=1e-5)
