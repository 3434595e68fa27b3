"""Euclidean projections onto structured sparsity: the Z step of ADMM, and the hard mask.

The nearest array with at most k non-zero groups keeps the k groups of largest L2 norm and zeroes
the rest. Exactly k are kept: of equal norms, the lowest index wins. Nothing is changed in place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from acgraph.analysis.families import Family
from acgraph.pruning.importance import (
    BOTH,
    FILTERS,
    FloatArray,
    Weights,
    column_norms,
    member_powers,
    members_in,
)
from acgraph.pruning.patterns import project_norms
from acgraph.pruning.ranking import BoolArray, top_mask

Array = npt.NDArray[Any]
Order = Literal["columns-first", "filters-first", "best"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCut:
    """Keep this many coupled sets of a family.

    Attributes:
        family: The family to cut.
        keep: Number of sets to keep, from 0 to ``family.size``.
        roles: Roles of the members whose slices are measured and zeroed.
    """

    family: Family
    keep: int
    roles: tuple[str, ...] = FILTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCut:
    """Keep this many columns of one layer's weight.

    Attributes:
        tensor: Name of the weight, ``[O, I/group, *kernel]``.
        keep: Number of columns to keep, from 0 to ``I/group * prod(kernel)``.
        pattern: The pattern of columns, see ``acgraph.pruning.patterns``.
        multiple: The pattern's granularity.
    """

    tensor: str
    keep: int
    pattern: str = "free"
    multiple: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Projected:
    """The result of a projection.

    Attributes:
        sets: Keep-flags per family, ``bool [family.size]``.
        columns: Keep-flags per weight, ``bool [I/group, *kernel]``.
        weights: New arrays for all weights; those that are not cut are copies.
        distance: Euclidean distance to the original weights, with their scales.
    """

    sets: dict[str, BoolArray]
    columns: dict[str, BoolArray]
    weights: dict[str, Array]
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """All cuts of a model: the constraint set S of the ADMM problem.

    Choosing filters and columns jointly is a hard selection problem; choosing them one after the
    other is not exact. ``"best"`` tries both orders and takes the nearer result, so it is never
    worse than either. A cut of filters only, or of columns only, is an exact projection.

    Attributes:
        sets: Cuts of coupled sets, at most one per family.
        columns: Cuts of columns, at most one per weight.
        order: Columns before filters (as the authors do), the reverse, or the better of both.
    """

    sets: tuple[SetCut, ...] = ()
    columns: tuple[ColumnCut, ...] = ()
    order: Order = "best"

    def project(self, weights: Weights, scales: Mapping[str, float] | None = None) -> Projected:
        """Project the weights onto the constraint.

        Args:
            weights: The weights by name; not changed.
            scales: Positive factor of each weight's squared distance: the per-layer rho of ADMM.
                It matters if a coupled set spans several weights. All 1 by default.

        Raises:
            ValueError: A count is out of range or a weight is not finite.
        """
        factors = {name: float((scales or {}).get(name, 1.0)) for name in weights}
        if not self.sets or not self.columns or self.order == "filters-first":
            return self._project(weights, factors, filters_first=True)
        columns_first = self._project(weights, factors, filters_first=False)
        if self.order == "columns-first":
            return columns_first
        filters_first = self._project(weights, factors, filters_first=True)
        return min(columns_first, filters_first, key=lambda projected: projected.distance)

    def __call__(self, weights: Weights) -> dict[str, Array]:
        """Return only the projected weights, with all scales 1."""
        return self.project(weights).weights

    def _project(
        self, weights: Weights, scales: Mapping[str, float], *, filters_first: bool
    ) -> Projected:
        current: dict[str, Array] = {name: np.array(value) for name, value in weights.items()}
        sets: dict[str, BoolArray] = {}
        columns: dict[str, BoolArray] = {}
        for stage in ("sets", "columns") if filters_first else ("columns", "sets"):
            if stage == "sets":
                current = self._cut_sets(current, scales, sets)
            else:
                current = self._cut_columns(current, columns)
        distance = weighted_distance(weights, current, scales)
        return Projected(sets=sets, columns=columns, weights=current, distance=distance)

    def _cut_sets(
        self, weights: dict[str, Array], scales: Mapping[str, float], masks: dict[str, BoolArray]
    ) -> dict[str, Array]:
        current = weights
        for cut in self.sets:
            mask = set_mask(cut.family, current, cut.keep, roles=cut.roles, scales=scales)
            masks[cut.family.name] = mask
            current = current | zero_sets(cut.family, current, mask, roles=cut.roles)
        return current

    def _cut_columns(
        self, weights: dict[str, Array], masks: dict[str, BoolArray]
    ) -> dict[str, Array]:
        current = dict(weights)
        for cut in self.columns:
            weight = current[cut.tensor]
            mask = column_mask(weight, cut.keep, pattern=cut.pattern, multiple=cut.multiple)
            masks[cut.tensor] = mask
            current[cut.tensor] = zero_columns(weight, mask)
        return current


def set_norms(
    family: Family,
    weights: Weights,
    *,
    roles: tuple[str, ...] = FILTERS,
    scales: Mapping[str, float] | None = None,
) -> FloatArray:
    """Return the L2 norm of every coupled set over all its slices, ``float64 [family.size]``.

    If a set cuts a weight along two axes, elements in both slices are counted twice.

    Raises:
        ValueError: No member of the family is among the weights.
    """
    total = np.zeros(family.size)
    for member in members_in(family, weights, roles):
        scale = 1.0 if scales is None else scales.get(member.tensor, 1.0)
        total += scale * member_powers(member, family.size, weights, 2.0)
    return np.sqrt(total)


def set_mask(
    family: Family,
    weights: Weights,
    keep: int,
    *,
    roles: tuple[str, ...] = FILTERS,
    scales: Mapping[str, float] | None = None,
) -> BoolArray:
    """Return keep-flags of the ``keep`` sets of largest joint norm, ``bool [family.size]``."""
    return top_mask(set_norms(family, weights, roles=roles, scales=scales), keep)


def column_mask(weight: Array, keep: int, *, pattern: str = "free", multiple: int = 1) -> BoolArray:
    """Return keep-flags of at most ``keep`` columns, ``bool [I/group, *kernel]``."""
    return norm_mask(column_norms(weight), keep, pattern, multiple)


def norm_mask(norms: FloatArray, keep: int, pattern: str = "free", multiple: int = 1) -> BoolArray:
    """Return keep-flags of at most ``keep`` columns of largest norm under a pattern.

    Channels whose norms are all zero count as removed, and do not interrupt a range.
    """
    alive = norms.reshape(len(norms), -1).any(axis=1)
    if pattern == "free" or alive.all() or not alive.any():
        return project_norms(norms, keep, pattern, multiple)
    mask = np.zeros(norms.shape, np.bool_)
    left = norms[alive]
    mask[alive] = project_norms(left, min(keep, left.size), pattern, multiple)
    return mask


def input_channel_mask(weight: Array, keep: int) -> BoolArray:
    """Return keep-flags of the ``keep`` input channels of largest norm: ``bool [I/group]``."""
    norms = column_norms(weight)
    return top_mask(np.sqrt((norms**2).reshape(norms.shape[0], -1).sum(axis=1)), keep)


def zero_sets(
    family: Family, weights: Weights, mask: BoolArray, *, roles: tuple[str, ...] = BOTH
) -> dict[str, Array]:
    """Return copies of the family's weights with the sets zeroed whose flag is False."""
    current: dict[str, Array] = {}
    for member in members_in(family, weights, roles):
        array = current.get(member.tensor, weights[member.tensor])
        removed = (member.sets >= 0) & ~mask[member.sets]
        shape = [1] * array.ndim
        shape[member.axis] = -1
        current[member.tensor] = np.where(removed.reshape(shape), array.dtype.type(0), array)
    return current


def zero_columns(weight: Array, mask: BoolArray) -> Array:
    """Return a copy of the weight with the columns zeroed whose flag is False.

    Args:
        weight: ``[O, I/group, *kernel]``.
        mask: ``bool [I/group, *kernel]``, or ``bool [I/group]`` for whole channels.
    """
    trailing = (1,) * (weight.ndim - 1 - mask.ndim)
    return np.where(mask.reshape(1, *mask.shape, *trailing), weight, weight.dtype.type(0))


def weighted_distance(a: Weights, b: Weights, scales: Mapping[str, float]) -> float:
    """``sqrt(sum_i scale_i * ||a_i - b_i||^2)`` over the weights of ``a``."""
    total = 0.0
    for name, value in a.items():
        gap = np.subtract(value, b[name], dtype=np.float64).ravel()
        total += scales.get(name, 1.0) * float(gap @ gap)
    return float(np.sqrt(total))
