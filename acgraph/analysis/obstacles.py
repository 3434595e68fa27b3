"""Find the obstacles to cuts: nodes, reasons, and the share of the weights that each affects."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.branches import NO_BRANCHES, Branches
from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family, Member
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array
from acgraph.ir.branches import BRANCHES, Branch
from acgraph.ir.uses import node_captures

#: Fences the last layer of every network, so other obstacles of equal share come first.
OUTPUT_REASON = "a graph output keeps its shape"
#: Constants with a smaller share of all elements are left out.
MIN_SHARE = 1e-3
#: For weights in a branch or a loop body.
INNER_REASON = "weights inside a branch or a loop body are not cut"
#: The same, where branches are not cut at all.
UNTRAINED_REASON = "weights inside a branch or a loop body are not trained; prune cuts branches"
#: For outer weights that several branches or a loop body read.
CAPTURED_REASON = "is read inside a subgraph"
#: Where no fence gives a reason.
NO_REASON = "this input has no channels that can be cut"

_Found = list[tuple[Family, Member]]
#: A reason, and whether the cut is possible but inexact.
_Key = tuple[str, bool]
#: A node, its reason, and whether the cut is possible but inexact.
_Note = tuple[str, str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One reason why weights cannot be cut.

    Attributes:
        nodes: The nodes, or the values where no node is known; the one of largest share first.
        reason: The reason.
        share: Share of the elements of all constants that it affects, 0 to 1. Elements that two
            obstacles affect count for both.
        inexact: True where the cut is possible but inexact, so that ``--allow-inexact`` allows it.
    """

    nodes: tuple[str, ...]
    reason: str
    share: float
    inexact: bool


