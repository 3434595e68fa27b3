"""ADMM on problems whose solution is known in closed form or by enumeration."""

from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from acgraph.admm import AdmmConfig, AdmmState, Residual, layer_scales, run_admm
from acgraph.errors import BackendError
from acgraph.pruning.projection import ColumnCut, Constraint, column_mask, zero_columns

Array = npt.NDArray[Any]
Weights = Mapping[str, Array]


def quadratic(
    curvature: Mapping[str, float], centre: Weights
) -> Callable[[Weights, Mapping[str, float]], Weights]:
    """The exact W step of ``f = sum_i curvature_i/2 * ||W_i - centre_i||^2``."""

    def minimise(targets: Weights, rho: Mapping[str, float]) -> Weights:
        return {
            n: (curvature[n] * centre[n] + rho[n] * targets[n]) / (curvature[n] + rho[n])
            for n in targets
        }

    return minimise


def consensus(weights: Weights) -> dict[str, Array]:
    mean = np.mean(list(weights.values()), axis=0)
    return {name: mean.copy() for name in weights}


CURVATURE = {"a": 1.0, "b": 2.0, "c": 5.0}
CENTRE = {"a": np.array([1.0, -3.0]), "b": np.array([2.0, 0.5]), "c": np.array([-1.0, 4.0])}
AGREED = sum(CURVATURE[n] * CENTRE[n] for n in CENTRE) / sum(CURVATURE.values())


def run_consensus(**options: Any) -> Any:
    config = AdmmConfig(**({"rho": 1.0, "rho_growth": 1.0, "updates": 600} | options))
    zeros = {n: np.zeros(2) for n in CENTRE}
    return run_admm(zeros, consensus, quadratic(CURVATURE, CENTRE), config)


@pytest.mark.parametrize("rho", [0.3, 1.0, 4.0])
def test_consensus_reaches_the_weighted_mean_and_its_dual(rho: float) -> None:
    result = run_consensus(rho=rho, tolerance=1e-11)
    assert result.converged
    for name, w in result.state.w.items():
        assert w == pytest.approx(AGREED, abs=1e-8)
        dual = -CURVATURE[name] * (AGREED - CENTRE[name])
        assert result.state.rho * result.state.u[name] == pytest.approx(dual, abs=1e-7)


def test_a_growing_rho_reaches_the_same_point_because_the_dual_is_rescaled() -> None:
    result = run_consensus(rho=0.5, rho_growth=1.5, rho_max=3.0, tolerance=1e-10)
    assert result.converged
    assert result.state.w["a"] == pytest.approx(AGREED, abs=1e-8)
    assert [r.rho for r in result.residuals[:6]] == [0.5, 0.75, 1.125, 1.6875, 2.53125, 3.0]


def test_the_true_dual_is_unchanged_where_rho_changes() -> None:
    seen: list[tuple[dict[str, Array], dict[str, float]]] = []
    states: list[AdmmState] = []
    exact = quadratic(CURVATURE, CENTRE)

    def minimise(targets: Weights, rho: Mapping[str, float]) -> Weights:
        seen.append((dict(targets), dict(rho)))
        return exact(targets, rho)

    config = AdmmConfig(rho=1.0, rho_growth=2.0, updates=3, tolerance=0.0)
    zeros = {n: np.zeros(2) for n in CENTRE}
    run_admm(zeros, consensus, minimise, config, lambda _, state: states.append(state))
    for state, (targets, rho) in zip(states[:-1], seen[1:], strict=True):
        for name in CENTRE:
            dual_before = state.rho * state.u[name]
            dual_after = rho[name] * (state.z[name] - targets[name])
            assert dual_after == pytest.approx(dual_before)
            assert rho[name] == 2.0 * state.rho


def test_each_update_is_the_papers_equation() -> None:
    states: list[AdmmState] = []
    config = AdmmConfig(rho=2.0, rho_growth=1.0, updates=2, tolerance=0.0)
    start = {n: np.full(2, float(i)) for i, n in enumerate(CENTRE)}
    minimise = quadratic(CURVATURE, CENTRE)
    run_admm(start, consensus, minimise, config, lambda _, state: states.append(state))
    z, u = consensus(start), {n: np.zeros(2) for n in start}
    for state in states:
        w = {n: (CURVATURE[n] * CENTRE[n] + 2.0 * (z[n] - u[n])) / (CURVATURE[n] + 2.0) for n in z}
        z = consensus({n: w[n] + u[n] for n in w})
        u = {n: u[n] + w[n] - z[n] for n in w}
        for name in z:
            assert state.w[name] == pytest.approx(w[name])
            assert state.z[name] == pytest.approx(z[name])
            assert state.u[name] == pytest.approx(u[name])


