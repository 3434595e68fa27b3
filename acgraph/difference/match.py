"""Which node of one model is which node of another.

By what both compute first, then by equal weights, by kernels and attributes in equal surroundings,
by name, and by neighbours. A name is weak evidence: exporters number nodes, and one node more in
front gives every name to another layer.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from acgraph.difference.fingerprint import Fingerprint, Numbering, fingerprints, node_kind
from acgraph.difference.terms import Source, Terms
from acgraph.ir import Model

#: So many values of constants are not equal by chance.
_WEIGHTY = 16
Key = Callable[[gs.Node], Hashable | None]


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
    """Pair the nodes of two models, the surest first; what is ambiguous is left alone."""
    numbering = Numbering()
    exact = [fingerprints(m.graph, numbering, is_exact=True) for m in (first, second)]
    forms = [fingerprints(m.graph, numbering, is_exact=False) for m in (first, second)]
    search = _Search(first, second)
    search.pair_alike(_keys(exact, lambda f: f.place), is_same_computation=True)
    for told in (_weighty, _weighty_above, _weighty_below):
        search.pair_alike(_keys(exact, told))
    search.pair_alike(_keys(forms, lambda f: f.place))
    own = _keys(forms, lambda f: f.own)
    names_hold = search.names_hold()
    if names_hold:
        search.pair_names(own)
        search.pair_names((node_kind, node_kind))
    search.pair_neighbours(own)
    search.pair_neighbours((node_kind, node_kind))
    if not names_hold:
        search.pair_names((node_kind, node_kind))
    search.pair_names((lambda _: 0, lambda _: 0))
    return search.matching


def _weighty(told: Fingerprint) -> Hashable | None:
    return told.own if told.weight >= _WEIGHTY else None


def _weighty_above(told: Fingerprint) -> Hashable | None:
    return ("above", told.above) if told.weight >= _WEIGHTY else None


def _weighty_below(told: Fingerprint) -> Hashable | None:
    return ("below", told.below) if told.weight >= _WEIGHTY else None


def _keys(
    prints: list[dict[str, Fingerprint]], told: Callable[[Fingerprint], Hashable | None]
) -> tuple[Key, Key]:
    ours, theirs = prints
    return (lambda node: told(ours[node.name])), (lambda node: told(theirs[node.name]))


class _Search:
    """Pairs nodes step by step; a pair that was found is never undone."""

    def __init__(self, first: Model, second: Model) -> None:
        self.matching = Matching()
        self._models = first, second
        self._ours = {node.name: node for node in first.graph.nodes}
        self._theirs = {node.name: node for node in second.graph.nodes}
        self._places = {name: place for place, name in enumerate(self._theirs)}
        self._parts = {name for name in self._theirs if self._is_part(name)}

    def _is_part(self, name: str) -> bool:
        """Return whether a node is named after a node of the first model that the second lacks."""
        while "/" in name:
            name = name.rpartition("/")[0]
            if name in self._ours and name not in self._theirs:
                return True
        return False

    def pair_alike(self, keys: tuple[Key, Key], *, is_same_computation: bool = False) -> None:
        """Pair nodes with equal keys.

        Nodes that one key cannot tell apart are as good as each other; their neighbours, and then
        their names and their order, decide. Unequal numbers of them tell nothing, except where all
        compute the same.
        """
        ours, theirs = self._classes(keys)
        for name, node in self._ours.items():
            key = keys[0](node)
            candidates = theirs.get(key, [])
            if key is None or name in self.matching.pairs or not candidates:
                continue
            if is_same_computation or len(ours[key]) == len(candidates):
                best = max(candidates, key=lambda other: self._agreement(node, other))
                self.matching.add(name, best.name)
                candidates.remove(best)
                ours[key].remove(node)

    def pair_names(self, keys: tuple[Key, Key]) -> None:
        """Pair nodes of one name that have one key."""
        for name, node in self._ours.items():
            other = self._theirs.get(name)
            if other is None or name in self.matching.pairs or name in self.matching.inverse:
                continue
            if keys[0](node) == keys[1](other):
                self.matching.add(name, name)

    def names_hold(self) -> bool:
        """Return whether no name is that of another node in the other model, by what was found."""
        return not any(
            before != after and (before in self._theirs or after in self._ours)
            for before, after in self.matching.pairs.items()
        )

    def pair_neighbours(self, keys: tuple[Key, Key]) -> None:
        """Pair nodes with equal keys that read, or are read by, nodes that are pairs already."""
        while any([self._pair_by(keys, _reads), self._pair_by(keys, _is_read)]):
            pass

    def _pair_by(
        self, keys: tuple[Key, Key], around: Callable[[gs.Node, Terms], Hashable | None]
    ) -> bool:
        count = len(self.matching.pairs)
        names: Iterable[Mapping[str, str]] = (
            {name: name for name in self.matching.pairs},
            dict(self.matching.inverse),
        )
        terms = [Terms(model, known) for model, known in zip(self._models, names, strict=True)]

        def key(side: int) -> Key:
            def tell(node: gs.Node) -> Hashable | None:
                found = around(node, terms[side])
                return None if found is None else (keys[side](node), found)

            return tell

        self.pair_alike((key(0), key(1)))
        return len(self.matching.pairs) > count

    def _classes(self, keys: tuple[Key, Key]) -> list[dict[Hashable, list[gs.Node]]]:
        """Group the nodes without a pair by their keys; parts of lowered layers have none."""
        found: list[dict[Hashable, list[gs.Node]]] = []
        known = self.matching.pairs, {**self.matching.inverse, **dict.fromkeys(self._parts, "")}
        for nodes, key, done in zip((self._ours, self._theirs), keys, known, strict=True):
            classes: dict[Hashable, list[gs.Node]] = defaultdict(list)
            for name, node in nodes.items():
                told = None if name in done else key(node)
                if told is not None:
                    classes[told].append(node)
            found.append(classes)
        return found

    def _agreement(self, node: gs.Node, other: gs.Node) -> tuple[int, bool, int]:
        """Tell how well a node fits another: equal neighbours, equal names, early in the graph."""
        above = ((a.inputs, b.inputs) for a, b in zip(node.inputs, other.inputs, strict=False))
        below = ((a.outputs, b.outputs) for a, b in zip(node.outputs, other.outputs, strict=False))
        fitting = sum(self._share(a, b) for pairs in (above, below) for a, b in pairs)
        return fitting, node.name == other.name, -self._places[other.name]

    def _share(self, ours: Iterable[gs.Node], theirs: Iterable[gs.Node]) -> bool:
        """Return whether some node of ours has its pair among theirs."""
        names = {node.name for node in theirs}
        return any(self.matching.pairs.get(node.name) in names for node in ours)


def _reads(node: gs.Node, terms: Terms) -> Hashable | None:
    sources = tuple(terms.source(t) for t in node.inputs)
    if None in sources or not sources or all(s in ("constant", "absent") for s in sources):
        return None
    return sources


def _is_read(node: gs.Node, terms: Terms) -> Hashable | None:
    readers: tuple[frozenset[Source] | None, ...] = tuple(terms.readers(t) for t in node.outputs)
    return None if None in readers or not any(readers) else readers
