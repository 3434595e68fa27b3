"""Elimination and refit against least squares on the samples themselves."""

import itertools

import numpy as np
import pytest

from acgraph.pruning import downdate, reconstruct
from acgraph.pruning.reconstruct import Gram, Reader, eliminate, refit


@pytest.fixture(autouse=True)
def _no_damping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruct, "DAMPING", 0.0)


def _samples(columns: int, seed: int = 0, count: int = 400) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(columns, columns))
    return rng.normal(size=(count, columns)) @ mixing + rng.normal(size=columns)


def _gram(x: np.ndarray) -> Gram:
    return Gram(covariance=np.cov(x.T, bias=True), mean=x.mean(axis=0))


def _lost(x: np.ndarray, matrix: np.ndarray, kept: np.ndarray) -> float:
    """Least mean squared error with these columns only, by lstsq on the samples."""
    target = x @ matrix.T
    solution, *_ = np.linalg.lstsq(x[:, kept], target, rcond=None)
    return float(((target - x[:, kept] @ solution) ** 2).sum() / len(x))


def _energy(x: np.ndarray, matrix: np.ndarray) -> float:
    return float(((x @ matrix.T) ** 2).sum() / len(x))


def test_refit_is_least_squares_on_the_samples() -> None:
    x, rng = _samples(7), np.random.default_rng(1)
    matrix = rng.normal(size=(4, 7))
    kept = np.array([1, 0, 1, 1, 0, 0, 1], bool)
    solution, *_ = np.linalg.lstsq(x[:, kept], x @ matrix.T, rcond=None)
    reconstructed = refit(matrix, _gram(x).moments(centred=False), kept)
    np.testing.assert_allclose(reconstructed[:, kept], solution.T, rtol=1e-6, atol=1e-8)
    assert not reconstructed[:, ~kept].any()


def test_central_moments_are_least_squares_with_a_free_bias() -> None:
    x, rng = _samples(6), np.random.default_rng(1)
    matrix = rng.normal(size=(3, 6))
    kept = np.array([1, 0, 1, 1, 0, 1], bool)
    ones = np.column_stack([x[:, kept], np.ones(len(x))])
    solution, *_ = np.linalg.lstsq(ones, x @ matrix.T, rcond=None)
    reconstructed = refit(matrix, _gram(x).moments(centred=True), kept)
    np.testing.assert_allclose(reconstructed[:, kept], solution[:-1].T, rtol=1e-6, atol=1e-8)


def test_losses_are_those_of_the_samples() -> None:
    x, rng = _samples(8), np.random.default_rng(2)
    matrix = rng.normal(size=(5, 8))
    found = eliminate([Reader(matrix, _gram(x).moments(centred=False), np.arange(8))], 8)
    for count in range(1, 8):
        kept = np.ones(8, bool)
        kept[found.order[:count]] = False
        expected = _lost(x, matrix, kept) / _energy(x, matrix)
        assert found.loss_of(8 - count) == pytest.approx(expected, rel=1e-6)
    assert found.loss_of(8) == 0.0
    assert found.loss_of(0) == pytest.approx(1.0)


def test_each_step_takes_the_unit_whose_loss_is_least() -> None:
    x, rng = _samples(6, seed=3), np.random.default_rng(3)
    matrix = rng.normal(size=(4, 6))
    found = eliminate([Reader(matrix, _gram(x).moments(centred=False), np.arange(6))], 6)
    gone: list[int] = []
    for unit in found.order[:-1]:

        def lost(candidate: int) -> float:
            kept = np.ones(6, bool)
            kept[[*gone, candidate]] = False
            return _lost(x, matrix, kept)

        left = [u for u in range(6) if u not in gone]
        assert unit == min(left, key=lost)
        gone.append(int(unit))