def least_squares(seed: int, correlated: float) -> tuple[Array, Array]:
    """Design ``[n, I]`` and targets ``[n, O]`` made by a dense weight."""
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(60, 8)) + correlated * rng.normal(size=(60, 1))
    dense = rng.normal(size=(4, 8)) * rng.uniform(0.3, 1.5, size=8)
    return design, design @ dense.T + 0.1 * rng.normal(size=(60, 4))


def fit(design: Array, y: Array, mask: Array) -> float:
    """The least squared error of a weight whose columns lie in the mask."""
    if not mask.any():
        return float((y**2).sum())
    solution = np.linalg.lstsq(design[:, mask], y, rcond=None)[0]
    return float(((design[:, mask] @ solution - y) ** 2).sum())


def test_orthogonal_least_squares_with_k_columns_is_solved_exactly() -> None:
    rng = np.random.default_rng(0)
    design = np.linalg.qr(rng.normal(size=(20, 6)))[0]
    y = rng.normal(size=(20, 3))
    dense = y.T @ design
    expected = zero_columns(dense, column_mask(dense, 2))
    result = run_admm(
        {"w": np.zeros((3, 6))},
        Constraint(columns=(ColumnCut(tensor="w", keep=2),)),
        quadratic({"w": 1.0}, {"w": dense}),
        AdmmConfig(rho=1.5, rho_growth=1.0, updates=300, tolerance=1e-9),
    )
    assert result.converged
    assert result.state.z["w"] == pytest.approx(expected, abs=1e-6)


def test_correlated_least_squares_is_near_the_best_subset_and_beats_magnitude() -> None:
    ratios = []
    for seed in range(12):
        design, y = least_squares(seed, correlated=1.5)
        gram, cross = design.T @ design / 60, y.T @ design / 60
        dense = cross @ np.linalg.inv(gram)

        def minimise(
            targets: Weights, rho: Mapping[str, float], gram: Array = gram, cross: Array = cross
        ) -> Weights:
            system = gram + rho["w"] * np.eye(8)
            return {"w": (cross + rho["w"] * targets["w"]) @ np.linalg.inv(system)}

        result = run_admm(
            {"w": dense},
            Constraint(columns=(ColumnCut(tensor="w", keep=3),)),
            minimise,
            AdmmConfig(rho=0.05, rho_growth=1.15, updates=60),
        )
        found = fit(design, y, np.abs(result.state.z["w"]).sum(axis=0) > 0)
        magnitude = fit(design, y, column_mask(dense, 3))
        masks = [np.isin(np.arange(8), kept) for kept in combinations(range(8), 3)]
        best = min(fit(design, y, mask) for mask in masks)
        assert best <= found + 1e-9
        ratios.append((found / best, magnitude / best))
    admm, one_shot = np.mean(ratios, axis=0)
    assert admm < 1.1
    assert admm < one_shot


def test_rho_pulls_the_weights_to_the_constraint() -> None:
    def first(rho: float) -> Residual:
        minimise = quadratic(CURVATURE, CENTRE)
        return run_admm(CENTRE, consensus, minimise, AdmmConfig(rho=rho, updates=1)).residuals[0]

    loose, tight = first(0.01), first(300.0)
    assert tight.primal < 0.05 < loose.primal


def test_updates_bounds_the_run() -> None:
    result = run_consensus(updates=3, tolerance=0.0)
    assert len(result.residuals) == 3
    assert result.state.update == 3
    assert not result.converged


def test_tolerance_ends_the_run_early() -> None:
    coarse, fine = run_consensus(tolerance=1e-2), run_consensus(tolerance=1e-6)
    assert len(coarse.residuals) < len(fine.residuals) < 600
    assert max(coarse.residuals[-1].primal, coarse.residuals[-1].dual) <= 1e-2
    assert max(coarse.residuals[-2].primal, coarse.residuals[-2].dual) > 1e-2


def test_residuals_do_not_depend_on_the_units_of_the_weights() -> None:
    config = AdmmConfig(rho=1.0, updates=4, tolerance=0.0)
    runs = []
    for unit in (1.0, 1e-3):
        centre = {n: unit * c for n, c in CENTRE.items()}
        start = {n: 0.5 * c for n, c in centre.items()}
        runs.append(run_admm(start, consensus, quadratic(CURVATURE, centre), config).residuals)
    for big, small in zip(*runs, strict=True):
        assert small.primal == pytest.approx(big.primal)
        assert small.dual == pytest.approx(big.dual)
        assert small.primal_by_weight == pytest.approx(big.primal_by_weight)


