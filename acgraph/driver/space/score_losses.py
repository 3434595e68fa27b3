"""The error of attention scores if features of queries and keys are removed."""

from collections.abc import Mapping, Sequence

import numpy as np

from acgraph.analysis.attention import Scores
from acgraph.analysis.families import Family
from acgraph.analysis.labels import Ints
from acgraph.analysis.tail import Tail
from acgraph.driver.space.head_bases import output_moments
from acgraph.ir import Array
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.reconstruct import Gram


def score_losses(
    found: Sequence[Scores],
    family: Family,
    weights: Mapping[str, Array],
    grams: Mapping[str, Gram],
) -> FloatArray | None:
    """Return the share of the energy of scores that is lost with each coupled set.

    A set that contains a whole head loses none: the scores of a head without values do not matter.

    Args:
        found: The products of queries and keys.
        family: The coupled sets.
        weights: The weights by name.
        grams: Moments of the inputs of layers, by the name of the weight.

    Returns:
        ``float64 [family.size]``, summed over the nodes; None if the family cuts no measured
        scores.
    """
    lost: dict[str, FloatArray] = {}
    energy: dict[str, float] = {}
    for scores in found:
        units = _units(family, scores.left, scores.left_rows[0])
        if units is None or _units(family, scores.right, scores.right_rows[0]) is None:
            continue
        left, right = (
            _moments(tail, rows, weights, grams, centred=scores.shifted == side)
            for tail, rows, side in (
                (scores.left, scores.left_rows, "left"),
                (scores.right, scores.right_rows, "right"),
            )
        )
        if left is None or right is None:
            continue
        node, own = scores.node, np.diag(left) * np.diag(right)
        each = np.bincount(units, own, minlength=family.size)
        lost[node] = np.asarray(each + lost[node] if node in lost else each, np.float64)
        energy[node] = energy.get(node, 0.0) + float(np.sum(left * right))
    shares = [lost[node] / energy[node] for node in lost if energy[node] > 0.0]
    return np.sum(shares, axis=0) if shares else None


def _units(family: Family, tail: Tail, rows: Ints) -> Ints | None:
    """Return the coupled sets of a head's features; None if it is cut only as a whole."""
    for member in family.members:
        if member.tensor == tail.layer.weight and member.axis == tail.layer.filter_axis:
            own = member.sets[rows]
            return own if (own >= 0).all() and len(np.unique(own)) > 1 else None
    return None


def _moments(
    tail: Tail,
    heads: Ints,
    weights: Mapping[str, Array],
    grams: Mapping[str, Gram],
    *,
    centred: bool,
) -> FloatArray | None:
    gram = grams.get(tail.layer.weight)
    if gram is None:
        return None
    each = [output_moments(tail, rows, weights, gram, centred=centred) for rows in heads]
    return np.asarray(np.sum(each, axis=0))
