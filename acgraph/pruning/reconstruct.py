"""Cut a linear layer so that its output on data changes least, and reconstruct what stays.

A layer ``Y = W X`` keeps some of its columns; the others are zeroed. With the second moments
``H = E[x x^T]`` of its input, the weights that stay have a best value (least squares), and what
the output then loses is known exactly without running the network again. Columns are eliminated
one after the other, each time the one whose loss is least once all others have been reconstructed:
the optimal brain surgeon (Hassibi and Stork, 1993) on the layer's own output, as in OBC (Frantar
and Alistarh, NeurIPS 2022) and, for groups of columns, ZipLM (Kurtic et al., NeurIPS 2023). Nothing
here trains; accuracy that training would have to win back is mostly kept.
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

#: Added to the diagonal of H as a share of its mean: keeps the solution small where inputs depend
#: on each other, and makes a dead input removable for nothing.
DAMPING = 0.01
#: Variance of what float32 rounds off, as a share of the mean square: the least that is added, so
#: that an input that is constant but for rounding is not fitted to its rounding errors.
ROUNDING = 2.0**-48
#: What is added is raised by this factor as long as H cannot be factorised.
_RAISED = 10.0
#: Steps of an elimination, at most about: wide layers lose several units in one step.
STEPS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """Moments of what a layer reads, over data.

    They are central: of a large mean and a small variance the second moments about zero would
    keep the mean alone.

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
        """Whether every moment is a number: without, nothing can be told from them."""
        return bool(np.isfinite(self.covariance).all() and np.isfinite(self.mean).all())

    def moments(self, *, centred: bool, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
        """Return H with damping, which is positive definite whatever the data was.

        Inputs may be dead, constant or copies of each other, and samples fewer than columns.

        Args:
            centred: Take central moments, where a bias can follow the mean.
            dtype: Of what is returned.
        """
        moments = self.covariance.T + self.covariance
        moments /= 2
        if not centred:
            moments += np.outer(self.mean, self.mean)
        size = max(len(moments), 1)
        squares = float(np.trace(self.covariance) + self.mean @ self.mean) / size
        ridge = DAMPING * float(np.trace(moments)) / size + ROUNDING * squares
        if ridge <= 0.0:  # the input is zero: every weight does as well
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
    """In which order units go, and what that costs.

    Attributes:
        order: ``int64 [size]``: units, the first to go first.
        loss: ``float64 [size]``: share of the readers' output energy that is lost once
            ``order[:i + 1]`` are gone and what stays is reconstructed; rising; readers are summed.
        is_whole: Whether time was enough: otherwise the last units are ordered by what each of
            them alone loses, and what they lose together is the sum of it.
    """

    order: Ints
    loss: FloatArray
    is_whole: bool = True

    @property
    def scores(self) -> FloatArray:
        """Rank of every unit, ``float64 [size]``: the higher, the longer it stays."""
        ranks = np.empty(len(self.order))
        ranks[self.order] = np.arange(1.0, len(self.order) + 1)
        return ranks

    def loss_of(self, kept: int) -> float:
        """Return the loss with so many units kept."""
        gone = len(self.order) - kept
        return float(self.loss[gone - 1]) if gone > 0 else 0.0


def eliminate(
    readers: Sequence[Reader], size: int, *, steps: int = STEPS, until: float | None = None
) -> Elimination:
    """Order units by greedy elimination.

    Args:
        readers: The layers that read the units; a unit may be columns in several of them.
        size: How many units there are. Units that nothing reads go first.
        steps: At most about so many steps; more units than that go several a step.
        until: When to stop, on the clock of ``time.perf_counter``; None for no limit. What is left
            by then goes in the order of what each unit alone loses.
    """
    states: list[Remaining] = []
    for reader in readers:
        if _is_over(until):
            losses = np.sum([single_losses(each, size) for each in readers], axis=0)
            return order_alone(losses, is_whole=False)
        states.append(Remaining(reader, size))
    alive = np.ones(size, np.bool_)
    order: list[int] = []
    losses_so_far: list[float] = []
    total = 0.0
    block = max(1, -(-size // steps))
    while alive.any():
        losses_of_units = np.sum([state.losses() for state in states], axis=0)
        candidates = np.flatnonzero(alive)
        if _is_over(until):
            rest = order_alone(losses_of_units[candidates], is_whole=False)
            order.extend(candidates[rest.order].tolist())
            losses_so_far.extend((total + rest.loss).tolist())
            break
        count = min(block, len(candidates))
        least = candidates[np.argsort(losses_of_units[candidates], kind="stable")[:count]]
        total += sum(state.remove(least) for state in states)
        alive[least] = False
        order.extend(least.tolist())
        losses_so_far.extend([total] * count)
    is_whole = not alive.any()
    return Elimination(np.array(order, np.int64), np.array(losses_so_far), is_whole=is_whole)


def _is_over(until: float | None) -> bool:
    return until is not None and time.perf_counter() >= until


def order_alone(losses: FloatArray, *, is_whole: bool) -> Elimination:
    """Order units by what each alone loses, and take it that they lose the sum together.

    Args:
        losses: ``[size]``.
        is_whole: Whether nothing better could be known of them.
    """
    order = np.argsort(losses, kind="stable")
    return Elimination(order.astype(np.int64), np.cumsum(losses[order]), is_whole=is_whole)


def refit(matrix: npt.NDArray[Any], moments: FloatArray, kept: Bools) -> npt.NDArray[Any]:
    """Return the matrix with only the kept columns, valued so that the output changes least.

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
