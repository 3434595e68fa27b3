"""Labels of axis positions: union-find, extended to axes that are split into grids.

Every position of a prunable axis has one or more labels, and is removed if any of them is. Usually
it has one. An axis that a Reshape splits into rows and columns has two per position, because
removing a row or a column leaves a rectangle. The analysis solves equations ``p = r or c`` between
labels. Their solutions are closed under union, so any set of labels can be removed together.

An axis is ``None`` where nothing can be removed from it, else ``int64 [size, k]`` with k labels per
position. Label 0 is never removed.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from acgraph.diagnostics import Diagnostic

Ints = npt.NDArray[np.int64]
Axis = Ints | None

#: Largest number of reasons that are stored for a label.
MAX_REASONS = 4


class Labels:
    """All labels of one graph."""

    def __init__(self) -> None:
        self._parent: Ints = np.zeros(1024, np.int64)
        self._defined = np.zeros(1024, bool)
        self._count = 1
        self._parts: dict[int, tuple[int, ...]] = {}
        self.fences: dict[int, list[Diagnostic]] = {}
        self.inexact: dict[int, list[Diagnostic]] = {}
        self.frozen: dict[int, list[Diagnostic]] = {}

    def fresh(self, size: int) -> Ints:
        """Create new labels, one per position: ``int64 [size, 1]``."""
        start, self._count = self._count, self._count + size
        while self._count > len(self._parent):
            self._parent = np.concatenate([self._parent, np.zeros_like(self._parent)])
            self._defined = np.concatenate([self._defined, np.zeros_like(self._defined)])
        new = np.arange(start, self._count, dtype=np.int64)
        self._parent[start : self._count] = new
        return new[:, None]

    def find(self, labels: Ints) -> Ints:
        """Return the roots of the classes of labels."""
        roots = self._parent[labels]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                break
            roots = above
        self._parent[labels] = roots
        return roots

    def resolve(self, axis: Ints) -> Ints:
        """Return the roots of labels, with labels of split axes replaced by those of the grid."""
        roots = self.find(axis)
        if self._parts:
            while self._defined[roots].any():
                roots = self._expand(roots)
        return _drop_repeats(roots)

    def _expand(self, roots: Ints) -> Ints:
        distinct, inverse = np.unique(roots, return_inverse=True)
        parts = [self._parts.get(label, (label,)) for label in distinct.tolist()]
        width = max(map(len, parts))
        table = np.array([row + (0,) * (width - len(row)) for row in parts], np.int64)
        return self.find(table)[inverse.reshape(-1)].reshape(len(roots), -1)

    def _root(self, label: int) -> int:
        parent = self._parent
        root = label
        while (above := int(parent[root])) != root:
            root = above
        while label != root:
            label, parent[label] = int(parent[label]), root
        return root

    def _union(self, first: int, second: int) -> None:
        a, b = self._root(first), self._root(second)
        if a == b:
            return
        low, high = min(a, b), max(a, b)
        self._parent[high] = low
        for notes in (self.fences, self.inexact, self.frozen):
            moved = notes.pop(high, None)
            if moved is not None:
                _extend(notes.setdefault(low, []), moved)

    def _define(self, axis: Ints, parts: Ints) -> None:
        """Define ``axis[i, 0] = any(parts[i])``; the labels of ``axis`` are distinct roots."""
        for label, row in zip(axis[:, 0].tolist(), parts.tolist(), strict=True):
            chosen = tuple(part for part in dict.fromkeys(row) if part)
            self._parts[label] = chosen
            self._defined[label] = True
            for notes in (self.fences, self.inexact, self.frozen):
                moved = notes.pop(label, None)
                for part in chosen if moved else ():
                    _extend(notes.setdefault(part, []), moved or [])

    def fence(self, axis: Axis, why: Diagnostic) -> None:
        """Forbid the removal of every position of an axis."""
        self._note(self.fences, axis, why)

    def mark_inexact(self, axis: Axis, why: Diagnostic) -> None:
        """Mark an axis whose removed positions make the shrunk model differ from the masked one."""
        self._note(self.inexact, axis, why)

    def freeze(self, axis: Axis, why: Diagnostic) -> None:
        """Mark an axis of which a tensor computed from constants needs all positions."""
        self._note(self.frozen, axis, why)

    def fence_frozen(self) -> None:
        """Fence the labels that are still frozen."""
        for label, reasons in self.frozen.items():
            _extend(self.fences.setdefault(label, []), reasons)

    def is_frozen(self, axis: Ints) -> bool:
        """Return whether a position of an axis is frozen."""
        return any(label in self.frozen for label in np.unique(self.resolve(axis)).tolist())

    def _note(self, notes: dict[int, list[Diagnostic]], axis: Axis, why: Diagnostic) -> None:
        if axis is None:
            return
        for label in np.unique(self.resolve(axis)).tolist():
            if label:
                _extend(notes.setdefault(label, []), [why])

    def unify(self, first: Axis, second: Axis, why: Diagnostic) -> Axis:
        """Couple two axes position by position; return the common axis.

        Labels that cannot be coupled exactly are fenced with ``why``.
        """
        if first is None or second is None:
            self.fence(first, why)
            self.fence(second, why)
            return None
        a, b = self.resolve(first), self.resolve(second)
        if a.shape == b.shape and np.array_equal(a, b):
            return a
        if a.shape[1] == 1 and b.shape[1] == 1:
            self._join(a[:, 0], b[:, 0], why)
        elif a.shape[1] == 1 and self._is_free(a, b):
            self._define(a, b)
        elif b.shape[1] == 1 and self._is_free(b, a):
            self._define(b, a)
        else:
            self._match(a, b, why)
        return self.resolve(a)

    def _is_free(self, axis: Ints, other: Ints) -> bool:
        column = axis[:, 0]
        distinct = len(np.unique(column)) == len(column) and bool(column.all())
        return distinct and not np.isin(column, other).any()

    def _join(self, a: Ints, b: Ints, why: Diagnostic) -> None:
        changed = a != b
        for x, y in set(zip(a[changed].tolist(), b[changed].tolist(), strict=True)):
            if x and y:
                self._union(x, y)
            else:
                self.fence(np.array([[x or y]]), why)

    def _match(self, a: Ints, b: Ints, why: Diagnostic) -> None:
        """Join the label columns that partition the positions equally; fence the others."""
        waiting = {_pattern(b[:, j]): j for j in range(b.shape[1])}
        matched = set()
        for i in range(a.shape[1]):
            j = waiting.pop(_pattern(a[:, i]), None)
            if j is None:
                self.fence(a[:, i : i + 1], why)
            else:
                matched.add(j)
                self._join(a[:, i], b[:, j], why)
        for j in set(range(b.shape[1])) - matched:
            self.fence(b[:, j : j + 1], why)

    def split(self, axis: Axis, sizes: Sequence[int], why: Diagnostic) -> list[Axis]:
        """Split an axis into a grid of axes, outermost first; ``prod(sizes)`` is its size."""
        if axis is None:
            return [None] * len(sizes)
        found: list[list[Ints]] = [[] for _ in sizes]
        resolved = self.resolve(axis)
        for j in range(resolved.shape[1]):
            for place, labels in self._split_column(resolved[:, j].reshape(sizes), why):
                found[place].append(labels)
        return [np.stack(columns, axis=1) if columns else None for columns in found]

    def _split_column(self, grid: Ints, why: Diagnostic) -> list[tuple[int, Ints]]:
        varying = [d for d in range(grid.ndim) if not (grid == np.take(grid, [0], axis=d)).all()]
        if not varying:
            self.fence(grid.reshape(-1, 1)[:1], why)  # one label for the whole axis
            return []
        flat = grid[tuple(slice(None) if d in varying else 0 for d in range(grid.ndim))]
        if len(varying) == 1:
            return [(varying[0], flat)]
        distinct = len(np.unique(flat)) == flat.size and bool(flat.all())
        if distinct:
            made = [self.fresh(size)[:, 0] for size in flat.shape]
            parts = np.stack([g.reshape(-1) for g in np.meshgrid(*made, indexing="ij")], axis=1)
            self._define(flat.reshape(-1, 1), parts)
            return list(zip(varying, made, strict=True))
        best = max(range(flat.ndim), key=lambda d: _classes_when_kept(flat, d))
        lines = np.moveaxis(flat, best, 0).reshape(flat.shape[best], -1)
        for other in range(1, lines.shape[1]):
            self._join(lines[:, 0], lines[:, other], why)
        return [(varying[best], self.find(lines[:, 0].copy()))]


def merge(axes: Sequence[Axis], sizes: Sequence[int]) -> Axis:
    """Merge a grid of axes into one, outermost first: the inverse of a split."""
    columns = []
    for place, axis in enumerate(axes):
        if axis is None:
            continue
        shape = [1] * len(sizes)
        shape[place] = sizes[place]
        for j in range(axis.shape[1]):
            grid = np.broadcast_to(axis[:, j].reshape(shape), sizes)
            columns.append(grid.reshape(-1))
    return np.stack(columns, axis=1) if columns else None


def concat(axes: Sequence[Axis], sizes: Sequence[int]) -> Axis:
    """Concatenate axes; positions of a ``None`` axis get label 0."""
    if all(axis is None for axis in axes):
        return None
    width = max(axis.shape[1] for axis in axes if axis is not None)
    blocks = []
    for axis, size in zip(axes, sizes, strict=True):
        block = np.zeros((size, width), np.int64)
        if axis is not None:
            block[:, : axis.shape[1]] = axis
        blocks.append(block)
    return np.concatenate(blocks)


def _drop_repeats(axis: Ints) -> Ints:
    if axis.shape[1] == 1:
        return axis
    kept: list[Ints] = []
    for j in range(axis.shape[1]):
        column = axis[:, j]
        if column.any() and not any(np.array_equal(column, other) for other in kept):
            kept.append(column)
    return np.stack(kept, axis=1) if kept else axis[:, :1]


def _pattern(column: Ints) -> bytes:
    """Return a key that is equal for columns with the same partition of positions."""
    _, first, inverse = np.unique(column, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return bytes(order[inverse].astype(np.int64).tobytes())


def _classes_when_kept(grid: Ints, kept: int) -> int:
    """Count the classes on one axis of a grid after all positions of the others are merged."""
    lines = np.moveaxis(grid, kept, 0).reshape(grid.shape[kept], -1)
    leader = {label: label for label in np.unique(lines).tolist()}

    def find(label: int) -> int:
        while leader[label] != label:
            leader[label] = leader[leader[label]]
            label = leader[label]
        return label

    for line in lines.tolist():
        for label in line[1:]:
            a, b = find(line[0]), find(label)
            leader[max(a, b)] = min(a, b)
    return len({find(label) for label in leader} - {0})


def _extend(reasons: list[Diagnostic], more: Sequence[Diagnostic]) -> None:
    for reason in more:
        if len(reasons) < MAX_REASONS and reason not in reasons:
            reasons.append(reason)
