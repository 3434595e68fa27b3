"""Find dead coupled sets, whose removal does not change the function of the network.

Deleting a set is equivalent to zeroing its filters and the columns that read it. So a set is
dead if zeroing them changes nothing:

- its filters and its columns are zero already, or
- its filters are zero, and so are the inputs of the columns (a Sigmoid between makes them 0.5), or
- its columns are zero, and it has no other consumer, such as a sum over the axis.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family
from acgraph.ir import Array
from acgraph.operators import OPERATORS
from acgraph.pruning.plan import Bools

#: Operators that sum over an axis of their data, weighted by another input.
_SUMS = frozenset(name for name, each in OPERATORS.items() if each.is_counted and each.is_cut)
#: Operators that read sizes, not values.
_SIZES = frozenset(["Shape", "Size"])


def dead_sets(
    dependency: DependencyGraph, families: Iterable[Family], weights: Mapping[str, Array]
) -> dict[str, Bools]:
    """Mark the dead coupled sets: ``bool [size]`` by family name, without families that have none.

    Args:
        dependency: The dependency graph of the families.
        families: The families. Inexact ones have no dead sets: deleting is not zeroing there.
        weights: The model's constants by name.
    """
    found = {}
    for family in families:
        if not family.is_exact:
            continue
        dead = _dead(dependency, family, weights)
        if dead.all():
            dead[0] = False  # an axis must not become empty
        if dead.any():
            found[family.name] = dead
    return found


def _dead(dependency: DependencyGraph, family: Family, weights: Mapping[str, Array]) -> Bools:
    unmade = _all_zero(family, "filter", weights)
    unread = _all_zero(family, "column", weights)
    dead = unmade & unread
    if (unmade & ~dead).any() and _Stream(dependency, family).zeros_reach_columns():
        dead |= unmade
    if (unread & ~dead).any() and _Stream(dependency, family).is_read_by_columns_only():
        dead |= unread
    return dead


def _all_zero(family: Family, role: str, weights: Mapping[str, Array]) -> Bools:
    """Mark the sets whose members of a role are zero: ``bool [size]``; none without members."""
    members = [m for m in family.members if m.role == role]
    zero = np.full(family.size, bool(members))
    for member in members:
        value = np.moveaxis(weights[member.tensor], member.axis, 0)
        live = value.reshape(len(value), -1).any(axis=1)
        zero[member.sets[live & (member.sets >= 0)]] = False
    return zero


class _Stream:
    """The activations that have an axis of a family, and the nodes that read them."""

    def __init__(self, dependency: DependencyGraph, family: Family) -> None:
        self._dependency = dependency
        self._own = np.unique(dependency.labels[family.name])
        self._carried: dict[str, list[int]] = {}
        self._readers = [
            node
            for node in dependency.model.graph.nodes
            if node.op not in _SIZES and self._carriers(node)
        ]

    def zeros_reach_columns(self) -> bool:
        """Whether every value that is summed over is zero if the filters are."""
        zeros = self._dependency.zeros
        return all(
            zeros[name][axis]
            for node in self._readers
            if node.op in _SUMS
            for name in self._carriers(node)
            for axis in self._axes(name)
        )

    def is_read_by_columns_only(self) -> bool:
        """Whether each node only passes the axis on, or multiplies it by columns."""
        return all(self._is_harmless(node) for node in self._readers)

    def _is_harmless(self, node: gs.Node) -> bool:
        carriers = self._carriers(node)
        if any(len(self._axes(name)) > 1 for name in carriers):
            return False  # different positions interact
        if any(self._axes(tensor.name) for tensor in node.outputs):
            return node.op not in _SUMS or len(carriers) == 1
        weighed = any(
            self._axes(tensor.name)
            for tensor in node.inputs
            if tensor.name not in self._dependency.zeros
        )
        return node.op in _SUMS and len(carriers) == 1 and weighed

    def _carriers(self, node: gs.Node) -> list[str]:
        names = dict.fromkeys(tensor.name for tensor in node.inputs if tensor.name)
        return [n for n in names if n in self._dependency.zeros and self._axes(n)]

    def _axes(self, name: str) -> list[int]:
        """List the axes of a tensor that carry the family."""
        if name not in self._carried:
            axes = self._dependency.axes.get(name, {})
            self._carried[name] = [
                axis for axis, labels in axes.items() if np.isin(labels, self._own).any()
            ]
        return self._carried[name]
