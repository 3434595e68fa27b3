"""Cut a linear layer so that its output on data changes least, and mend what stays.

A layer ``Y = W X`` keeps some of its columns; the others are zeroed. With the second moments
``H = E[x x^T]`` of its input, the weights that stay have a best value (least squares), and what
the output then loses is known exactly without running the network again. Columns are eliminated
one after the other, each time the one whose loss is least once all others have been mended: the
optimal brain surgeon (Hassibi and Stork, 1993) on the layer's own output, as in OBC (Frantar and
Alistarh, NeurIPS 2022) and, for groups of columns, ZipLM (Kurtic et al., NeurIPS 2023). Nothing
here trains; accuracy that training would have to win back is mostly kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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

    def moments(self, *, centred: bool) -> FloatArray:
        """Return H with damping, which is positive definite whatever the data was.

        Inputs may be dead, constant or copies of each other, and samples fewer than columns.

        Args:
            centred: Take central moments, where a bias can follow the mean.
        """
        moments = self.covariance if centred else self.second
        moments = (moments + moments.T) / 2
        size = max(len(moments), 1)
        squares = float(np.trace(self.covariance) + self.mean @ self.mean) / size
        ridge = DAMPING * float(np.trace(moments)) / size + ROUNDING * squares
        if ridge <= 0.0:  # the input is zero: every weight does as well
            return np.eye(len(moments))
        damped = moments + ridge * np.eye(len(moments))
        while not _is_positive_definite(damped):
            ridge *= _RAISED
            damped = moments + ridge * np.eye(len(moments))
        return np.asarray(damped)


def _is_positive_definite(matrix: FloatArray) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """One layer that loses columns.

    Attributes:
        matrix: ``[filters, columns]``.
        moments: H of its input, see :meth:`Gram.moments`.
        units: ``int64 [columns]``: which unit each column goes with, -1 where it always stays.
    """

    matrix: npt.NDArray[Any]
    moments: FloatArray
    units: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Elimination:
    """In which order units go, and what that costs.

    Attributes:
        order: ``int64 [size]``: units, the first to go first.
        loss: ``float64 [size]``: share of the readers' output energy that is lost once
            ``order[:i + 1]`` are gone and what stays is mended; rising; readers are summed.
    """

    order: Ints
    loss: FloatArray

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


def eliminate(readers: Sequence[Reader], size: int, *, steps: int = STEPS) -> Elimination:
    """Order units by greedy elimination.

    Args:
        readers: The layers that read the units; a unit may be columns in several of them.
        size: How many units there are. Units that nothing reads go first.
        steps: At most about so many steps; more units than that go several a step.
    """
    states = [_State(reader, size) for reader in readers]
    alive = np.ones(size, np.bool_)
    order: list[int] = []
    losses: list[float] = []
    total = 0.0
    block = max(1, -(-size // steps))
    while alive.any():
        losses_of_units = np.sum([state.losses() for state in states], axis=0)
        candidates = np.flatnonzero(alive)
        count = min(block, len(candidates))
        least = candidates[np.argsort(losses_of_units[candidates], kind="stable")[:count]]
        total += sum(state.remove(least) for state in states)
        alive[least] = False
        order.extend(least.tolist())
        losses.extend([total] * count)
    return Elimination(np.array(order, np.int64), np.array(losses))


def refit(matrix: npt.NDArray[Any], moments: FloatArray, kept: Bools) -> npt.NDArray[Any]:
    """Return the matrix with only the kept columns, valued so that the output changes least.

    ``W'_S = W H_{:,S} (H_{S,S})^{-1}`` minimises ``E ||W x - W' x||^2``.

    Args:
        matrix: ``[filters, columns]``.
        moments: See :meth:`Gram.moments`.
        kept: ``bool [columns]``.
    """
    mended = np.zeros_like(matrix)
    if kept.any():
        right = moments[kept] @ matrix.T.astype(np.float64)
        mended[:, kept] = np.linalg.solve(moments[np.ix_(kept, kept)], right).T
    return mended


class _State:
    """A reader during an elimination: mended weights, inverse of H, both of what is left."""

    def __init__(self, reader: Reader, size: int) -> None:
        self._weights = reader.matrix.astype(np.float64)
        energy = float(np.einsum("ij,jk,ik->", self._weights, reader.moments, self._weights))
        self._scale = 1.0 / energy if energy > 0.0 else 0.0
        self._inverse = np.linalg.inv(reader.moments)
        self._units = reader.units.copy()
        self._size = size
        widths = np.bincount(self._units[self._units >= 0], minlength=size)
        self._is_single = bool((widths <= 1).all())

    def losses(self) -> FloatArray:
        """What each unit's removal would lose now, ``float64 [size]``; 0 where it is not read."""
        found = np.zeros(self._size)
        places = np.flatnonzero(self._units >= 0)
        if self._is_single:
            powers = np.einsum("ij,ij->j", self._weights[:, places], self._weights[:, places])
            found[self._units[places]] = powers / self._inverse.diagonal()[places]
            return found * self._scale
        order = places[np.argsort(self._units[places], kind="stable")]
        units, starts, widths = np.unique(self._units[order], return_index=True, return_counts=True)
        for width in np.unique(widths):
            same = widths == width
            columns = order[starts[same][:, None] + np.arange(width)]
            blocks = self._inverse[columns[:, :, None], columns[:, None, :]]
            weights = np.moveaxis(self._weights[:, columns], 0, -1)
            solved = np.linalg.solve(blocks, weights)
            found[units[same]] = np.einsum("uco,uco->u", weights, solved)
        return found * self._scale

    def remove(self, units: Ints) -> float:
        """Remove units, mend the rest, and say what that lost."""
        gone = np.isin(self._units, units)
        if not gone.any():
            return 0.0
        rows = self._inverse[gone]
        solved = np.linalg.solve(rows[:, gone], rows)
        weights = self._weights[:, gone]
        lost = float(np.einsum("io,oi->", weights, np.linalg.solve(rows[:, gone], weights.T)))
        left = ~gone
        self._weights = self._weights[:, left] - weights @ solved[:, left]
        self._inverse = self._inverse[np.ix_(left, left)] - rows[:, left].T @ solved[:, left]
        self._units = self._units[left]
        return lost * self._scale
