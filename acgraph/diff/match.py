"""Which node of one model is which node of another: by name, then by place in the graph."""

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from acgraph.ir import Model

#: What a tensor is to a reader, in terms that hold in both models; None where not known yet.
Source = Hashable | None


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs of nodes, and where tensors come from in terms of the pairs.

    Attributes:
        pairs: Name in the first model -> name in the second.
        inverse: The other way.
    """

    pairs: dict[str, str] = field(default_factory=dict)
    inverse: dict[str, str] = field(default_factory=dict)

    def add(self, before: str, after: str) -> None:
        """Pair two nodes."""
        self.pairs[before] = after
        self.inverse[after] = before


def match_nodes(first: Model, second: Model) -> Matching:
    """Pair the nodes of two models.

    Nodes of one name are one node where they have one operator, or where the name is all that is
    left to go by. The others are paired where the operator and what they read (or what reads
    them) agree, until nothing new is found.
    """
    matching = Matching()
    ours = {node.name: node for node in first.graph.nodes}
    theirs = {node.name: node for node in second.graph.nodes}
    for name, node in ours.items():
        other = theirs.get(name)
        if other is not None and _kind(node) == _kind(other):
            matching.add(name, name)
    parts = {node.name for node in second.graph.nodes if _is_part(node.name, ours, theirs)}
    while _extend(first, second, matching, _reads, parts) or _extend(
        first, second, matching, _is_read, parts
    ):
        pass
    for name in ours:
        if name in theirs and name not in matching.pairs and name not in matching.inverse:
            matching.add(name, name)
    return matching


def _is_part(name: str, ours: dict[str, gs.Node], theirs: dict[str, gs.Node]) -> bool:
    """Say whether a node is named after a node of the first model that the second lacks."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in ours and name not in theirs:
            return True
    return False


def _kind(node: gs.Node) -> tuple[str, str]:
    return node.op, "" if node.domain in (None, "ai.onnx") else node.domain


def _extend(
    first: Model,
    second: Model,
    matching: Matching,
    key: Callable[[gs.Node, "_Terms"], Hashable | None],
    parts: set[str],
) -> bool:
    """Pair unpaired nodes with equal keys; True where any were."""
    ours = _by_key(first, matching.pairs, _Terms(first, {n: n for n in matching.pairs}), key)
    theirs = _by_key(second, matching.inverse, _Terms(second, matching.inverse), key)
    found = False
    for what, nodes in ours.items():
        others = [node for node in theirs.get(what, []) if node.name not in parts]
        # Nodes that differ in nothing are as good as each other; unequal numbers tell nothing.
        if len(nodes) == len(others):
            for node, other in zip(nodes, others, strict=True):
                matching.add(node.name, other.name)
                found = True
    return found


def _by_key(
    model: Model,
    known: dict[str, str],
    terms: "_Terms",
    key: Callable[[gs.Node, "_Terms"], Hashable | None],
) -> dict[Hashable, list[gs.Node]]:
    found: dict[Hashable, list[gs.Node]] = defaultdict(list)
    for node in model.graph.nodes:
        if node.name in known:
            continue
        what = key(node, terms)
        if what is not None:
            found[what].append(node)
    return found


class _Terms:
    """Says where tensors come from in names of the first model."""

    def __init__(self, model: Model, names: dict[str, str]) -> None:
        self._names = names
        self._inputs = {t.name: i for i, t in enumerate(model.graph.inputs)}
        self._outputs = {t.name: i for i, t in enumerate(model.graph.outputs)}

    def source(self, tensor: gs.Tensor) -> Source:
        if not tensor.name:
            return "absent"
        if isinstance(tensor, gs.Constant):
            return "constant"
        if tensor.name in self._inputs:
            return "input", self._inputs[tensor.name]
        if not tensor.inputs:
            return "outer", tensor.name
        return self.place(tensor.inputs[0], tensor, tensor.inputs[0].outputs)

    def place(self, node: gs.Node, tensor: gs.Tensor, among: list[gs.Tensor]) -> Source:
        name = self._names.get(node.name)
        if name is None:
            return None
        return name, next(i for i, t in enumerate(among) if t is tensor)

    def readers(self, tensor: gs.Tensor) -> frozenset[Source] | None:
        found: list[Source] = [
            self.place(reader, tensor, reader.inputs)
            for reader in tensor.outputs
            if any(t is tensor for t in reader.inputs)
        ]
        if None in found:
            return None
        if tensor.name in self._outputs:
            found.append(("output", self._outputs[tensor.name]))
        return frozenset(found)


def _reads(node: gs.Node, terms: _Terms) -> Hashable | None:
    sources = tuple(terms.source(t) for t in node.inputs)
    if None in sources or not sources or all(s in ("constant", "absent") for s in sources):
        return None
    return _kind(node), sources


def _is_read(node: gs.Node, terms: _Terms) -> Hashable | None:
    readers = tuple(terms.readers(t) for t in node.outputs)
    if None in readers or not any(readers):
        return None
    return _kind(node), readers
