"""Scaled ADMM over callables for the training and the projection."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.admm.config import AdmmConfig
from acgraph.admm.residuals import Residual, measure
from acgraph.admm.state import AdmmState
from acgraph.errors import BackendError

Array = npt.NDArray[Any]
Weights = Mapping[str, Array]
Project = Callable[[Weights], dict[str, Array]]
Minimise = Callable[[Weights, Mapping[str, float]], Weights]
OnUpdate = Callable[[Residual, AdmmState], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class AdmmResult:
    """The result of an ADMM run.

    Attributes:
        state: The final variables; ``state.z`` is in S exactly, ``state.w`` approximately.
        residuals: The residuals of each update of this run.
        converged: Whether both residuals are at most the tolerance.
    """

    state: AdmmState
    residuals: list[Residual]
    converged: bool


def run_admm(
    weights: Weights,
    project: Project,
    minimise: Minimise,
    config: AdmmConfig,
    on_update: OnUpdate | None = None,
    *,
    scales: Mapping[str, float] | None = None,
    state: AdmmState | None = None,
) -> AdmmResult:
    """Minimise f(W) subject to W in S (Boyd et al. 2011, section 9.1: non-convex S).

    ::

        W <- argmin f(W) + sum_i rho_i/2 * ||W_i - Z_i + U_i||^2     start: Z = P(W), U = 0
        Z <- P(W + U)
        U <- U + W - Z          and U <- U * rho_old/rho_new where rho changes

    Args:
        weights: Initial value of W.
        project: P, the Euclidean projection onto S. If S couples weights, it must measure distances
            with the same ``scales``.
        minimise: The W step: it takes the targets ``Z - U`` and each rho_i, and returns weights
            that approximately minimise. It starts from the weights of its previous call.
        config: The schedule.
        on_update: Called after each update with the residuals and the state, for instance to log or
            save them; it may raise an exception to stop.
        scales: ``rho_i = rho * scales[i]``, see ``layer_scales``; 1 for weights that are missing.
        state: State of an earlier run, which is continued up to ``config.updates`` updates in
            total.

    Raises:
        BackendError: ``minimise`` or ``project`` returns other names or shapes, or values that are
            not finite.
    """
    current = state or _start(weights, project, config)
    _check(current.w, weights, "the saved state")
    residuals: list[Residual] = []
    factors = {name: float((scales or {}).get(name, 1.0)) for name in weights}
    while current.update < config.updates:
        before = current
        current = _update(_rescaled(before, config), project, minimise, factors)
        residual = measure(current.w, current.z, before.z, update=current.update, rho=current.rho)
        residuals.append(residual)
        _log.info(
            "ADMM update %d of %d: primal %.3g, dual %.3g, rho %.3g",
            residual.update, config.updates, residual.primal, residual.dual, residual.rho,
        )  # fmt: skip
        if on_update is not None:
            on_update(residual, current)
        if max(residual.primal, residual.dual) <= config.tolerance:
            return AdmmResult(state=current, residuals=residuals, converged=True)
    return AdmmResult(state=current, residuals=residuals, converged=False)


def layer_scales(weights: Weights, most: float = math.inf) -> dict[str, float]:
    """Return scales that make the penalty on every layer equal relative to its weights.

    ``scales[i] = mean square of all weights / mean square of weight i``: the penalty is then on
    the relative distance, and its sum over a model stays what it was with all scales 1.
    An all-zero weight has scale 1.

    Args:
        weights: The weights of the layers by name.
        most: Upper bound of each scale: rho times a scale is a curvature, and gradient steps
            overshoot if it is large. The penalty on layers with small weights is then weaker;
            other layers are not affected.
    """
    squares = {name: float(np.square(w, dtype=np.float64).mean()) for name, w in weights.items()}
    count = sum(w.size for w in weights.values())
    overall = sum(squares[name] * w.size for name, w in weights.items()) / max(count, 1)
    scales = {n: overall / square if square > 0.0 else 1.0 for n, square in squares.items()}
    return {name: min(scale, most) for name, scale in scales.items()}


def _start(weights: Weights, project: Project, config: AdmmConfig) -> AdmmState:
    z = project(weights)
    _check(z, weights, "the projection")
    u = {name: np.zeros_like(w) for name, w in weights.items()}
    return AdmmState(w=dict(weights), z=z, u=u, update=0, rho=config.rho)


def _rescaled(state: AdmmState, config: AdmmConfig) -> AdmmState:
    # The unscaled dual variable is rho * U, which a change of rho must not change.
    rho = config.rho_at(state.update)
    u = {name: (u * (state.rho / rho)).astype(u.dtype) for name, u in state.u.items()}
    return AdmmState(w=state.w, z=state.z, u=u, update=state.update, rho=rho)


def _update(
    state: AdmmState, project: Project, minimise: Minimise, scales: Mapping[str, float]
) -> AdmmState:
    rhos = {name: state.rho * scale for name, scale in scales.items()}
    targets = {name: z - state.u[name] for name, z in state.z.items()}
    # A copy, because a backend may return views of the weights that it continues to train.
    w = {name: np.array(array) for name, array in minimise(targets, rhos).items()}
    _check(w, state.w, "training")
    shifted = {name: w[name] + state.u[name] for name in w}
    z = project(shifted)
    _check(z, state.w, "the projection")
    u = {name: shifted[name] - z[name] for name in w}
    return AdmmState(w=w, z=z, u=u, update=state.update + 1, rho=state.rho)


def _check(found: Weights, expected: Weights, source: str) -> None:
    if set(found) != set(expected):
        names = ", ".join(sorted(set(found) ^ set(expected)))
        raise BackendError(f"ADMM: {source} has other weights than the model: {names}")
    for name, array in found.items():
        if array.shape != expected[name].shape:
            raise BackendError(
                f"ADMM: {source} has shape {array.shape} for '{name}', not {expected[name].shape}"
            )
        if not np.isfinite(array).all():
            raise BackendError(
                f"ADMM: {source} diverged: '{name}' is not finite",
                hint="lower the learning rate or rho",
            )
