"""Pair layers of equal size in the order of the graph, where neither names nor weights agree.

Two exporters write other names, other operators around a layer, and merge or fold other constants,
but the layers of a network and their order are the same.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from itertools import pairwise

from acgraph.analysis.layers import Layer, layers
from acgraph.ir import Model


def align_layers(
    first: Model, second: Model, pairs: Mapping[str, str], skip: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield pairs of layers of equal size in the longest common sequence of both models.

    Layers that are paired already divide the sequence. Where one model has more layers of a size
    between them than the other, it is ambiguous which ones correspond, and none is paired.

    Args:
        first: The first model.
        second: The second model.
        pairs: Names in the second model by names in the first, of the nodes paired so far.
        skip: Names in the second model of nodes that are not to be paired.
    """
    inverse = {after: before for before, after in pairs.items()}
    ours = layers(first)
    theirs = [layer for layer in layers(second) if layer.name not in skip]
    keys = (
        [_key(layer, layer.name if layer.name in pairs else None) for layer in ours],
        [_key(layer, inverse.get(layer.name)) for layer in theirs],
    )
    common = common_sequence(*keys)
    anchors = [place for place in common if ours[place[0]].name in pairs]
    ends = (-1, -1), *anchors, (len(ours), len(theirs))
    for before, after in pairwise(ends):
        inside = [
            Counter(own[place + 1 : end])
            for own, place, end in zip(keys, before, after, strict=True)
        ]
        for a, b in common:
            is_here = before[0] < a < after[0]
            if is_here and inside[0][keys[0][a]] == inside[1][keys[1][b]]:
                yield ours[a].name, theirs[b].name


def _key(layer: Layer, paired: str | None) -> Hashable:
    """Return what layers of a pair have in common: the pair, or the size of the matrix."""
    return paired or (layer.filters, layer.columns, layer.kernel, layer.group)


def common_sequence(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the places of a longest common subsequence in both sequences.

    >>> common_sequence("abcd", "xbad")
    [(1, 1), (3, 3)]
    """
    start, stop = 0, min(len(first), len(second))
    while start < stop and first[start] == second[start]:
        start += 1
    tail = 0
    while tail < stop - start and first[-1 - tail] == second[-1 - tail]:
        tail += 1
    ours, theirs = first[start : len(first) - tail], second[start : len(second) - tail]
    found = [(k, k) for k in range(start)]
    found += [(start + a, start + b) for a, b in _longest(ours, theirs)]
    return found + [(len(first) - k, len(second) - k) for k in range(tail, 0, -1)]


def _longest(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Yield the places of a longest common subsequence, by dynamic programming."""
    width = len(theirs) + 1
    lengths = [[0] * width for _ in range(len(ours) + 1)]
    for a in range(len(ours) - 1, -1, -1):
        row, below = lengths[a], lengths[a + 1]
        for b in range(width - 2, -1, -1):
            is_same = ours[a] == theirs[b]
            row[b] = below[b + 1] + 1 if is_same else max(below[b], row[b + 1])
    a = b = 0
    while a < len(ours) and b < len(theirs):
        if ours[a] == theirs[b]:
            yield a, b
            a, b = a + 1, b + 1
        elif lengths[a + 1][b] >= lengths[a][b + 1]:
            a += 1
        else:
            b += 1
