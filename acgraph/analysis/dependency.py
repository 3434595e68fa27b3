"""The dependency graph: families of coupled sets, fences with reasons, chains of couplings."""

from dataclasses import dataclass, field

import numpy as np

from acgraph.analysis.bounds import fence_whole_layers, limit_families
from acgraph.analysis.couple import couple
from acgraph.analysis.explain import explain
from acgraph.analysis.families import Family
from acgraph.analysis.grouping import group_families
from acgraph.analysis.labels import Ints
from acgraph.analysis.walk import Walk
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, Facts, Model


@dataclass(frozen=True, slots=True, eq=False)
class DependencyGraph:
    """The coupled sets of a model, and the fences that restrict cuts.

    Attributes:
        model: The model.
        facts: Shapes and values that the analysis used.
        families: All families, fenced and inexact ones included, in graph order.
        fences: Nodes that no cut crosses, with reasons.
        labels: The label of each coupled set, by family name.
        axes: The resolved labels of each axis that can be cut, by tensor, constants included.
        baked: Values of tensors computed from constants that a cut replaces by an initializer, and
            the axes for which it does.
        auxiliary: Constants from which only other constants are computed.
        zeros: By activation: for every axis, whether its cut positions are zero in the masked
            model.
    """

    model: Model
    facts: Facts
    families: tuple[Family, ...]
    fences: tuple[Diagnostic, ...]
    labels: dict[str, Ints]
    axes: dict[str, dict[int, Ints]]
    baked: dict[str, tuple[Array, frozenset[int]]] = field(default_factory=dict)
    auxiliary: frozenset[str] = frozenset()
    zeros: dict[str, tuple[bool, ...]] = field(default_factory=dict)

    def family(self, name: str) -> Family:
        """Return the family with this name."""
        return next(family for family in self.families if family.name == name)

    def prunable(self, *, allow_inexact: bool = False) -> list[Family]:
        """Return the families that may be cut."""
        return [f for f in self.families if f.is_prunable and (f.is_exact or allow_inexact)]

    def all_fences(self) -> list[Diagnostic]:
        """Return every fence once: nodes that no cut crosses, and other fences of families."""
        found = dict.fromkeys(self.fences)
        for family in self.families:
            found.update(dict.fromkeys(family.fences))
            if not family.fences:
                found.update(dict.fromkeys(family.inexact))
        return list(found)

    def why(self, node_name: str) -> list[str]:
        """Explain a node: the families that cross it, and the chains to their fences.

        Raises:
            KeyError: There is no such node.
        """
        return explain(self.model, self.axes, self.labels, self.families, node_name)


def analyse(model: Model, facts: Facts | None = None) -> DependencyGraph:
    """Find the coupled sets of a model, exact to the position, within the bounds of the model.

    Args:
        model: The model.
        facts: Facts of the model, where the caller has them.
    """
    walk = couple(model, facts)
    fence_whole_layers(walk)
    axes = _resolved_axes(walk)
    families, labels = group_families(walk, axes)
    return DependencyGraph(
        model=model,
        facts=walk.facts,
        families=tuple(limit_families(model, families)),
        fences=tuple(dict.fromkeys(walk.fences)),
        labels=labels,
        axes=axes,
        baked=walk.baked,
        auxiliary=_auxiliary(walk),
        zeros={
            name: tuple(tensor.zero)
            for name, tensor in walk.tensors.items()
            if name not in walk.derived
        },
    )


def _auxiliary(walk: Walk) -> frozenset[str]:
    outputs = {t.name for t in walk.model.graph.outputs}
    return frozenset(walk.model.constants()) - walk.live - walk.captured - outputs


def _resolved_axes(walk: Walk) -> dict[str, dict[int, Ints]]:
    found: dict[str, dict[int, Ints]] = {}
    sources = [(name, t.axes) for name, t in walk.tensors.items()]
    sources += [(use.name, use.labels.axes) for use in walk.uses.values()]
    for name, axes in sources:
        own = {
            k: walk.labels.resolve(axis)
            for k, axis in enumerate(axes)
            if isinstance(axis, np.ndarray)
        }
        if own:
            found[name] = own
    return found


__all__ = ["DependencyGraph", "analyse"]
