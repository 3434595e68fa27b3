"""Fingerprints of nodes: of a node itself, of everything before it, and of everything behind it.

Names do not count. Two models are comparable where they share one ``Numbering``, which maps equal
descriptions to equal numbers.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Array, array_bytes
from acgraph.operators import is_standard

#: Attributes with a number of channels or a size, which a cut changes.
_SIZES = frozenset({"group", "split", "hidden_size", "num_heads", "kv_num_heads"})
_KERNELS = frozenset({"Conv", "ConvTranspose"})
#: Source of a tensor of unknown origin.
_UNKNOWN = ("unknown",)
#: Identifies the source of a tensor of the outer graph.
Outer = Callable[[gs.Tensor], Hashable]


class Numbering:
    """Assigns equal numbers to equal descriptions, and different numbers to different ones."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def __call__(self, description: Hashable) -> int:
        """Return the number of a description."""
        return self._numbers.setdefault(description, len(self._numbers))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fingerprint of one node.

    Attributes:
        own: Its operator, its attributes and the constants that it reads.
        above: ``own``, and those of all nodes that it depends on.
        below: ``own``, and those of all nodes that depend on it.
        weight: Number of elements of the constants that it reads.
    """

    own: int
    above: int
    below: int
    weight: int

    @property
    def place(self) -> tuple[int, int]:
        """Identifies the node together with all nodes before and behind it."""
        return self.above, self.below


def fingerprints(
    graph: gs.Graph, numbering: Numbering, *, is_exact: bool
) -> dict[str, Fingerprint]:
    """Return the fingerprint of every node of a graph, by its name.

    Args:
        graph: The graph, with nodes in topological order and unique names.
        numbering: Shared by the models that are compared.
        is_exact: Include the values of constants and all attributes. Otherwise, only properties
            that a cut does not change are included, such as ranks and kernel sizes, so that a
            pruned network has the fingerprints of the original.
    """
    own = {
        node.name: numbering(_own(node, numbering, is_exact=is_exact, outer=lambda _: _UNKNOWN))
        for node in graph.nodes
    }
    above = _above(graph, own, numbering)
    below = _below(graph, own, numbering)
    return {
        node.name: Fingerprint(own[node.name], above[node.name], below[node.name], _weight(node))
        for node in graph.nodes
    }


def subgraph_print(graph: gs.Graph, numbering: Numbering, outer: Outer) -> Hashable:
    """Return the fingerprint of a branch or a loop body, independent of its inner names.

    Args:
        graph: The subgraph.
        numbering: Shared by the subgraphs that are compared.
        outer: Identifies the source of a tensor of the outer graph.
    """
    return _subgraph(graph, numbering, is_exact=True, outer=outer)


def node_kind(node: gs.Node) -> tuple[str, str]:
    """Return the operator of a node and its domain."""
    return node.op, "" if is_standard(node.domain) else str(node.domain)


def _own(node: gs.Node, numbering: Numbering, *, is_exact: bool, outer: Outer) -> Hashable:
    attributes = tuple(
        (key, _attribute(value, numbering, is_exact=is_exact, outer=outer))
        for key, value in sorted(node.attrs.items())
        if is_exact or key not in _SIZES
    )
    constants = tuple(
        (slot, _constant(np.asarray(t.values)) if is_exact else _form(node, t))
        for slot, t in enumerate(node.inputs)
        if isinstance(t, gs.Constant)
    )
    return node_kind(node), attributes, constants, len(node.outputs)


def _attribute(value: Any, numbering: Numbering, *, is_exact: bool, outer: Outer) -> Hashable:
    if isinstance(value, gs.Graph):
        return _subgraph(value, numbering, is_exact=is_exact, outer=outer)
    if isinstance(value, gs.Constant):
        return _constant(np.asarray(value.values)) if is_exact else np.asarray(value.values).ndim
    if isinstance(value, np.ndarray):
        return _constant(value)
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    return str(value)


def _constant(values: Array) -> Hashable:
    digest = hashlib.blake2b(array_bytes(values), digest_size=16).digest()
    return str(values.dtype), values.shape, digest


def _form(node: gs.Node, tensor: gs.Constant) -> Hashable:
    """Return the properties of a constant that a cut keeps: rank and, for convolutions, kernel."""
    shape = tuple(tensor.shape)
    return len(shape), shape[2:] if node.op in _KERNELS else ()


def _weight(node: gs.Node) -> int:
    return sum(int(np.prod(t.shape)) for t in node.inputs if isinstance(t, gs.Constant))


def _subgraph(graph: gs.Graph, numbering: Numbering, *, is_exact: bool, outer: Outer) -> Hashable:
    """Return the fingerprint of a subgraph, from those of its outputs and nodes."""
    own = {
        id(n): numbering(_own(n, numbering, is_exact=is_exact, outer=outer)) for n in graph.nodes
    }
    made: dict[int, Hashable] = {id(t): ("input", i) for i, t in enumerate(graph.inputs)}

    def source(tensor: gs.Tensor) -> Hashable:
        if isinstance(tensor, gs.Constant):
            return _constant(np.asarray(tensor.values)) if is_exact else len(tensor.shape)
        return made[id(tensor)] if id(tensor) in made else outer(tensor)

    numbers = []
    for node in graph.nodes:
        number = numbering((own[id(node)], *map(source, _variables(node))))
        made.update({id(t): (number, slot) for slot, t in enumerate(node.outputs)})
        numbers.append(number)
    return len(graph.inputs), tuple(map(source, graph.outputs)), tuple(sorted(numbers))


def _variables(node: gs.Node) -> Iterable[gs.Tensor]:
    return (t for t in node.inputs if not isinstance(t, gs.Constant))


def _above(graph: gs.Graph, own: Mapping[str, int], numbering: Numbering) -> dict[str, int]:
    sources: dict[int, Hashable] = {id(t): ("input", i) for i, t in enumerate(graph.inputs)}
    found: dict[str, int] = {}
    for node in graph.nodes:
        read = (sources.get(id(t), _UNKNOWN if t.name else "absent") for t in _variables(node))
        number = numbering(("above", own[node.name], *read))
        found[node.name] = number
        sources.update({id(t): (number, slot) for slot, t in enumerate(node.outputs)})
    return found


def _below(graph: gs.Graph, own: Mapping[str, int], numbering: Numbering) -> dict[str, int]:
    readers: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, tensor in enumerate(graph.outputs):
        readers[id(tensor)].append((-1, place))
    found: dict[str, int] = {}
    for node in reversed(graph.nodes):
        read = tuple(tuple(sorted(readers[id(t)])) for t in node.outputs)
        number = numbering(("below", own[node.name], read))
        found[node.name] = number
        for slot, tensor in enumerate(node.inputs):
            if not isinstance(tensor, gs.Constant):
                readers[id(tensor)].append((number, slot))
    return found
