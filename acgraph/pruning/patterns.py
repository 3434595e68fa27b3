"""Patterns of columns, for each of which there is a compact form with little overhead.

================  ======================================================  =======================
pattern           which columns may be kept                               becomes
================  ======================================================  =======================
``free``          any                                                     gather
``balanced``      equally many channels at every kernel position          gather
``contiguous``    at each kernel position one range of channels           gather without Gather
``kernel``        all channels at some kernel positions                   crop, or a few shifts
``box``           some channels at a lattice of kernel positions          crop: one small Conv
================  ======================================================  =======================

Every projection is exact: no allowed choice of at most ``keep`` columns has a larger norm.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from acgraph.pruning.importance import FloatArray, column_norms
from acgraph.pruning.ranking import BoolArray, top_mask

Pattern = Literal["free", "balanced", "kernel", "contiguous", "box"]
PATTERNS: tuple[str, ...] = get_args(Pattern)


def project_columns(
    weight: npt.NDArray[Any], keep: int, pattern: str = "free", multiple: int = 1
) -> BoolArray:
    """Choose the columns of largest norm that a pattern allows.

    Args:
        weight: ``[O, I/group, *kernel]``; not changed.
        keep: Largest number of columns to keep. If it is less than the pattern's smallest choice
            and not 0, the smallest choice is kept.
        pattern: One of ``PATTERNS``.
        multiple: Keep a multiple of this many channels (``free``: of columns), or all of them;
            a vector width. ``kernel`` keeps all channels anyway.

    Returns:
        Keep-flags ``[I/group, *kernel]``. Of equal norms, the lowest index is kept.

    Raises:
        ValueError: A count is out of range, or there is no such pattern.

    >>> weight = np.array([[[1.0, 5.0, 2.0], [4.0, 1.0, 3.0]]])
    >>> project_columns(weight, 3).astype(int).tolist()
    [[0, 1, 0], [1, 0, 1]]
    >>> project_columns(weight, 3, "balanced").astype(int).tolist()
    [[0, 1, 0], [1, 0, 1]]
    >>> project_columns(weight, 2, "kernel").astype(int).tolist()
    [[0, 1, 0], [0, 1, 0]]
    """
    return project_norms(column_norms(weight), keep, pattern, multiple)


def project_norms(
    norms: FloatArray, keep: int, pattern: str = "free", multiple: int = 1
) -> BoolArray:
    """Choose the columns as ``project_columns`` does, by norms ``[I/group, *kernel]`` of any kind.

    Raises:
        ValueError: A count is out of range, or there is no such pattern.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"no pattern '{pattern}', only {', '.join(PATTERNS)}")
    if multiple < 1:
        raise ValueError(f"cannot round to multiples of {multiple}")
    if not 0 <= keep <= norms.size:
        raise ValueError(f"cannot keep {keep} of {norms.size} columns")
    if not np.isfinite(norms).all():
        raise ValueError("cannot rank columns that are not finite")
    if keep == 0:
        return np.zeros(norms.shape, np.bool_)
    return _PROJECTIONS[pattern](norms, keep, multiple)


def keep_at_least(
    choose: Callable[[int], BoolArray], keep: int, least: int, size: int
) -> BoolArray:
    """Choose at least a minimum of columns, although patterns round their number down.

    Args:
        choose: Returns keep-flags of at most the given number of columns.
        keep: Requested number of columns to keep.
        least: Smallest number of columns to keep.
        size: Number of columns; all are kept if no smaller choice is large enough.
    """
    mask = choose(keep)
    while (missing := least - int(mask.sum())) > 0 and keep < size:
        keep = min(keep + missing, size)
        mask = choose(keep)
    return mask


def pattern_step(alive: BoolArray, pattern: str, multiple: int = 1) -> int:
    """Return the smallest number of columns that a pattern keeps or removes together.

    Args:
        alive: Columns that are not zero yet, ``[I/group, *kernel]``.
        pattern: One of ``PATTERNS``.
        multiple: Its granularity.

    >>> pattern_step(np.ones((8, 3, 3), np.bool_), "kernel")
    8
    """
    if pattern == "kernel":
        return max(1, int(alive.reshape(len(alive), -1).any(axis=1).sum()))
    positions = int(alive.any(axis=0).sum()) if pattern == "balanced" else 1
    return max(1, positions) * multiple


