"""Match the nodes of two models.

Nodes are paired by equal computation first, then by equal weights, by equal kernels and attributes
in equal surroundings, by name, by neighbours, and by the order of layers of equal size. Names
are weak evidence: exporters number nodes, so an additional node shifts the names of all later ones.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from acgraph.difference.align import align_layers
from acgraph.difference.fingerprint import Fingerprint, Numbering, fingerprints, node_kind
from acgraph.difference.terms import Source, Terms
from acgraph.ir import Model

#: Constants of at least this many elements are not equal by chance.
_MIN_WEIGHT = 16
Key = Callable[[gs.Node], Hashable | None]


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs of nodes.

    Attributes:
        pairs: Names in the second model by names in the first.
        inverse: Names in the first model by names in the second.
    """

    pairs: dict[str, str] = field(default_factory=dict)
    inverse: dict[str, str] = field(default_factory=dict)

    def add(self, before: str, after: str) -> None:
        """Pair two nodes."""
        self.pairs[before] = after
        self.inverse[after] = before


def match_nodes(first: Model, second: Model) -> Matching:
    """Pair the nodes of two models, the most certain pairs first; ambiguous nodes stay unpaired."""
    numbering = Numbering()
    exact = [fingerprints(m.graph, numbering, is_exact=True) for m in (first, second)]
    forms = [fingerprints(m.graph, numbering, is_exact=False) for m in (first, second)]
    search = _Search(first, second)
    search.pair_alike(_keys(exact, lambda f: f.place), is_same_computation=True)
    for key in (_by_weights, _by_weights_above, _by_weights_below):
        search.pair_alike(_keys(exact, key))
    search.pair_alike(_keys(forms, lambda f: f.place))
    own = _keys(forms, lambda f: f.own)
    are_names_reliable = search.are_names_reliable()
    if are_names_reliable:
        search.pair_names(own)
        search.pair_names((node_kind, node_kind))
    search.pair_neighbours(own)
    search.pair_layers()
    search.pair_neighbours(own)
    search.pair_neighbours((node_kind, node_kind))
    if not are_names_reliable:
        search.pair_names((node_kind, node_kind))
    search.pair_names((lambda _: 0, lambda _: 0))
    return search.matching


def _by_weights(found: Fingerprint) -> Hashable | None:
    return found.own if found.weight >= _MIN_WEIGHT else None


def _by_weights_above(found: Fingerprint) -> Hashable | None:
    return ("above", found.above) if found.weight >= _MIN_WEIGHT else None


def _by_weights_below(found: Fingerprint) -> Hashable | None:
    return ("below", found.below) if found.weight >= _MIN_WEIGHT else None


def _keys(
    prints: list[dict[str, Fingerprint]], key: Callable[[Fingerprint], Hashable | None]
) -> tuple[Key, Key]:
    ours, theirs = prints
    return (lambda node: key(ours[node.name])), (lambda node: key(theirs[node.name]))


class _Search:
    """Pairs nodes step by step; pairs are never revised."""

    def __init__(self, first: Model, second: Model) -> None:
        self.matching = Matching()
        self._models = first, second
        self._ours = {node.name: node for node in first.graph.nodes}
        self._theirs = {node.name: node for node in second.graph.nodes}
        self._places = {name: place for place, name in enumerate(self._theirs)}
        self._parts = {name for name in self._theirs if self._is_part(name)}

    def _is_part(self, name: str) -> bool:
        """Return whether the prefix of a name is a node of the first model alone."""
        while "/" in name:
            name = name.rpartition("/")[0]
            if name in self._ours and name not in self._theirs:
                return True
        return False

    def pair_alike(self, keys: tuple[Key, Key], *, is_same_computation: bool = False) -> None:
        """Pair nodes with equal keys.

        Among several nodes with one key, neighbours decide, then names, then the order. Where the
        models have different numbers of them, none is paired, unless all compute the same.
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
        """Pair nodes with equal names and equal keys."""
        for name, node in self._ours.items():
            other = self._theirs.get(name)
            if other is None or name in self.matching.pairs or name in self.matching.inverse:
                continue
            if keys[0](node) == keys[1](other):
                self.matching.add(name, name)

    def pair_layers(self) -> None:
        """Pair layers of equal size in the order of the graphs."""
        found = align_layers(*self._models, self.matching.pairs, self._parts)
        for before, after in list(found):
            self.matching.add(before, after)

    def are_names_reliable(self) -> bool:
        """Return whether, in the pairs so far, no name denotes different nodes in the models."""
        return not any(
            before != after and (before in self._theirs or after in self._ours)
            for before, after in self.matching.pairs.items()
        )

    def pair_neighbours(self, keys: tuple[Key, Key]) -> None:
        """Pair nodes with equal keys whose producers or consumers are paired already."""
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
            def with_neighbours(node: gs.Node) -> Hashable | None:
                found = around(node, terms[side])
                return None if found is None else (keys[side](node), found)

            return with_neighbours

        self.pair_alike((key(0), key(1)))
        return len(self.matching.pairs) > count

    def _classes(self, keys: tuple[Key, Key]) -> list[dict[Hashable, list[gs.Node]]]:
        """Group the unpaired nodes by their keys, without the parts of lowered layers."""
        found: list[dict[Hashable, list[gs.Node]]] = []
        known = self.matching.pairs, {**self.matching.inverse, **dict.fromkeys(self._parts, "")}
        for nodes, key, done in zip((self._ours, self._theirs), keys, known, strict=True):
            classes: dict[Hashable, list[gs.Node]] = defaultdict(list)
            for name, node in nodes.items():
                value = None if name in done else key(node)
                if value is not None:
                    classes[value].append(node)
            found.append(classes)
        return found

    def _agreement(self, node: gs.Node, other: gs.Node) -> tuple[int, bool, int]:
        """Rank how well a node fits another: common neighbours, equal names, early in the graph."""
        above = ((a.inputs, b.inputs) for a, b in zip(node.inputs, other.inputs, strict=False))
        below = ((a.outputs, b.outputs) for a, b in zip(node.outputs, other.outputs, strict=False))
        fitting = sum(self._share(a, b) for pairs in (above, below) for a, b in pairs)
        return fitting, node.name == other.name, -self._places[other.name]

    def _share(self, ours: Iterable[gs.Node], theirs: Iterable[gs.Node]) -> bool:
        """Return whether the pair of any of our nodes is among theirs."""
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
