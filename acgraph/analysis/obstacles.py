"""What keeps the weights of a model from being cut: which nodes, why, and how many of them."""

from collections import defaultdict
from collections.abc import Iterator
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

#: What fences the last layer of every network: named first only where nothing holds as much.
OUTPUT_REASON = "a graph output keeps its shape"
#: Constants with a smaller share of all elements explain nothing, and are left out.
MIN_SHARE = 1e-3
#: Of weights in a branch or a loop body.
INNER_REASON = "weights inside a branch or a loop body are not cut"
#: Of the same where no branches are looked into.
UNTRAINED_REASON = "weights inside a branch or a loop body are not trained; prune cuts branches"
#: Of weights outside that several branches read, or a loop body does.
CAPTURED_REASON = "is read inside a subgraph"
#: Where no node says why.
NO_REASON = "this input of it has no channels that can be cut"

_Found = list[tuple[Family, Member]]
#: A reason, and whether only exactness forbids the cut.
_Key = tuple[str, bool]
#: A node, the reason that it gives, and whether only exactness forbids the cut.
_Note = tuple[str, str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One reason why weights stay.

    Attributes:
        nodes: Those that it lies at, or values where no node is known; that which holds most first.
        reason: Why.
        share: Of the elements of all constants, those that it holds, 0 to 1; what two obstacles
            hold counts for both.
        inexact: True where only exactness forbids the cut, so that ``--allow-inexact`` frees it.
    """

    nodes: tuple[str, ...]
    reason: str
    share: float
    inexact: bool


def obstacles(
    dependency: DependencyGraph, branches: Branches | None = None, *, allow_inexact: bool = False
) -> list[Obstacle]:
    """List what holds weights, the one that holds most first.

    An element is held where no axis of its constant may be cut at its position.

    Args:
        dependency: What may be removed.
        branches: What may be removed from the branches in it. Weights in other branches, and in
            loop bodies, are held. None where only the graph itself is to be cut.
        allow_inexact: Count cuts that are not exact as possible.
    """
    inner_reason = UNTRAINED_REASON if branches is None else INNER_REASON
    branches = NO_BRANCHES if branches is None else branches
    total = max(_total(dependency, branches), 1)
    held: dict[_Key, float] = defaultdict(float)
    nodes: dict[_Key, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for size, notes in _stuck(dependency, branches, inner_reason, allow_inexact=allow_inexact):
        if size < MIN_SHARE * total:
            continue
        for key in dict.fromkeys((message, inexact) for _, message, inexact in notes):
            held[key] += size
        for node, message, inexact in dict.fromkeys(notes):
            nodes[message, inexact][node] += size
    listed = [
        Obstacle(
            nodes=tuple(sorted(nodes[key], key=lambda node: -nodes[key][node])),
            reason=key[0],
            share=size / total,
            inexact=key[1],
        )
        for key, size in held.items()
    ]
    return sorted(listed, key=lambda o: (-o.share, o.reason == OUTPUT_REASON))


def _total(dependency: DependencyGraph, branches: Branches) -> int:
    """Count the elements of all constants, those of branches and loop bodies included."""
    own = sum(value.size for value in _constants(dependency, branches).values())
    closed = sum(size for _, size, _ in _closed(dependency, branches))
    return own + closed + sum(_total(each.graph, each.inner) for each in branches.found)


def _constants(dependency: DependencyGraph, branches: Branches) -> dict[str, Array]:
    """Return the constants of a graph without those that one of its branches alone reads."""
    inside = {name for each in branches.found for name in each.opened.own}
    return {n: value for n, value in dependency.model.constants().items() if n not in inside}


def _closed(dependency: DependencyGraph, branches: Branches) -> Iterator[tuple[str, int, str]]:
    """Yield nodes, the elements of constants in subgraphs that stay, and why if that is known."""
    opened = {(b.node, b.attribute) for b in (each.opened.branch for each in branches.found)}
    reasons = {f.location.value: f.message.partition(":")[0] for f in branches.fences}
    for node in dependency.model.graph.nodes:
        for name, graph in node.attrs.items():
            if isinstance(graph, gs.Graph) and (node.name, name) not in opened:
                path = Branch(node.name, name).path if name in BRANCHES else ""
                yield node.name, _inner_size(graph), reasons.get(path, "")


def _stuck(
    dependency: DependencyGraph, branches: Branches, inner_reason: str, *, allow_inexact: bool
) -> Iterator[tuple[float, list[_Note]]]:
    """Yield how many elements of each constant are held, and by what."""
    members: dict[str, _Found] = defaultdict(list)
    for family in dependency.families:
        for member in family.members:
            members[member.tensor].append((family, member))
    for name, value in _constants(dependency, branches).items():
        found = members.get(name, [])
        stuck = value.size * _stuck_share(value.shape, found, allow_inexact=allow_inexact)
        if stuck:
            notes = _notes(found) or list(_notes_of_readers(dependency, name))
            yield stuck, [(n.location.node or n.location.value, n.message, i) for n, i in notes]
    for node, closed, reason in _closed(dependency, branches):
        yield closed, [(node, reason or inner_reason, False)]
    for each in branches.found:
        within = _stuck(each.graph, each.inner, inner_reason, allow_inexact=allow_inexact)
        for size, inner in within:
            yield size, [(f"{each.path}/{node}", text, i) for node, text, i in inner]


def _inner_size(graph: gs.Graph) -> int:
    """Count the elements of constants in a branch or a loop body."""
    size = 0
    for node in graph.nodes:
        inner = [value for value in node.attrs.values() if isinstance(value, gs.Graph)]
        size += _stored(node) + sum(map(_inner_size, inner))
    return size


def _stored(node: gs.Node) -> int:
    held = [t for t in node.inputs if isinstance(t, gs.Constant)]
    if node.op == "Constant" and isinstance(node.attrs.get("value"), gs.Constant):
        held.append(node.attrs["value"])
    return sum(int(np.prod(tensor.shape)) for tensor in held)


def _stuck_share(shape: tuple[int, ...], found: _Found, *, allow_inexact: bool) -> float:
    """Return the share of a constant's elements that no cut reaches."""
    free = [np.zeros(size, bool) for size in shape]
    for family, member in found:
        if family.is_prunable and (family.is_exact or allow_inexact):
            free[member.axis] |= member.sets >= 0
    return float(np.prod([1 - axis.mean() if axis.size else 1.0 for axis in free]))


def _notes(found: _Found) -> list[tuple[Diagnostic, bool]]:
    """List why the families of a constant may not be cut, and whether exactness is the reason."""
    notes: list[tuple[Diagnostic, bool]] = []
    for family, _ in found:
        notes += [(note, False) for note in family.fences]
        if not family.fences:
            notes += [(note, True) for note in family.inexact]
    return notes


def _notes_of_readers(dependency: DependencyGraph, name: str) -> Iterator[tuple[Diagnostic, bool]]:
    """Yield why a constant has no families: what the fences at the nodes that read it say."""
    nodes = dependency.model.graph.nodes
    readers = {n.name: n for n in nodes if any(tensor.name == name for tensor in n.inputs)}
    said = [note for note in dependency.fences if note.location.node in readers]
    for node in [] if said else readers.values():
        location = dependency.model.location(node)
        yield Diagnostic(message=NO_REASON, location=location), False
    yield from ((note, False) for note in said)
    for node in nodes:
        if name in node_captures(node):
            location = dependency.model.location(node)
            yield Diagnostic(message=CAPTURED_REASON, location=location), False
