"""The dependency graph: coupled sets in families, fences with reasons, chains of couplings."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import networkx as nx
import numpy as np

from acgraph.analysis.couple import couple
from acgraph.analysis.families import Family, Member
from acgraph.analysis.labels import Ints
from acgraph.analysis.walk import Walk
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, Facts, Model

#: Families smaller than this join their neighbours on the same axis, so that a share of them
#: can be removed.
SMALL_FAMILY = 4


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
    """

    model: Model
    facts: Facts
    families: tuple[Family, ...]
    fences: tuple[Diagnostic, ...]
    labels: dict[str, Ints]
    axes: dict[str, dict[int, Ints]]
    baked: dict[str, tuple[Array, frozenset[int]]] = field(default_factory=dict)

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
    families, labels = _families(walk, axes)
    return DependencyGraph(
        model=model,
        facts=walk.facts,
        families=tuple(families),
        fences=tuple(dict.fromkeys(walk.fences)),
        labels=labels,
        axes=axes,
        baked=walk.baked,
    )


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


def _families(walk: Walk, axes: dict[str, dict[int, Ints]]) -> tuple[list[Family], dict[str, Ints]]:
    places: dict[int, list[tuple[str, int]]] = defaultdict(list)
    stored = [use.name for use in walk.uses.values() if use.stored]
    for name in stored:
        for axis, labels in axes.get(name, {}).items():
            for label in np.unique(labels).tolist():
                places[label].append((name, axis))
    for label in (0, *walk.hidden):
        places.pop(label, None)
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for label, where in places.items():
        state = (label in walk.labels.fences, label in walk.labels.inexact)
        groups[(state, tuple(where))].append(label)
    merged = _join_small(walk, list(groups.items()))
    producers = _producers(walk)
    families = []
    labels_of: dict[str, Ints] = {}
    for group in sorted(merged, key=min):
        family = _family(walk, group, places, axes, producers, set(labels_of))
        families.append(family)
        labels_of[family.name] = np.array(group, np.int64)
    return _with_rivals(families, labels_of, axes, stored), labels_of


def _join_small(walk: Walk, groups: list[tuple[tuple[object, ...], list[int]]]) -> list[list[int]]:
    """Join small groups in the same state that share their first filter axis."""
    large, small = [], defaultdict(list)
    for (state, where), labels in groups:
        assert isinstance(where, tuple)
        first = next((p for p in where if walk.uses[p[0]].roles[p[1]] == "filter"), None)
        if len(labels) >= SMALL_FAMILY or first is None:
            large.append(sorted(labels))
        else:
            small[(state, first)].extend(labels)
    return large + [sorted(labels) for labels in small.values()]


def _producers(walk: Walk) -> dict[str, str]:
    """Name, for each constant, the first node that reads it."""
    found: dict[str, str] = {}
    for node in walk.model.graph.nodes:
        for tensor in node.inputs:
            found.setdefault(tensor.name, node.name)
    return found


def _family(
    walk: Walk,
    labels: list[int],
    places: dict[int, list[tuple[str, int]]],
    axes: dict[str, dict[int, Ints]],
    producers: dict[str, str],
    taken: set[str],
) -> Family:
    where = list(dict.fromkeys(place for label in labels for place in places[label]))
    own = np.array(labels, np.int64)
    members = []
    for name, axis in where:
        use = walk.uses[name]
        for j in range(axes[name][axis].shape[1]):
            sets = _numbers(axes[name][axis][:, j], own)
            if (sets >= 0).any():
                role = "other" if use.keep else use.roles[axis]
                members.append(Member(tensor=name, axis=axis, sets=sets, role=role))
    makers = [m for m in members if m.role == "filter"] or members
    widest = max(makers, key=lambda m: len(walk.facts.shapes[m.tensor]))
    stem = producers.get(widest.tensor, widest.tensor)
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}#{number}", number + 1
    return Family(
        name=name,
        size=len(labels),
        members=tuple(members),
        fences=_reasons(walk.labels.fences, labels),
        inexact=_reasons(walk.labels.inexact, labels),
    )


def _numbers(column: Ints, own: Ints) -> Ints:
    """Replace labels by their place in ``own`` (sorted), others by -1."""
    place = np.searchsorted(own, column).clip(max=len(own) - 1)
    return np.where(own[place] == column, place, -1)


def _reasons(notes: dict[int, list[Diagnostic]], labels: list[int]) -> tuple[Diagnostic, ...]:
    return tuple(dict.fromkeys(reason for label in labels for reason in notes.get(label, ())))


def _with_rivals(
    families: list[Family],
    labels_of: dict[str, Ints],
    axes: dict[str, dict[int, Ints]],
    stored: list[str],
) -> list[Family]:
    home = {int(x): name for name, labels in labels_of.items() for x in labels}
    rivals: dict[str, set[str]] = defaultdict(set)
    for name in stored:
        for labels in axes.get(name, {}).values():
            if labels.shape[1] < 2:
                continue
            for row in {tuple(row) for row in labels.tolist()}:
                names = {home[label] for label in row if label}
                for one in names:
                    rivals[one] |= names - {one}
    return [replace(f, rivals=tuple(sorted(rivals[f.name]))) for f in families]


__all__ = ["DependencyGraph", "analyse"]