def allowed_counts(size: int, multiple: int) -> list[int]:
    """Return the positive counts up to ``size`` that are multiples, and ``size`` itself.

    >>> allowed_counts(10, 4)
    [4, 8, 10]
    """
    counts = list(range(multiple, size + 1, multiple))
    return counts if counts and counts[-1] == size else [*counts, size]


def _round(count: int, size: int, multiple: int) -> int:
    """Return the largest allowed count up to ``count``, or else the smallest one."""
    counts = allowed_counts(size, multiple)
    return max((allowed for allowed in counts if allowed <= count), default=counts[0])


def _free(norms: FloatArray, keep: int, multiple: int) -> BoolArray:
    return top_mask(norms, _round(keep, norms.size, multiple))


def _balanced(norms: FloatArray, keep: int, multiple: int) -> BoolArray:
    channels = norms.shape[0]
    flat = norms.reshape(channels, -1)
    count = _round(keep // flat.shape[1], channels, multiple)
    mask = np.stack([top_mask(column, count) for column in flat.T], axis=1)
    return mask.reshape(norms.shape)


def _kernel(norms: FloatArray, keep: int, multiple: int) -> BoolArray:
    channels = norms.shape[0]
    totals = np.sqrt((norms**2).sum(axis=0))
    positions = top_mask(totals, max(1, keep // channels))
    return np.broadcast_to(positions, norms.shape).copy()


def _box(norms: FloatArray, keep: int, multiple: int) -> BoolArray:
    channels = norms.shape[0]
    powers = norms**2
    smallest = allowed_counts(channels, multiple)[0]
    best, mask = -1.0, np.zeros(norms.shape, np.bool_)
    for box in lattices(norms.shape[1:]):
        volume = math.prod(len(axis) for axis in box)
        if volume > 1 and volume * smallest > keep:
            continue
        axes = [np.array(axis) for axis in box]
        totals = powers[np.ix_(np.arange(channels), *axes)].reshape(channels, -1).sum(axis=1)
        chosen = top_mask(np.sqrt(totals), _round(keep // volume, channels, multiple))
        total = float(totals[chosen].sum())
        if total > best:
            best, mask = total, np.zeros(norms.shape, np.bool_)
            mask[np.ix_(np.flatnonzero(chosen), *axes)] = True
    return mask


def lattices(kernel: tuple[int, ...]) -> Iterator[tuple[range, ...]]:
    """Yield all evenly spaced sets of kernel positions, one range per axis, small ones first."""
    axes = []
    for size in kernel:
        ranges = [range(first, first + 1) for first in range(size)]
        for count in range(2, size + 1):
            for gap in range(1, (size - 1) // (count - 1) + 1):
                last = (count - 1) * gap
                ranges += [range(f, f + last + 1, gap) for f in range(size - last)]
        axes.append(ranges)
    return itertools.product(*axes)


def _contiguous(norms: FloatArray, keep: int, multiple: int) -> BoolArray:
    """Distribute the columns over the kernel positions by dynamic programming.

    With ``gain(p, n)`` the largest power of ``n`` neighbouring channels at position ``p``, the
    best total of positions ``0..p`` within ``b`` columns is
    ``best(p, b) = max over n of best(p - 1, b - n) + gain(p, n)``.
    """
    channels = norms.shape[0]
    flat = (norms**2).reshape(channels, -1)
    counts = allowed_counts(channels, multiple)
    unit = math.gcd(*counts)
    budget = max(keep, counts[0]) // unit
    best = np.zeros(budget + 1)
    choices, starts = [], []
    for powers in flat.T:
        sums = np.concatenate([[0.0], np.cumsum(powers)])
        choice = np.zeros(budget + 1, np.int64)
        total = best.copy()
        start_of = {0: 0}
        for count in counts:
            windows = sums[count:] - sums[:-count]
            start_of[count] = int(windows.argmax())
            used = count // unit
            if used > budget:
                break
            offer = best[: budget + 1 - used] + windows[start_of[count]]
            better = offer > total[used:]
            total[used:][better] = offer[better]
            choice[used:][better] = count
        best = total
        choices.append(choice)
        starts.append(start_of)
    mask = np.zeros(flat.shape, np.bool_)
    for position in reversed(range(flat.shape[1])):
        count = int(choices[position][budget])
        start = starts[position][count]
        mask[start : start + count, position] = True
        budget -= count // unit
    return mask.reshape(norms.shape)


_PROJECTIONS: dict[str, Callable[[FloatArray, int, int], BoolArray]] = {
    "free": _free,
    "balanced": _balanced,
    "kernel": _kernel,
    "contiguous": _contiguous,
    "box": _box,
}
