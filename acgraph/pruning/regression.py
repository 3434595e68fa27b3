"""Fit a layer to what it shall give, by least squares on what it is really given.

A cut layer reads ``x'``, what the layers before it make once they are cut. It shall give ``y``,
what the original gives at this place. ``W' = W + (C_yx - W C_xx) (C_xx + r I)^{-1}`` on the inputs
that are left minimises ``E |W' x' + b' - y|^2 + r |W' - W|^2``: the weights stay where the data
says nothing. The ridge ``r`` is chosen, for each filter on its own, by samples that were held out.

Sequential fits against the original's outputs are those of ThiNet (Luo et al., ICCV 2017) and
OSSCAR (Meng et al., ICML 2024).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acgraph.pruning.importance import FloatArray
from acgraph.pruning.reconstruct import ROUNDING, Bools

#: The ridge where no samples are held out to choose one.
MIDDLE = 1e-2
#: Ridges that are tried, as shares of the mean square of an input.
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Moments of the inputs of a layer and of what it shall give, over samples.

    Attributes:
        covariance: Of inputs and targets together, central: ``float64 [c + f, c + f]``.
        mean: ``float64 [c + f]``.
        columns: How many of these are inputs.
        count: Samples.
    """

    covariance: FloatArray
    mean: FloatArray
    columns: int
    count: int

    @property
    def is_finite(self) -> bool:
        """Whether every moment is a number."""
        return bool(np.isfinite(self.covariance).all() and np.isfinite(self.mean).all())

    def with_(self, other: "Moments") -> "Moments":
        """Return the moments of both samples together."""
        count = self.count + other.count
        share = other.count / max(count, 1)
        delta = other.mean - self.mean
        covariance = self.covariance * (1 - share) + other.covariance * share
        covariance += np.outer(delta * (share * (1 - share)), delta)
        return Moments(covariance, self.mean + delta * share, self.columns, count)

    def about(self, *, centred: bool) -> FloatArray:
        """Return second moments about the mean, or about zero."""
        if centred:
            return self.covariance
        return np.asarray(self.covariance + np.outer(self.mean, self.mean))


@dataclass(frozen=True, slots=True, eq=False)
class PairedMoments:
    """Moments of the inputs and targets of a layer, for each group of it.

    Attributes:
        fit: Over the samples to fit to.
        held: Over those that judge the fits; None where there are too few samples.
    """

    fit: list[Moments]
    held: list[Moments] | None


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A layer's new values.

    Attributes:
        matrix: ``float64 [filters, columns]``.
        offset: What is added, ``float64 [filters]``; zero where nothing may be.
        error: Share of the targets' variance that is not met, on held-out samples where there are
            any, ``float64 [filters]``.
        before: The same with the weights as they were and the best offset.
    """

    matrix: FloatArray
    offset: FloatArray
    error: FloatArray
    before: FloatArray


def fit_matrix(
    fit: Moments,
    held: Moments | None,
    matrix: npt.NDArray[np.floating],
    kept: Bools,
    *,
    centred: bool,
) -> Fitted:
    """Fit the weights of a layer.

    Args:
        fit: Moments over the samples that are fitted to.
        held: Over those that choose the ridge; None where there are none: then it is the middle.
        matrix: The weights as they are, ``[filters, columns]``.
        kept: ``bool [columns]``: the inputs that are left; the others get zero weights.
        centred: Whether an offset may be added.
    """
    old = np.where(kept, matrix, 0.0).astype(np.float64)
    judge, whole = (fit, fit) if held is None else (held, fit.with_(held))
    ridges = (MIDDLE,) if held is None else RIDGES
    candidates = [old, *(_solve(fit, old, kept, ridge, centred=centred) for ridge in ridges)]
    errors = np.array([_errors(judge, fit, each, centred=centred) for each in candidates])
    best = errors.argmin(axis=0)
    chosen = old.copy()
    for number in np.unique(best[best > 0]):
        rows = best == number
        chosen[rows] = _solve(whole, old, kept, ridges[number - 1], centred=centred)[rows]
    offset = np.zeros(len(old))
    if centred:
        offset = whole.mean[fit.columns :] - chosen @ whole.mean[: fit.columns]
    spread = np.diag(judge.about(centred=centred))[fit.columns :]
    spread = np.maximum(spread, np.finfo(np.float64).tiny)
    return Fitted(chosen, offset, errors.min(axis=0) / spread, errors[0] / spread)


def _solve(
    moments: Moments, old: FloatArray, kept: Bools, ridge: float, *, centred: bool
) -> FloatArray:
    if not kept.any():
        return old
    columns = moments.columns
    about = moments.about(centred=centred)
    inner = about[:columns, :columns][np.ix_(kept, kept)]
    squares = float(np.trace(inner) + moments.mean[:columns][kept] @ moments.mean[:columns][kept])
    scale = float(np.trace(inner)) / len(inner)
    added = ridge * scale + ROUNDING * squares / len(inner)
    if added <= 0.0:
        return old
    right = about[:columns, columns:][kept] - inner @ old[:, kept].T
    found = old.copy()
    found[:, kept] += np.linalg.solve(inner + added * np.eye(len(inner)), right).T
    return found


def _errors(judge: Moments, fit: Moments, matrix: FloatArray, *, centred: bool) -> FloatArray:
    """Mean squared error of each filter, the offset being that of the samples fitted to."""
    columns = fit.columns
    about = judge.about(centred=centred)
    cross = np.einsum("fc,cf->f", matrix, about[:columns, columns:])
    own = np.einsum("fc,fc->f", matrix @ about[:columns, :columns], matrix)
    found = np.diag(about)[columns:] - 2 * cross + own
    if centred:
        gap = judge.mean - fit.mean
        found = found + (gap[columns:] - matrix @ gap[:columns]) ** 2
    return np.asarray(np.maximum(found, 0.0))