def test_units_of_several_columns_in_several_readers() -> None:
    x, y, rng = _samples(6, seed=4), _samples(3, seed=5), np.random.default_rng(4)
    first, second = rng.normal(size=(4, 6)), rng.normal(size=(2, 3))
    readers = [
        Reader(first, _gram(x).moments(centred=False), np.repeat(np.arange(3), 2)),
        Reader(second, _gram(y).moments(centred=False), np.arange(3)),
    ]
    found = eliminate(readers, 3)

    def lost(gone: tuple[int, ...]) -> float:
        kept = ~np.isin(np.arange(3), gone)
        share = _lost(x, first, np.repeat(kept, 2)) / _energy(x, first)
        return share + _lost(y, second, kept) / _energy(y, second)

    assert found.order[0] == min(range(3), key=lambda u: lost((u,)))
    assert found.loss[1] == pytest.approx(lost(tuple(found.order[:2])), rel=1e-6)


def test_columns_of_no_unit_stay_and_unread_units_go_first() -> None:
    x, rng = _samples(4), np.random.default_rng(5)
    matrix = rng.normal(size=(3, 4))
    units = np.array([0, -1, 2, -1])
    found = eliminate([Reader(matrix, _gram(x).moments(centred=False), units)], 3)
    assert found.order[0] == 1
    kept = np.array([0, 1, 0, 1], bool)
    assert found.loss[-1] == pytest.approx(_lost(x, matrix, kept) / _energy(x, matrix), rel=1e-6)


def test_several_units_a_step_keep_the_loss_exact() -> None:
    x, rng = _samples(9), np.random.default_rng(6)
    matrix = rng.normal(size=(4, 9))
    reader = Reader(matrix, _gram(x).moments(centred=False), np.arange(9))
    found = eliminate([reader], 9, steps=3)
    kept = np.ones(9, bool)
    kept[found.order[:6]] = False
    expected = _lost(x, matrix, kept) / _energy(x, matrix)
    assert found.loss[5] == pytest.approx(expected, rel=1e-6)
    assert found.loss[3] == found.loss[5]


def test_greedy_is_near_the_best_choice() -> None:
    x, rng = _samples(8, seed=8), np.random.default_rng(8)
    matrix = rng.normal(size=(4, 8))
    moments = _gram(x).moments(centred=False)
    found = eliminate([Reader(matrix, moments, np.arange(8))], 8)
    best = min(
        _lost(x, matrix, np.isin(np.arange(8), kept))
        for kept in itertools.combinations(range(8), 4)
    )
    norms = np.linalg.norm(matrix, axis=0)
    by_magnitude = _lost(x, matrix, np.isin(np.arange(8), np.argsort(-norms)[:4]))
    greedy = found.loss_of(4) * _energy(x, matrix)
    assert best * (1 - 1e-6) <= greedy < by_magnitude * 0.999


def test_scores_rank_what_stays_longest_highest() -> None:
    x = _samples(5)
    reader = Reader(np.eye(5)[:2], _gram(x).moments(centred=False), np.arange(5))
    found = eliminate([reader], 5)
    assert found.scores[found.order].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_damping_makes_a_dead_input_removable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconstruct, "DAMPING", 0.01)
    x = _samples(4)
    x[:, 2] = 0.0
    matrix = np.ones((2, 4))
    found = eliminate([Reader(matrix, _gram(x).moments(centred=False), np.arange(4))], 4)
    assert found.order[0] == 2
    assert np.isfinite(refit(matrix, _gram(x).moments(centred=True), np.ones(4, bool))).all()


def _hard_samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    few = rng.normal(size=(5, 12))
    dead = rng.normal(size=(40, 12))
    dead[:, [1, 7]] = 0.0
    copies = np.repeat(rng.normal(size=(40, 4)), 3, axis=1)
    rounded = (30 + 1e-6 * rng.normal(size=(40, 12))).astype(np.float32).astype(np.float64)
    return {
        "fewer samples than columns": few,
        "dead inputs": dead,
        "copies": copies,
        "constant": np.full((40, 12), 3.0),
        "constant but for rounding": rounded,
        "zero": np.zeros((40, 12)),
        "one sample": few[:1],
        "huge": 1e30 * copies,
        "tiny": 1e-30 * copies,
        "scales far apart": dead * np.geomspace(1e-18, 1e18, 12),
    }


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("case", _hard_samples())
def test_moments_of_any_data_can_be_worked_with(
    case: str, centred: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruct, "DAMPING", 0.01)
    x, matrix = _hard_samples()[case], np.random.default_rng(1).normal(size=(4, 12))
    moments = _gram(x).moments(centred=centred)
    assert np.linalg.eigvalsh(moments / np.trace(moments)).min() > 0
    found = eliminate([Reader(matrix, moments, np.repeat(np.arange(6), 2))], 6)
    assert sorted(found.order) == list(range(6))
    assert np.isfinite(found.loss).all()
    assert (np.diff(found.loss) >= -1e-9).all()
    kept = np.arange(12) % 3 > 0
    reconstructed = refit(matrix, moments, kept)
    assert np.isfinite(reconstructed).all()
    assert np.linalg.norm(reconstructed) < 20 * np.linalg.norm(matrix)


