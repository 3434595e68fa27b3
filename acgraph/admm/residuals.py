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
    """Relative residuals after one update; both are 0 at convergence.

    Boyd et al. 2011, section 3.3, define ``r = W - Z`` and ``s = rho * (Z - Z_before)``. Here both
    are divided by the norm of the weights, and s by rho, so that they do not depend on the sizes of
    layers or on the schedule of rho and can be compared across models.

    Attributes:
        update: The number of updates so far.
        primal: ``||W - Z|| / max(||W||, ||Z||)``, the distance of the weights from S.
        dual: ``||Z - Z_before|| / max(||W||, ||Z||)``, the change of Z in this update.
        rho: The penalty of this update.
        primal_by_weight: The primal residual of each weight.
    """

    update: int
    primal: float
    dual: float
    rho: float
    primal_by_weight: Mapping[str, float]


def measure(w: Arrays, z: Arrays, z_before: Arrays, *, update: int, rho: float) -> Residual:
    """Compute the residuals of one update.

    Args:
        w: The weights W by name.
        z: Their projections Z.
        z_before: Z before the update.
        update: The number of updates so far.
        rho: The penalty of this update.
    """
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
