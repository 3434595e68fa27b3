"""The nodes that each family of coupled sets crosses, and those that fence it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family
from acgraph.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Coupling:
    """The nodes that one family crosses.

    Attributes:
        family: The family.
        nodes: Names of the nodes with a tensor that the family cuts, in graph order.
        reasons: Why it may not be cut, or only inexactly: each reason with the names of the nodes
            that it concerns.
    """

    family: Family
    nodes: tuple[str, ...]
    reasons: tuple[tuple[Diagnostic, tuple[str, ...]], ...]


def couplings(dependency: DependencyGraph) -> tuple[Coupling, ...]:
    """Return the nodes of every family, in the order of the families."""
    crossed: dict[int, dict[str, None]] = defaultdict(dict)
    touching: dict[str, dict[str, None]] = defaultdict(dict)
    owner = _owners(dependency)
    for node in dependency.model.graph.nodes:
        for tensor in (*node.inputs, *node.outputs):
            touching[tensor.name][node.name] = None
            for labels in dependency.axes.get(tensor.name, {}).values():
                known = labels[(labels >= 0) & (labels < len(owner))]
                for index in np.unique(owner[known]):
                    if index >= 0:
                        crossed[int(index)][node.name] = None

    def reasons(family: Family) -> Iterator[tuple[Diagnostic, tuple[str, ...]]]:
        for reason in (*family.fences, *family.inexact):
            where = reason.location
            yield reason, (where.node,) if where.node else tuple(touching[where.value])

    return tuple(
        Coupling(family, tuple(crossed[index]), tuple(reasons(family)))
        for index, family in enumerate(dependency.families)
    )


def _owners(dependency: DependencyGraph) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the number of the family of each label; -1 without one."""
    most = max((int(x.max(initial=-1)) for x in dependency.labels.values()), default=-1)
    owner = np.full(most + 1, -1, np.int64)
    for index, family in enumerate(dependency.families):
        owner[dependency.labels[family.name]] = index
    return owner