def test_moments_that_rounding_made_indefinite_are_damped_until_they_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconstruct, "DAMPING", 0.01)
    covariance = np.diag([1.0, 1.0, -0.3])  # as sums of float32 leave of large numbers
    moments = Gram(covariance=covariance, mean=np.zeros(3)).moments(centred=True)
    assert np.linalg.eigvalsh(moments).min() > 0


def test_moments_that_are_no_numbers_say_so() -> None:
    assert _gram(_samples(3)).is_finite
    assert not Gram(covariance=np.full((3, 3), np.nan), mean=np.zeros(3)).is_finite
    assert not Gram(covariance=np.eye(3), mean=np.full(3, np.inf)).is_finite


def _wide_reader(seed: int) -> Reader:
    """Units of one, two and three columns, and two columns that stay."""
    x, rng = _samples(26, seed=seed), np.random.default_rng(seed)
    units = rng.permutation(np.array([-1, -1, *np.repeat(np.arange(12), [1, 2, 3] * 4)]))
    return Reader(rng.normal(size=(5, 26)), _gram(x).moments(centred=False), units)


@pytest.mark.parametrize("steps", [12, 4])
def test_collected_removals_are_those_made_one_by_one(
    monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    readers = [_wide_reader(20), _wide_reader(21)]
    found = []
    for panel, direct in ((1, 1), (7, 5), (256, 256)):
        monkeypatch.setattr(downdate, "PANEL", panel)
        monkeypatch.setattr(downdate, "_DIRECT", direct)
        found.append(eliminate(readers, 12, steps=steps))
    assert found[0].is_whole
    for other in found[1:]:
        assert np.array_equal(other.order, found[0].order)
        np.testing.assert_allclose(other.loss, found[0].loss, rtol=1e-8)


def test_the_inverse_by_halves_is_the_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downdate, "_DIRECT", 3)
    moments = _gram(_samples(37, seed=9)).moments(centred=True)
    np.testing.assert_allclose(downdate.inverse_of(moments) @ moments, np.eye(37), atol=1e-8)


def test_an_elimination_without_time_takes_units_by_what_each_alone_loses() -> None:
    reader = _wide_reader(22)
    found = eliminate([reader, reader], 12, until=0.0)
    assert not found.is_whole
    x, gone = _samples(26, seed=22), np.isin(reader.units, found.order[:1])
    lost = ((x[:, gone] @ reader.matrix[:, gone].T) ** 2).sum() / len(x)
    assert found.loss[0] == pytest.approx(2 * lost / _energy(x, reader.matrix), rel=1e-6)
    assert sorted(found.order) == list(range(12))
    assert (np.diff(np.diff(found.loss)) >= -1e-12).all()


def test_an_elimination_that_time_ends_keeps_the_order_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = _wide_reader(23)
    whole = eliminate([reader], 12)
    clock = itertools.count()
    monkeypatch.setattr(reconstruct.time, "perf_counter", lambda: next(clock))
    found = eliminate([reader], 12, until=5.0)
    assert not found.is_whole
    assert np.array_equal(found.order[:4], whole.order[:4])
    np.testing.assert_allclose(found.loss[:4], whole.loss[:4])
    assert sorted(found.order) == list(range(12))
    assert (np.diff(found.loss) >= 0).all()
