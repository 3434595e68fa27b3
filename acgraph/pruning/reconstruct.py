"""Cut a linear layer such that its output changes least, and reconstruct the other weights.

A layer ``Y = W X`` keeps some of its columns; the others are zeroed. The second moments
``H = E[x x^T]`` of its input determine the optimal kept weights (least squares), and the error of
the output, without running the network again. Columns are eliminated one after the other, each time
the one whose loss is smallest after the others have been reconstructed: the optimal brain surgeon
(Hassibi and Stork, 1993) for the layer's own output, as in OBC (Frantar and Alistarh, NeurIPS 2022)
and, for groups of columns, ZipLM (Kurtic et al., NeurIPS 2023). Nothing is trained here, but most
of the accuracy is preserved that training would otherwise have to recover.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.pruning.downdate import Reader, Remaining, single_losses
from acgraph.pruning.importance import FloatArray

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

#: Added to the diagonal of H as a share of its mean: it keeps the solution small if inputs are
#: linearly dependent, and makes the removal of a dead input free.
DAMPING = 0.01
#: Variance of float32 rounding, as a share of the mean square: a lower bound of the damping, so
#: that the fit of a constant input does not depend on its rounding errors.
ROUNDING = 2.0**-48
#: The damping is multiplied by this factor as long as H cannot be factorised.
_RAISED = 10.0
#: Approximate limit of elimination steps: wide layers lose several units in one step.
STEPS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """Moments of the input of a layer over data.

    They are central: with a large mean and a small variance, second moments about zero would lose
    the variance to rounding.

    Attributes:
        covariance: ``E[(x - m) (x - m)^T]``, ``float64 [columns, columns]``.
        mean: ``m = E[x]``, ``float64 [columns]``.
    """

    covariance: FloatArray
    mean: FloatArray

    @property
    def second(self) -> FloatArray:
        """``E[x x^T]``."""
        return np.asarray(self.covariance + np.outer(self.mean, self.mean))

    @property
    def is_finite(self) -> bool:
        """Whether all moments are finite; otherwise they cannot be used."""
        return bool(np.isfinite(self.covariance).all() and np.isfinite(self.mean).all())

    def moments(self, *, centred: bool, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
        """Return H with damping, ``[columns, columns]``, which is always positive definite.

        This includes inputs that are dead, constant or equal, and fewer samples than columns.

        Args:
            centred: Use central moments, for a layer whose bias can correct the mean.
            dtype: Data type of the result.
        """
        moments = self.covariance.T + self.covariance
        moments /= 2
        if not centred:
            moments += np.outer(self.mean, self.mean)
        size = max(len(moments), 1)
        squares = float(np.trace(self.covariance) + self.mean @ self.mean) / size
        ridge = DAMPING * float(np.trace(moments)) / size + ROUNDING * squares
        if ridge <= 0.0:  # the input is zero, so any weight is optimal
            return np.eye(len(moments), dtype=dtype)
        diagonal = moments.diagonal().copy()
        while True:
            np.fill_diagonal(moments, diagonal + ridge)
            found = moments.astype(dtype, copy=False)
            if _is_positive_definite(found.astype(np.float64, copy=False)):
                return found
            ridge *= _RAISED


def _is_positive_definite(matrix: FloatArray) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class Elimination:
    """The order in which units are removed, and the loss of it.

    Attributes:
        order: ``int64 [size]``: the units, the first to be removed first.
        loss: ``float64 [size]``: share of the readers' output energy that is lost when
            ``order[:i + 1]`` are removed and the others reconstructed, summed over readers; rising.
        is_whole: Whether there was enough time. Otherwise, the last units are ordered by their
            individual losses, and their joint loss is taken as the sum.
    """

    order: Ints
    loss: FloatArray
    is_whole: bool = True

    @property
    def scores(self) -> FloatArray:
        """Rank of every unit, ``float64 [size]``: units with higher ranks are removed later."""
        ranks = np.empty(len(self.order))
        ranks[self.order] = np.arange(1.0, len(self.order) + 1)
        return ranks

    def loss_of(self, kept: int) -> float:
        """Return the loss if this number of units is kept."""
        removed = len(self.order) - kept
        return float(self.loss[removed - 1]) if removed > 0 else 0.0


def eliminate(
    readers: Sequence[Reader],
    size: int,
    *,
    beside: FloatArray | None = None,
    steps: int = STEPS,
    until: float | None = None,
) -> Elimination:
    """Order units by greedy elimination.

    Args:
        readers: The layers that read the units; a unit may have columns in several of them.
        size: Number of units. Units that nothing reads are removed first.
        beside: Loss of each unit elsewhere, which no other unit can compensate, ``[size]``.
        steps: Approximate limit of steps; with more units, several are removed in one step.
        until: Deadline in seconds of ``time.perf_counter``; None for no limit. The units that are
            left then are ordered by their individual losses.
    """
    states: list[Remaining] = []
    elsewhere = np.zeros(size) if beside is None else beside
    for reader in readers:
        if _is_over(until):
            losses = np.sum([elsewhere, *(single_losses(each, size) for each in readers)], axis=0)
            return order_alone(losses, is_whole=False)
        states.append(Remaining(reader, size))
    alive = np.ones(size, np.bool_)
    order: list[int] = []
    losses_so_far: list[float] = []
    total = 0.0
    block = max(1, -(-size // steps))
    while alive.any():
        losses_of_units = np.sum([elsewhere, *(state.losses() for state in states)], axis=0)
        candidates = np.flatnonzero(alive)
        if _is_over(until):
            rest = order_alone(losses_of_units[candidates], is_whole=False)
            order.extend(candidates[rest.order].tolist())
            losses_so_far.extend((total + rest.loss).tolist())
            break
        count = min(block, len(candidates))
        least = candidates[np.argsort(losses_of_units[candidates], kind="stable")[:count]]
        total += sum(state.remove(least) for state in states) + float(elsewhere[least].sum())
        alive[least] = False
        order.extend(least.tolist())
        losses_so_far.extend([total] * count)
    is_whole = not alive.any()
    return Elimination(np.array(order, np.int64), np.array(losses_so_far), is_whole=is_whole)


def _is_over(until: float | None) -> bool:
    return until is not None and time.perf_counter() >= until


def order_alone(losses: FloatArray, *, is_whole: bool) -> Elimination:
    """Order units by their individual losses, and take their joint loss as the sum.

    Args:
        losses: The loss of removing each unit alone, ``[size]``.
        is_whole: False where the order is a fallback for lack of time.
    """
    order = np.argsort(losses, kind="stable")
    return Elimination(order.astype(np.int64), np.cumsum(losses[order]), is_whole=is_whole)


def refit(matrix: npt.NDArray[Any], moments: FloatArray, kept: Bools) -> npt.NDArray[Any]:
    """Return the matrix with only the kept columns, fitted such that the output changes least.

    ``W'_S = W H_{:,S} (H_{S,S})^{-1}`` minimises ``E ||W x - W' x||^2``.

    Args:
        matrix: ``[filters, columns]``.
        moments: See :meth:`Gram.moments`.
        kept: ``bool [columns]``.
    """
    reconstructed = np.zeros_like(matrix)
    if kept.any():
        right = moments[kept] @ matrix.T.astype(np.float64)
        reconstructed[:, kept] = np.linalg.solve(moments[np.ix_(kept, kept)], right).T
    return reconstructed