def obstacles(
    dependency: DependencyGraph, branches: Branches | None = None, *, allow_inexact: bool = False
) -> list[Obstacle]:
    """Return the obstacles to cuts, the one of largest share first.

    An element cannot be cut where no axis of its constant may be cut at its position.

    Args:
        dependency: Dependency graph of the model.
        branches: The analysed branches. Weights in other branches and in loop bodies cannot be cut.
            None where branches are not cut at all.
        allow_inexact: Treat inexact cuts as possible.
    """
    inner_reason = UNTRAINED_REASON if branches is None else INNER_REASON
    branches = NO_BRANCHES if branches is None else branches
    total = max(_total(dependency, branches), 1)
    sizes: dict[_Key, float] = defaultdict(float)
    nodes: dict[_Key, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for size, notes in _uncuttable(dependency, branches, inner_reason, allow_inexact=allow_inexact):
        if size < MIN_SHARE * total:
            continue
        for key in dict.fromkeys((message, inexact) for _, message, inexact in notes):
            sizes[key] += size
        for node, message, inexact in dict.fromkeys(notes):
            nodes[message, inexact][node] += size
    listed = [
        Obstacle(
            nodes=tuple(sorted(nodes[key], key=lambda node: -nodes[key][node])),
            reason=key[0],
            share=size / total,
            inexact=key[1],
        )
        for key, size in sizes.items()
    ]
    return sorted(listed, key=lambda o: (-o.share, o.reason == OUTPUT_REASON))


def shares_by_node(
    dependency: DependencyGraph, branches: Branches | None = None, *, allow_inexact: bool = False
) -> dict[tuple[str, str], float]:
    """Return the share of the weights that each node keeps from being cut, by node and reason.

    Args:
        dependency: Dependency graph of the model.
        branches: The analysed branches, as for :func:`obstacles`.
        allow_inexact: Treat inexact cuts as possible.

    Returns:
        Shares of the elements of all constants, 0 to 1. Elements that two nodes keep count for
        both.
    """
    inner_reason = UNTRAINED_REASON if branches is None else INNER_REASON
    branches = NO_BRANCHES if branches is None else branches
    total = max(_total(dependency, branches), 1)
    found: dict[tuple[str, str], float] = defaultdict(float)
    for size, notes in _uncuttable(dependency, branches, inner_reason, allow_inexact=allow_inexact):
        for key in dict.fromkeys((node, reason) for node, reason, _ in notes):
            found[key] += size / total
    return dict(found)


def _total(dependency: DependencyGraph, branches: Branches) -> int:
    """Count the elements of all constants, including branches and loop bodies."""
    own = sum(value.size for value in _constants(dependency, branches).values())
    closed = sum(size for _, size, _ in _closed(dependency, branches))
    return own + closed + sum(_total(each.graph, each.inner) for each in branches.found)


def _constants(dependency: DependencyGraph, branches: Branches) -> dict[str, Array]:
    """Return the constants of a graph without those that only one of its branches reads."""
    inside = {name for each in branches.found for name in each.opened.unshared}
    return {n: value for n, value in dependency.model.constants().items() if n not in inside}


def _closed(dependency: DependencyGraph, branches: Branches) -> Iterator[tuple[str, int, str]]:
    """Yield nodes with subgraphs that are not cut, the elements of their constants, and reasons.

    The reason is empty where it is unknown.
    """
    opened = {(b.node, b.attribute) for b in (each.opened.branch for each in branches.found)}
    reasons = {f.location.value: f.message.partition(":")[0] for f in branches.fences}
    for node in dependency.model.graph.nodes:
        for name, graph in node.attrs.items():
            if isinstance(graph, gs.Graph) and (node.name, name) not in opened:
                path = Branch(node.name, name).path if name in BRANCHES else ""
                yield node.name, _inner_size(graph), reasons.get(path, "")


def _uncuttable(
    dependency: DependencyGraph, branches: Branches, inner_reason: str, *, allow_inexact: bool
) -> Iterator[tuple[float, list[_Note]]]:
    """Yield the number of elements of each constant that cannot be cut, and the reasons."""
    members: dict[str, _Found] = defaultdict(list)
    for family in dependency.families:
        for member in family.members:
            members[member.tensor].append((family, member))
    readers = _Readers.of(dependency)
    for name, value in _constants(dependency, branches).items():
        found = members.get(name, [])
        size = value.size * _uncuttable_share(value.shape, found, allow_inexact=allow_inexact)
        if size:
            notes = _notes(found) or list(_notes_of_readers(dependency, name, readers))
            yield size, [(n.location.node or n.location.value, n.message, i) for n, i in notes]
    for node, closed, reason in _closed(dependency, branches):
        yield closed, [(node, reason or inner_reason, False)]
    for each in branches.found:
        within = _uncuttable(each.graph, each.inner, inner_reason, allow_inexact=allow_inexact)
        for elements, inner in within:
            yield elements, [(f"{each.path}/{node}", text, i) for node, text, i in inner]


def _inner_size(graph: gs.Graph) -> int:
    """Count the elements of the constants in a branch or a loop body."""
    size = 0
    for node in graph.nodes:
        inner = [value for value in node.attrs.values() if isinstance(value, gs.Graph)]
        size += _stored(node) + sum(map(_inner_size, inner))
    return size


def _stored(node: gs.Node) -> int:
    constants = [t for t in node.inputs if isinstance(t, gs.Constant)]
    if node.op == "Constant" and isinstance(node.attrs.get("value"), gs.Constant):
        constants.append(node.attrs["value"])
    return sum(int(np.prod(tensor.shape)) for tensor in constants)


def _uncuttable_share(shape: tuple[int, ...], found: _Found, *, allow_inexact: bool) -> float:
    """Return the share of a constant's elements that no cut reaches."""
    free = [np.zeros(size, bool) for size in shape]
    for family, member in found:
        if family.is_prunable and (family.is_exact or allow_inexact):
            free[member.axis] |= member.sets >= 0
    return float(np.prod([1 - axis.mean() if axis.size else 1.0 for axis in free]))


def _notes(found: _Found) -> list[tuple[Diagnostic, bool]]:
    """Return why the families of a constant are not cut, each with whether the cut is inexact."""
    notes: list[tuple[Diagnostic, bool]] = []
    for family, _ in found:
        notes += [(note, False) for note in family.fences]
        if not family.fences:
            notes += [(note, True) for note in family.inexact]
    return notes


@dataclass(frozen=True, slots=True)
class _Readers:
    """The nodes that read each value, those that read it in a subgraph, and the fences of nodes."""

    nodes: Mapping[str, Sequence[gs.Node]]
    capturing: Mapping[str, Sequence[gs.Node]]
    fences: Mapping[str, Sequence[Diagnostic]]

    @classmethod
    def of(cls, dependency: DependencyGraph) -> "_Readers":
        """Find them in one pass over the nodes."""
        nodes: dict[str, list[gs.Node]] = defaultdict(list)
        capturing: dict[str, list[gs.Node]] = defaultdict(list)
        fences: dict[str, list[Diagnostic]] = defaultdict(list)
        for node in dependency.model.graph.nodes:
            for name in dict.fromkeys(tensor.name for tensor in node.inputs):
                nodes[name].append(node)
            for name in node_captures(node):
                capturing[name].append(node)
        for fence in dependency.fences:
            fences[fence.location.node].append(fence)
        return cls(nodes, capturing, fences)


def _notes_of_readers(
    dependency: DependencyGraph, name: str, readers: _Readers
) -> Iterator[tuple[Diagnostic, bool]]:
    """Yield why a constant has no families: the fences of its consumers."""
    own = readers.nodes.get(name, ())
    fences = [note for node in own for note in readers.fences.get(node.name, ())]
    for node in [] if fences else own:
        location = dependency.model.location(node)
        yield Diagnostic(message=NO_REASON, location=location), False
    yield from ((note, False) for note in fences)
    for node in readers.capturing.get(name, ()):
        location = dependency.model.location(node)
        yield Diagnostic(message=CAPTURED_REASON, location=location), False
