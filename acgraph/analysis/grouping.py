"""Group labels into families: coupled sets on the same axes form one family.

Every plan keeps at least one coupled set of a family, and cuts only one of two rivals. The grouping
guarantees that no such plan empties an axis of any tensor:

- Labels are grouped by the set of distinct axes (of all tensors) that they occur on, so that each
  of these axes contains the whole group.
- Small groups are joined, so that a share of them can be removed, where the guarantee still holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from acgraph.analysis.families import Family, Member
from acgraph.analysis.labels import Ints
from acgraph.analysis.walk import Walk
from acgraph.diagnostics import Diagnostic

Axes = Mapping[str, Mapping[int, Ints]]
#: A constant and its axis.
Place = tuple[str, int]

#: Smaller families are joined with others on the same axis.
SMALL_FAMILY = 4


def group_families(walk: Walk, axes: Axes) -> tuple[list[Family], dict[str, Ints]]:
    """Return the families of a model, and the labels of their coupled sets by family name."""
    places = _places(walk, axes)
    distinct = _distinct(axes)
    base = _base_groups(walk, places, distinct)
    groups = _split_unsafe(_join(walk, base, places), base, distinct, set(walk.labels.fences))
    producers = _producers(walk)
    families = []
    labels_of: dict[str, Ints] = {}
    for group in sorted(groups, key=min):
        family = _family(walk, sorted(group), places, axes, producers, set(labels_of))
        families.append(family)
        labels_of[family.name] = np.array(sorted(group), np.int64)
    return _with_rivals(families, labels_of, distinct), labels_of


def _places(walk: Walk, axes: Axes) -> dict[int, list[Place]]:
    """Return the axes of stored constants that each label occurs on."""
    places: dict[int, list[Place]] = defaultdict(list)
    for use in walk.uses.values():
        for axis, labels in axes.get(use.name, {}).items() if use.stored else ():
            for label in np.unique(labels).tolist():
                places[label].append((use.name, axis))
    for label in (0, *walk.hidden):
        places.pop(label, None)
    return places


def _distinct(axes: Axes) -> list[Ints]:
    """Return every distinct axis once."""
    found: dict[tuple[tuple[int, ...], bytes], Ints] = {}
    for own in axes.values():
        for labels in own.values():
            found.setdefault((labels.shape, labels.tobytes()), labels)
    return list(found.values())


def _base_groups(
    walk: Walk, places: Mapping[int, list[Place]], distinct: list[Ints]
) -> list[list[int]]:
    where: dict[int, list[tuple[int, int]]] = {label: [] for label in places}
    for number, labels in enumerate(distinct):
        for j in range(labels.shape[1]):
            for label in np.unique(labels[:, j]).tolist():
                if label in where:
                    where[label].append((number, j))
    groups: dict[object, list[int]] = defaultdict(list)
    for label, found in where.items():
        groups[(_state(walk, label), tuple(found))].append(label)
    return list(groups.values())


def _state(walk: Walk, label: int) -> tuple[bool, bool]:
    return label in walk.labels.fences, label in walk.labels.inexact


def _join(
    walk: Walk, base: list[list[int]], places: Mapping[int, list[Place]]
) -> list[list[list[int]]]:
    """Join groups of the same state on the same constants, or small ones of the same filters."""
    alike: dict[object, list[list[int]]] = defaultdict(list)
    for group in base:
        alike[(_state(walk, group[0]), tuple(places[group[0]]))].append(group)
    joined, small = [], defaultdict(list)
    for groups in alike.values():
        where = places[groups[0][0]]
        first = next((p for p in where if walk.uses[p[0]].roles[p[1]] == "filter"), None)
        if sum(map(len, groups)) >= SMALL_FAMILY or first is None:
            joined.append(groups)
        else:
            small[(_state(walk, groups[0][0]), first)].extend(groups)
    return joined + list(small.values())


def _split_unsafe(
    joined: list[list[list[int]]], base: list[list[int]], distinct: list[Ints], fenced: set[int]
) -> list[list[int]]:
    """Undo the joins that could leave an axis empty, until there is none."""
    top = max((label for group in base for label in group), default=0)
    top = max(top, *(int(labels.max()) for labels in distinct), 0) if distinct else top
    while True:
        home = np.full(top + 1, -1, np.int64)
        sizes = np.array([sum(map(len, parts)) for parts in joined], np.int64)
        for number, parts in enumerate(joined):
            free = [x for group in parts for x in group if x not in fenced]
            home[free] = number
        unsafe: set[int] = set()
        for labels in distinct:
            unsafe.update(_unsafe_families(home[labels], labels, sizes))
        unsafe = {number for number in unsafe if len(joined[number]) > 1}
        if not unsafe:
            return [[x for group in parts for x in group] for parts in joined]
        kept = [parts for number, parts in enumerate(joined) if number not in unsafe]
        joined = kept + [[group] for number in sorted(unsafe) for group in joined[number]]


def _unsafe_families(families: Ints, labels: Ints, sizes: Ints) -> Iterable[int]:
    """Return the families that could be cut so that an axis becomes empty."""
    if (families < 0).all(axis=1).any():
        return []  # a position that is never cut
    found = np.unique(families[families >= 0])
    if labels.shape[1] > 1:
        return map(int, found)  # a grid: the kept rows and columns must intersect
    counts = {int(k): len(np.unique(labels[families == k])) for k in found}
    partial = [k for k, count in counts.items() if count < sizes[k]]
    return partial if len(partial) == len(counts) else []  # else one keeps a position


def _producers(walk: Walk) -> dict[str, str]:
    """Return the first consumer of each tensor."""
    found: dict[str, str] = {}
    for node in walk.model.graph.nodes:
        for tensor in node.inputs:
            found.setdefault(tensor.name, node.name)
    return found


def _family(
    walk: Walk,
    labels: list[int],
    places: Mapping[int, list[Place]],
    axes: Axes,
    producers: Mapping[str, str],
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
    """Replace labels by their index in ``own`` (sorted), others by -1."""
    place = np.searchsorted(own, column).clip(max=len(own) - 1)
    return np.where(own[place] == column, place, -1)


def _reasons(notes: Mapping[int, list[Diagnostic]], labels: list[int]) -> tuple[Diagnostic, ...]:
    return tuple(dict.fromkeys(reason for label in labels for reason in notes.get(label, ())))


def _with_rivals(
    families: list[Family], labels_of: Mapping[str, Ints], distinct: list[Ints]
) -> list[Family]:
    """Set as rivals the families that share a position of an axis."""
    home = {int(x): name for name, labels in labels_of.items() for x in labels}
    rivals: dict[str, set[str]] = defaultdict(set)
    for labels in distinct:
        if labels.shape[1] < 2:
            continue
        for row in {tuple(row) for row in labels.tolist()}:
            names = {home[label] for label in row if label in home}
            for one in names:
                rivals[one] |= names - {one}
    return [replace(f, rivals=tuple(sorted(rivals[f.name]))) for f in families]