def test_residuals_by_weight_point_at_the_one_that_resists() -> None:
    stiff = CURVATURE | {"c": 1000.0}
    config = AdmmConfig(rho=1.0, updates=1)
    result = run_admm(CENTRE, consensus, quadratic(stiff, CENTRE), config)
    by_weight = result.residuals[0].primal_by_weight
    state = result.state
    for name in CENTRE:
        gap = np.linalg.norm(state.w[name] - state.z[name])
        size = max(np.linalg.norm(state.w[name]), np.linalg.norm(state.z[name]))
        assert by_weight[name] == pytest.approx(gap / size)


def test_scales_multiply_rho_per_weight() -> None:
    seen: list[dict[str, float]] = []

    def minimise(targets: Weights, rho: Mapping[str, float]) -> Weights:
        seen.append(dict(rho))
        return targets

    config = AdmmConfig(rho=0.5, rho_growth=2.0, updates=2, tolerance=0.0)
    run_admm(CENTRE, consensus, minimise, config, scales={"a": 3.0})
    assert seen[0] == {"a": 1.5, "b": 0.5, "c": 0.5}


def test_layer_scales_level_layers_and_keep_the_total_penalty() -> None:
    rng = np.random.default_rng(0)
    weights = {"small": 0.01 * rng.normal(size=50), "large": rng.normal(size=200)}
    scales = layer_scales(weights | {"zero": np.zeros(5)})
    assert scales["zero"] == 1.0
    scales = layer_scales(weights)
    relative = {n: scales[n] * float((w**2).mean()) for n, w in weights.items()}
    assert relative["small"] == pytest.approx(relative["large"])
    total = sum(scales[n] * float((w**2).sum()) for n, w in weights.items())
    assert total == pytest.approx(sum(float((w**2).sum()) for w in weights.values()))


def test_a_saved_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    minimise = quadratic(CURVATURE, CENTRE)
    zeros = {n: np.zeros(2) for n in CENTRE}
    whole = AdmmConfig(rho=0.5, rho_growth=1.2, updates=6, tolerance=0.0)
    straight = run_admm(zeros, consensus, minimise, whole)
    half = AdmmConfig(rho=0.5, rho_growth=1.2, updates=3, tolerance=0.0)
    run_admm(zeros, consensus, minimise, half).state.save(tmp_path / "admm.npz")
    loaded = AdmmState.load(tmp_path / "admm.npz")
    resumed = run_admm(zeros, consensus, minimise, whole, state=loaded)
    assert resumed.state.update == 6
    assert len(resumed.residuals) == 3
    for name in zeros:
        assert (resumed.state.w[name] == straight.state.w[name]).all()
        assert (resumed.state.u[name] == straight.state.u[name]).all()


def test_weights_that_training_changes_in_place_are_copied() -> None:
    live = {n: np.zeros(2) for n in CENTRE}

    def minimise(targets: Weights, rho: Mapping[str, float]) -> Weights:
        for name in live:
            live[name] += 1.0
        return live

    states: list[AdmmState] = []
    config = AdmmConfig(updates=2, tolerance=0.0)
    run_admm(live, consensus, minimise, config, lambda _, state: states.append(state))
    assert [float(state.w["a"][0]) for state in states] == [1.0, 2.0]


def test_on_update_sees_every_residual() -> None:
    seen: list[Residual] = []
    config = AdmmConfig(updates=3, tolerance=0.0)
    zeros = {n: np.zeros(2) for n in CENTRE}
    minimise = quadratic(CURVATURE, CENTRE)
    result = run_admm(zeros, consensus, minimise, config, lambda residual, _: seen.append(residual))
    assert seen == result.residuals
    assert [residual.update for residual in seen] == [1, 2, 3]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"a": np.array([np.nan, 1.0])}, "'a' is not finite; lower the learning rate or rho"),
        ({"a": np.zeros(3)}, r"shape \(3,\) for 'a'"),
        ({"extra": np.zeros(2)}, "other weights than the model: extra"),
    ],
)
def test_a_broken_training_step_is_named(broken: dict[str, Array], message: str) -> None:
    zeros = {n: np.zeros(2) for n in CENTRE}
    with pytest.raises(BackendError, match=message):
        run_admm(zeros, consensus, lambda targets, rho: dict(targets) | broken, AdmmConfig())


def test_float32_weights_stay_float32() -> None:
    weights = {n: c.astype(np.float32) for n, c in CENTRE.items()}
    config = AdmmConfig(rho=0.3, rho_growth=1.3, updates=3)
    result = run_admm(
        weights,
        consensus,
        lambda targets, rho: {n: t.astype(np.float32) for n, t in targets.items()},
        config,
    )
    groups = (result.state.w, result.state.z, result.state.u)
    assert {a.dtype for group in groups for a in group.values()} == {np.dtype(np.float32)}
