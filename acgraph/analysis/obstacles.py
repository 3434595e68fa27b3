"""What keeps the weights of a model from being cut: which nodes, why, and how many of them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family, Member
from acgraph.diagnostics import Diagnostic

#: What fences the last layer of every network: named first only where nothing holds as much.
OUTPUT_REASON = "a graph output keeps its shape"
#: Constants with a smaller share of all elements explain nothing, and are left out.
LEAST_SHARE = 1e-3
#: Of weights in a branch or a loop body.
INNER_REASON = "weights inside a branch or a loop body are not cut"
#: Where no node says why.
NO_REASON = "this input of it has no channels that can be cut"

_Found = list[tuple[Family, Member]]


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


def obstacles(dependency: DependencyGraph, *, allow_inexact: bool = False) -> list[Obstacle]:
    """List what holds weights, the one that holds most first.

    An element is held where no axis of its constant may be cut at its position.

    Args:
        dependency: What may be removed.
        allow_inexact: Count cuts that are not exact as possible.
    """
    constants = dependency.model.constants()
    inside = {node.name: _inner_size(node) for node in dependency.model.graph.nodes}
    total = max(sum(value.size for value in constants.values()) + sum(inside.values()), 1)
    members: dict[str, _Found] = defaultdict(list)
    for family in dependency.families:
        for member in family.members:
            members[member.tensor].append((family, member))
    held: dict[tuple[str, bool], float] = defaultdict(float)
    nodes: dict[tuple[str, bool], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for name, value in constants.items():
        found = members.get(name, [])
        stuck = value.size * _stuck_share(value.shape, found, allow_inexact=allow_inexact)
        if stuck < LEAST_SHARE * total:
            continue
        notes = _notes(found) or list(_notes_of_readers(dependency, name))
        for key in dict.fromkeys((note.message, inexact) for note, inexact in notes):
            held[key] += stuck
        for note, inexact in dict.fromkeys(notes):
            nodes[note.message, inexact][note.location.node or note.location.value] += stuck
    for name, size in inside.items():
        if size and size >= LEAST_SHARE * total:
            held[INNER_REASON, False] += size
            nodes[INNER_REASON, False][name] += size
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


def _inner_size(node: gs.Node) -> int:
    """Count the elements of constants in the branches or the loop body of a node."""
    graphs = [value for value in node.attrs.values() if isinstance(value, gs.Graph)]
    inner = [each for graph in graphs for each in graph.nodes]
    return sum(_stored(each) + _inner_size(each) for each in inner)


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
    readers = {node.name: node for node in dependency.model.graph.nodes
               if any(tensor.name == name for tensor in node.inputs)}  # fmt: skip
    said = [note for note in dependency.fences if note.location.node in readers]
    for node in [] if said else readers.values():
        location = dependency.model.location(node)
        yield Diagnostic(message=NO_REASON, location=location), False
    yield from ((note, False) for note in said)
