"""The dependency graph: coupled sets in families, fences with reasons, chains of couplings."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import networkx as nx
import numpy as np

from acgraph.analysis.couple import couple
from acgraph.analysis.families import Family
from acgraph.analysis.grouping import group_families
from acgraph.analysis.labels import Ints
from acgraph.analysis.walk import Walk
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, Facts, Model


@dataclass(frozen=True, slots=True, eq=False)
class DependencyGraph:
    """What may be removed from a model, exactly.

    Attributes:
        families: All families, fenced and inexact ones included, largest producers first.
        fences: Nodes that the analysis does not pass, with reasons.
        labels: By family name: the label of each coupled set.
        axes: By tensor, constants included: the resolved labels of each axis that can be cut.
        facts: Shapes and values that the analysis used.
        baked: Values of tensors that are computed from constants, and the axes of which a cut
            must replace the tensor by an initializer.
        auxiliary: Constants that only other constants are computed from.
    """

    model: Model
    facts: Facts
    families: tuple[Family, ...]
    fences: tuple[Diagnostic, ...]
    labels: dict[str, Ints]
    axes: dict[str, dict[int, Ints]]
    baked: dict[str, tuple[Array, frozenset[int]]] = field(default_factory=dict)
    auxiliary: frozenset[str] = frozenset()

    def family(self, name: str) -> Family:
        """Return the family with this name."""
        return next(family for family in self.families if family.name == name)

    def prunable(self, *, allow_inexact: bool = False) -> list[Family]:
        """List the families that may be cut."""
        return [f for f in self.families if f.is_prunable and (f.is_exact or allow_inexact)]

    def all_fences(self) -> list[Diagnostic]:
        """List every fence once: nodes that are not passed, and what else stops a family."""
        found = dict.fromkeys(self.fences)
        for family in self.families:
            found.update(dict.fromkeys(family.fences))
            if not family.fences:
                found.update(dict.fromkeys(family.inexact))
        return list(found)

    def why(self, node_name: str) -> list[str]:
        """Explain a node: the families that cross it, and the chain to what fences them.

        Raises:
            KeyError: there is no such node.
        """
        graph = self._axis_graph()
        touched = [v for v in graph if any(e[2] == node_name for e in graph.edges(v, keys=True))]
        if node_name not in {n.name for n in self.model.graph.nodes}:
            raise KeyError(node_name)
        lines = []
        for family in self.families:
            mine = [v for v in touched if np.isin(self.axes[v[0]][v[1]], self._own(family)).any()]
            if mine:
                lines.append(_headline(family))
                lines.extend(self._chains(graph, family, mine[0]))
        return lines or [f"nothing can be cut at '{node_name}': no labelled axis crosses it"]

    def _own(self, family: Family) -> Ints:
        return self.labels[family.name]

    def _axis_graph(self) -> "nx.MultiGraph[tuple[str, int]]":
        graph: nx.MultiGraph[tuple[str, int]] = nx.MultiGraph()
        for node in self.model.graph.nodes:
            places = [
                (t.name, axis)
                for t in [*node.inputs, *node.outputs]
                for axis in self.axes.get(t.name, ())
            ]
            for k, a in enumerate(places):
                for b in places[k + 1 :]:
                    if a != b and np.isin(self.axes[a[0]][a[1]], self.axes[b[0]][b[1]]).any():
                        graph.add_edge(a, b, key=node.name)
            for place in places:
                graph.add_node(place)
        return graph

    def _chains(
        self, graph: "nx.MultiGraph[tuple[str, int]]", family: Family, start: tuple[str, int]
    ) -> Iterator[str]:
        for reason in (*family.fences, *family.inexact):
            ends = [
                v
                for v in graph
                if v[0] == reason.location.value
                or any(e[2] == reason.location.node for e in graph.edges(v, keys=True))
            ]
            paths = [
                nx.shortest_path(graph, start, e) for e in ends if nx.has_path(graph, start, e)
            ]
            if paths:
                best = min(paths, key=len)
                steps = [next(iter(graph[a][b])) for a, b in pairwise(best)]
                chain = " -> ".join(dict.fromkeys(steps)) or start[0]
                yield f"  {chain}: {reason}"
            else:
                yield f"  {reason}"


def _headline(family: Family) -> str:
    if family.fences:
        state = "fenced"
    elif family.inexact:
        state = "inexact"
    else:
        state = "free to cut"
    axes = ", ".join(f"{m.tensor}[{m.axis}]" for m in family.members[:6])
    more = f" and {len(family.members) - 6} more" if len(family.members) > 6 else ""
    return f"{family.name}: {family.size} coupled sets, {state}; cuts {axes}{more}"


def analyse(model: Model, facts: Facts | None = None) -> DependencyGraph:
    """Find the coupled sets of a model, to the position."""
    walk = couple(model, facts)
    axes = _resolved_axes(walk)
    families, labels = group_families(walk, axes)
    return DependencyGraph(
        model=model,
        facts=walk.facts,
        families=tuple(families),
        fences=tuple(dict.fromkeys(walk.fences)),
        labels=labels,
        axes=axes,
        baked=walk.baked,
        auxiliary=_auxiliary(walk),
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
