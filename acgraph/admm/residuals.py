"""Residuals of ADMM, which measure its convergence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """Relative residuals after one update; 0 is perfect, both compare across models and layers.

    Boyd et al. 2011, section 3.3, have ``r = W - Z`` and ``s = rho * (Z - Z_before)``. Both are
    divided here by the norm of the weights (and s by rho), so that neither the size of a layer
    nor the schedule of rho shows in them.

    Attributes:
        update: Updates done.
        primal: ``||W - Z|| / max(||W||, ||Z||)``: how far the weights are from S.
        dual: ``||Z - Z_before|| / max(||W||, ||Z||)``: how much S's point still moves.
        rho: The penalty of this update.
        primal_by_weight: The primal residual of each weight: which layer resists its cut.
    """

    update: int
    primal: float
    dual: float
    rho: float
    primal_by_weight: Mapping[str, float]


def measure(w: Arrays, z: Arrays, z_before: Arrays, *, update: int, rho: float) -> Residual:
    """Compute the residuals of one update."""
    size = {name: max(_energy(w[name]), _energy(z[name])) for name in w}
    primal = {name: _energy(w[name] - z[name]) for name in w}
    dual = sum(_energy(z[name] - z_before[name]) for name in w)
    total = sum(size.values())
    return Residual(
        update=update,
        primal=_relative(sum(primal.values()), total),
        dual=_relative(dual, total),
        rho=rho,
        primal_by_weight={name: _relative(primal[name], size[name]) for name in w},
    )


def _energy(array: npt.NDArray[Any]) -> float:
    flat = np.asarray(array).ravel()
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64))


def _relative(part: float, whole: float) -> float:
    return math.sqrt(part / whole) if whole > 0.0 else 0.0
