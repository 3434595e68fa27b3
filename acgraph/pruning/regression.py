"""Fit a cut layer to the outputs of the original by least squares on its actual inputs.

A cut layer receives ``x'`` from the cut layers before it. Its target is ``y``, the output of the
original layer. ``W' = W + (C_yx - W C_xx) (C_xx + r I)^{-1}`` on the kept inputs minimises
``E |W' x' + b' - y|^2 + r |W' - W|^2``: weights that the data does not determine stay the same. The
ridge ``r`` is chosen for each filter separately on held-out samples.

Sequential fits against the original's outputs are those of ThiNet (Luo et al., ICCV 2017) and
OSSCAR (Meng et al., ICML 2024).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from acgraph.pruning.importance import FloatArray
from acgraph.pruning.reconstruct import ROUNDING, Bools

#: Candidates for the ridge, as shares of the mean square of an input, and the index of the one that
#: is tried first, and taken if there are no held-out samples.
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
MIDDLE = 2


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Central moments of the inputs and the targets of a layer over samples.

    Attributes:
        inner: Covariance of the inputs, ``float64 [columns, columns]``.
        cross: Covariance of inputs and targets, ``float64 [columns, filters]``.
        spread: Variance of each target, ``float64 [filters]``.
        inputs: Mean of the inputs, ``float64 [columns]``.
        targets: Mean of the targets, ``float64 [filters]``.
        count: Number of samples.
    """

    inner: FloatArray
    cross: FloatArray
    spread: FloatArray
    inputs: FloatArray
    targets: FloatArray
    count: int

    @property
    def is_finite(self) -> bool:
        """Whether every moment is a number."""
        found = (self.inner, self.cross, self.spread, self.inputs, self.targets)
        return all(np.isfinite(each).all() for each in found)

    def with_(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of samples combined."""
        count = self.count + other.count
        share = other.count / max(count, 1)
        dx, dy, between = (
            other.inputs - self.inputs,
            other.targets - self.targets,
            share * (1 - share),
        )
        return Moments(
            inner=self.inner * (1 - share) + other.inner * share + np.outer(dx * between, dx),
            cross=self.cross * (1 - share) + other.cross * share + np.outer(dx * between, dy),
            spread=self.spread * (1 - share) + other.spread * share + between * dy**2,
            inputs=self.inputs + dx * share,
            targets=self.targets + dy * share,
            count=count,
        )

    def of(self, kept: Bools) -> "Moments":
        """Return the moments of some of the inputs, ``bool [columns]``."""
        return replace(
            self,
            inner=self.inner[np.ix_(kept, kept)],
            cross=self.cross[kept],
            inputs=self.inputs[kept],
        )

    def about_zero(self) -> "Moments":
        """Return the moments about zero instead of the mean."""
        return replace(
            self,
            inner=self.inner + np.outer(self.inputs, self.inputs),
            cross=self.cross + np.outer(self.inputs, self.targets),
            spread=self.spread + self.targets**2,
        )


@dataclass(frozen=True, slots=True, eq=False)
class PairedMoments:
    """Moments of the inputs and targets of a layer, for each of its groups.

    Attributes:
        fit: Moments over the samples to fit to.
        held: Moments over the held-out samples; None if there are too few samples.
    """

    fit: list[Moments]
    held: list[Moments] | None


@dataclass(frozen=True, slots=True, eq=False)
class ColumnPart:
    """Some columns of a layer, which are fitted to the residual that the others leave.

    Attributes:
        start: Index of the first column.
        end: Index after the last column.
        rest: The current weights of the other columns, with these set to zero:
            ``[filters, columns]``, multiplied by the scale of the output.
    """

    start: int
    end: int
    rest: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The fitted values of a layer.

    Attributes:
        matrix: The weights, ``float64 [filters, columns]``.
        offset: The change of the bias, ``float64 [filters]``; zero if there is no bias.
        error: Mean squared error, on held-out samples if there are any, ``float64 [filters]``.
        before: The error with the old weights and the best offset.
        spread: Variance of the targets, positive; about zero instead of the mean without a bias.
    """

    matrix: FloatArray
    offset: FloatArray
    error: FloatArray
    before: FloatArray
    spread: FloatArray


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
        fit: Moments over the samples to fit to.
        held: Moments over held-out samples, which choose the ridge; None uses the middle one.
        matrix: The current weights, ``[filters, columns]``.
        kept: ``bool [columns]``: the kept inputs; the others get zero weights.
        centred: Whether the bias may change.
    """
    old = np.asarray(matrix[:, kept], np.float64)
    fit, held = fit.of(kept), None if held is None else held.of(kept)
    judge, whole = (fit, fit) if held is None else (held, fit.with_(held))
    if not centred:
        fit, judge, whole = (each.about_zero() for each in (fit, judge, whole))
    before = _total_errors(judge, fit, old, centred=centred)
    solver = _Solver(fit, old)

    def errors_of(number: int) -> FloatArray:
        found = solver.solution(RIDGES[number])
        return np.minimum(before, _total_errors(judge, fit, found, centred=centred))

    number, errors = MIDDLE, errors_of(MIDDLE)
    if held is not None:
        number, errors = _descend(errors_of, MIDDLE, errors)
    better = errors < before
    chosen = old.copy()
    if better.any():
        chosen[better] = _Solver(whole, old).solution(RIDGES[number])[better]
    offset = whole.targets - chosen @ whole.inputs if centred else np.zeros(len(old))
    spread = np.maximum(judge.spread, np.finfo(np.float64).tiny)
    fitted = np.zeros(matrix.shape)
    fitted[:, kept] = chosen
    return Fitted(fitted, offset, errors, before, spread)


def _descend(
    errors_of: Callable[[int], FloatArray], start: int, errors: FloatArray
) -> tuple[int, FloatArray]:
    """Walk along the ridges while the sum of the errors falls; return the best and its errors.

    The error has one minimum in the ridge, so that two or three of the ridges need not be tried.
    """
    for step in (-1, 1):
        number = start
        while 0 <= number + step < len(RIDGES):
            found = errors_of(number + step)
            if found.sum() >= errors.sum():
                break
            number, errors = number + step, found
        if number != start:
            return number, errors
    return start, errors


class _Solver:
    """Solves for the weights of a layer with a ridge that pulls towards the old ones."""

    def __init__(self, moments: Moments, old: FloatArray) -> None:
        self._moments, self._old = moments, old
        self._right = moments.cross - moments.inner @ old.T

    def solution(self, ridge: float) -> FloatArray:
        """Return the weights, ``[filters, columns]``."""
        inner, means = self._moments.inner, self._moments.inputs
        trace, count = float(np.trace(inner)), max(len(inner), 1)
        added = (ridge * trace + ROUNDING * (trace + float(means @ means))) / count
        if added <= 0.0:
            return self._old
        damped = inner.copy()
        damped[np.diag_indices(len(inner))] += added
        return np.asarray(self._old + np.linalg.solve(damped, self._right).T)


def _total_errors(judge: Moments, fit: Moments, matrix: FloatArray, *, centred: bool) -> FloatArray:
    """Return the mean squared error of each filter with the offset of the fitted samples."""
    errors = _errors(judge, matrix)
    return errors + _offset_errors(judge, fit, matrix) if centred else errors


def _errors(judge: Moments, matrix: FloatArray) -> FloatArray:
    """Return the mean squared error of each filter with the best offset."""
    cross = np.einsum("fc,cf->f", matrix, judge.cross)
    own = np.einsum("fc,fc->f", matrix @ judge.inner, matrix)
    return np.asarray(np.maximum(judge.spread - 2 * cross + own, 0.0))


def _offset_errors(judge: Moments, fit: Moments, matrix: FloatArray) -> FloatArray:
    """Return the additional error of using the offset that was fitted on the other samples."""
    gap = judge.targets - fit.targets - matrix @ (judge.inputs - fit.inputs)
    return np.asarray(gap**2)
