"""Importance of coupled sets and columns, by magnitude or by a function of the user."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from acgraph.analysis.families import Family, Member
from acgraph.errors import UsageError

FloatArray = npt.NDArray[np.float64]
Weights = Mapping[str, npt.NDArray[Any]]
Normalise = Literal["mean", "max", "none"]
#: Scores the filters of a weight: its name and ``[filters, ...]`` to ``[filters]``.
Importance = Callable[[str, npt.NDArray[Any]], npt.ArrayLike]

FILTERS: tuple[str, ...] = ("filter",)
COLUMNS: tuple[str, ...] = ("column",)
BOTH: tuple[str, ...] = ("filter", "column")


def set_importance(
    family: Family,
    weights: Weights,
    *,
    order: float = 2.0,
    normalise: Normalise = "mean",
    roles: tuple[str, ...] = BOTH,
) -> FloatArray:
    """Return the group magnitude of every coupled set of a family.

    Within each member, the norm of a set's slice is divided by the mean (or the largest) norm of
    the member, so that a long reader does not dominate a short producer; then the members are
    averaged. With ``"none"``, it is the plain norm over all slices together.
    The normalised form is the group importance of DepGraph (Fang et al., CVPR 2023).

    Args:
        family: The family.
        weights: The constants by name; members without a constant are ignored.
        order: The p of the p-norm, positive.
        normalise: The divisor of each member's norms.
        roles: The roles of members to include.

    Returns:
        ``float64 [family.size]``, not negative.

    Raises:
        ValueError: There is no such member.
    """
    powers = [
        member_powers(m, family.size, weights, order) for m in members_in(family, weights, roles)
    ]
    if normalise == "none":
        return np.asarray(np.sum(powers, axis=0) ** (1.0 / order))
    scale = np.mean if normalise == "mean" else np.max
    norms = [power ** (1.0 / order) for power in powers]
    return np.asarray(np.mean([_scaled(norm, float(scale(norm))) for norm in norms], axis=0))


def scored_sets(family: Family, weights: Weights, score: Importance) -> FloatArray | None:
    """Return the importance of every coupled set of a family by a function of the user.

    The scores of all filters of a set are summed over the producing weights. Vectors, such as a
    bias, are included only if there is no weight with more axes.

    Args:
        family: The family to rank.
        weights: The constants by name.
        score: The function of the user.

    Returns:
        ``float64 [family.size]``; None if no weight produces the family.

    Raises:
        UsageError: The function does not return one finite number for each filter.
    """
    makers = [m for m in family.members if m.role == "filter" and m.tensor in weights]
    makers = [m for m in makers if weights[m.tensor].ndim > 1] or makers
    if not makers:
        return None
    total = np.zeros(family.size)
    for member in makers:
        filters = np.moveaxis(np.array(weights[member.tensor]), member.axis, 0)
        found = np.asarray(score(member.tensor, filters), np.float64)
        if found.shape != (len(filters),) or not np.isfinite(found).all():
            raise UsageError(
                f"importance: gave an array of shape {list(found.shape)} for '{member.tensor}'",
                hint=f"return {len(filters)} finite numbers, one for each filter",
            )
        own = member.sets >= 0
        total += np.bincount(member.sets[own], weights=found[own], minlength=family.size)
    return total


def column_norms(weight: npt.NDArray[Any], *, order: float = 2.0) -> FloatArray:
    """Return the norm of every column of a layer's weight over all its filters.

    Args:
        weight: ``[O, I/group, *kernel]``.
        order: The p of the p-norm, positive.

    Returns:
        ``float64 [I/group, *kernel]``.
    """
    flat = weight.reshape(weight.shape[0], -1).T
    return np.asarray(row_powers(flat, order) ** (1.0 / order)).reshape(weight.shape[1:])


def members_in(family: Family, weights: Weights, roles: tuple[str, ...]) -> list[Member]:
    """Return the members of a family that have one of the roles and whose constant is known.

    An axis that several layers share (tied weights) appears once.

    Raises:
        ValueError: Where there is none.
    """
    found = list(_distinct(m for m in family.members if m.role in roles and m.tensor in weights))
    if not found:
        raise ValueError(f"family '{family.name}' has no member of role {roles} among the weights")
    return found


def member_powers(member: Member, size: int, weights: Weights, order: float) -> FloatArray:
    """Sum of ``|w| ** order`` over each coupled set's slice of one member, ``float64 [size]``."""
    weight = weights[member.tensor]
    rows = np.moveaxis(weight, member.axis, 0).reshape(weight.shape[member.axis], -1)
    cut = member.sets >= 0
    powers = row_powers(rows, order)[cut]
    return np.asarray(np.bincount(member.sets[cut], powers, size), dtype=np.float64)


def row_powers(rows: npt.NDArray[Any], order: float) -> FloatArray:
    """Sum of ``|w| ** order`` along the second axis, accumulated in float64."""
    if order == 2.0:
        return np.asarray(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return np.asarray((np.abs(rows).astype(np.float64) ** order).sum(axis=1))


def _distinct(members: Iterator[Member]) -> Iterator[Member]:
    seen: set[tuple[str, int]] = set()
    for member in members:
        key = (member.tensor, member.axis)
        if key not in seen:
            seen.add(key)
            yield member


def _scaled(norms: FloatArray, scale: float) -> FloatArray:
    return norms / scale if scale > 0.0 else norms
