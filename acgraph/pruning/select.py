"""Choose what to remove by magnitude, without data."""

from collections.abc import Mapping

import numpy as np

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family
from acgraph.ir import Array
from acgraph.pruning.importance import FloatArray, Importance, scored_sets, set_importance
from acgraph.pruning.plan import Bools, Plan
from acgraph.pruning.ranking import top_mask


def magnitude_plan(
    dependency: DependencyGraph,
    constants: Mapping[str, Array],
    sparsity: float,
    *,
    allow_inexact: bool = False,
    min_keep: int = 1,
    align: int = 1,
    importance: Importance | None = None,
    scores: Mapping[str, FloatArray] | None = None,
) -> Plan:
    """Remove the same share of every family, the coupled sets of smallest group magnitude first.

    Args:
        dependency: The dependency graph.
        constants: The model's constants by name.
        sparsity: Share of the coupled sets of each family to remove, in [0, 1).
        allow_inexact: Also cut families for which the compact model is not equivalent.
        min_keep: Smallest number of coupled sets of a family to keep, at least 1.
        align: Keep a multiple of this many coupled sets of a family that is cut: the one nearest to
            the share, or the larger one of two.
        importance: Ranks coupled sets in place of their magnitude, see ``scored_sets``.
        scores: Scores by family, ``[size]``, which take precedence over both.
    """
    chosen = choose_families(dependency.prunable(allow_inexact=allow_inexact))
    sets = {}
    for family in chosen:
        least = max(min_keep, family.min_keep)
        kept = max(family.size - int(sparsity * family.size + 1e-9), least)
        wanted = aligned_count(kept, family.size, align)
        if wanted < least:
            wanted = aligned_count(least, family.size, align, up=True)
        count = family.size - wanted
        if count > 0:
            known = None if scores is None else scores.get(family.name)
            sets[family.name] = (
                least_important(family, constants, count, importance)
                if known is None
                else ~top_mask(known, wanted)
            )
    return Plan(sets=sets)


def aligned_count(kept: int, size: int, step: int, *, up: bool = False) -> int:
    """Return the multiple of a step that is nearest to a count, from one step to the size.

    Args:
        kept: Requested number to keep, at least 1.
        size: Total number, which is allowed even if it is not a multiple.
        step: The divisor of the result.
        up: Never return less than ``kept``.

    >>> [aligned_count(kept, 40, 8) for kept in (1, 19, 20, 28, 39)]
    [8, 16, 24, 32, 40]
    >>> aligned_count(17, 40, 8, up=True), aligned_count(3, 6, 8)
    (24, 6)
    """
    whole = -(-kept // step) if up else (2 * kept + step) // (2 * step)
    return min(max(whole, 1) * step, size)


def choose_families(families: list[Family]) -> list[Family]:
    """Of two families on the same axis, keep the finer one (features within heads, not heads)."""
    chosen: dict[str, Family] = {}
    for family in sorted(families, key=lambda f: -f.size):
        if not any(rival in chosen for rival in family.rivals):
            chosen[family.name] = family
    return [family for family in families if family.name in chosen]


def least_important(
    family: Family,
    constants: Mapping[str, Array],
    count: int,
    importance: Importance | None = None,
) -> Bools:
    """Mark the ``count`` coupled sets of smallest group magnitude: ``bool [size]``.

    If no member of the family is a weight, the last sets are marked.
    """
    removed = np.zeros(family.size, bool)
    scores = None if importance is None else scored_sets(family, constants, importance)
    scores = magnitudes(family, constants) if scores is None else scores
    removed[np.argsort(scores, kind="stable")[:count]] = True
    return removed


def magnitudes(family: Family, constants: Mapping[str, Array]) -> FloatArray:
    """Return the magnitudes of coupled sets, ``float64 [size]``; without weights, by index."""
    if all(member.role == "other" for member in family.members):
        return -np.arange(family.size, dtype=np.float64)
    return set_importance(family, constants)
