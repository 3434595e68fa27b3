"""Elementwise operators: positions that broadcasting aligns are cut together."""

from collections.abc import Callable, Sequence

import numpy as np

from acgraph.analysis.labels import Axis
from acgraph.analysis.rules.base import Rule
from acgraph.analysis.site import Site


def unary(site: Site) -> None:
    """Propagate a cut of any axis; cut positions stay zero in the masked model."""
    axes = site.axes(0)
    site.emit(axes, [site.zero(0, k) for k in range(len(axes))])


def unary_not_zero(site: Site) -> None:
    """Propagate a cut of any axis; cut positions become nonzero in the masked model."""
    axes = site.axes(0)
    site.emit(axes, [False] * len(axes))


def unary_pole(site: Site) -> None:
    """Propagate a cut of any axis; inexact where cut positions are zero (undefined there)."""
    axes = site.axes(0)
    for axis, labels in enumerate(axes):
        if labels is not None and site.zero(0, axis):
            site.mark_inexact(labels, "is not finite where a cut leaves zeros", axis)
    site.emit(axes, [False] * len(axes))


def clip(site: Site) -> None:
    """Propagate a cut of any axis; zeros stay zero if the bounds are known and enclose zero."""
    axes = site.axes(0)
    low, high = site.attrs.get("min"), site.attrs.get("max")
    if site.has(1):
        bound = site.value(1)
        low = float("inf") if bound is None else float(bound)
    if site.has(2):
        bound = site.value(2)
        high = float("-inf") if bound is None else float(bound)
    encloses = (low is None or low <= 0) and (high is None or high >= 0)
    site.emit(axes, [encloses and site.zero(0, k) for k in range(len(axes))])


def _is_zero(site: Site, i: int, axis: int, rank: int) -> bool:
    """Return whether input ``i`` is zero wherever output axis ``axis`` is cut."""
    shape = site.shape(i)
    own = axis - (rank - len(shape))
    if own >= 0 and shape[own] > 1:
        return site.zero(i, own)
    value = site.value(i)
    return value is not None and not value.any()


def _all_zero(site: Site, inputs: list[int], axis: int, rank: int) -> bool:
    return all(_is_zero(site, i, axis, rank) for i in inputs)


def _any_zero(site: Site, inputs: list[int], axis: int, rank: int) -> bool:
    return any(_is_zero(site, i, axis, rank) for i in inputs)


def _first_zero(site: Site, inputs: list[int], axis: int, rank: int) -> bool:
    return _is_zero(site, inputs[0], axis, rank)


def _never_zero(site: Site, inputs: list[int], axis: int, rank: int) -> bool:
    return False


_ZeroRule = Callable[[Site, list[int], int, int], bool]


def broadcast(site: Site, zero: _ZeroRule, kept: tuple[int, ...] = ()) -> None:
    """Unify the axes that broadcasting aligns; ``kept`` inputs are never zeroed."""
    inputs = [i for i in range(len(site.node.inputs)) if site.has(i)]
    for i in kept:
        if i in inputs and site.is_constant(i):
            site.keep(i)
    out = site.out_shape()
    axes: list[Axis] = []
    flags = []
    for axis, size in enumerate(out):
        if size == 1:
            axes.append(None)
            flags.append(False)
            continue
        places = []
        for i in inputs:
            own = axis - (len(out) - len(site.shape(i)))
            if own >= 0 and site.shape(i)[own] == size:
                places.append((i, own))
        labels = site.unify_inputs(places)
        if labels is not None and is_aligned_with_unknown(site, inputs, axis, len(out)):
            site.fence(labels, "couples an axis of unknown size", axis)
            labels = None
        axes.append(labels)
        flags.append(labels is not None and zero(site, inputs, axis, len(out)))
    site.emit(axes, flags)


def is_aligned_with_unknown(site: Site, inputs: Sequence[int], axis: int, rank: int) -> bool:
    """Return whether an input axis of unknown size is aligned with an axis of the output.

    Args:
        site: The node; inputs are aligned at their last axes, as in broadcasting.
        inputs: Indices of the inputs.
        axis: The axis of the output.
        rank: Rank of the output.
    """
    for i in inputs:
        own = axis - (rank - len(site.shape(i)))
        if own >= 0 and (
            site.is_assumed(i, own) or site.shape(i)[own] not in (1, site.out_shape()[axis])
        ):
            return True
    return False


def _sum(site: Site) -> None:
    """Unify the axes that broadcasting aligns; zero where all operands are cut to zero."""
    broadcast(site, _all_zero)


def _product(site: Site) -> None:
    """Unify the axes that broadcasting aligns; zero where any operand is cut to zero."""
    broadcast(site, _any_zero)


def _quotient(site: Site) -> None:
    """Unify the axes that broadcasting aligns; a constant divisor shrinks and is not zeroed."""
    broadcast(site, _first_zero, kept=(1,))
    _check_pole(site)


def _check_pole(site: Site) -> None:
    """Mark axes as inexact along which cut positions of the divisor are zero."""
    for axis, labels in enumerate(site.axes(1)):
        if labels is not None and site.zero(1, axis):
            site.mark_inexact(labels, "divides by what a cut leaves zero", axis)


def _power(site: Site) -> None:
    """Unify the axes that broadcasting aligns; inexact where the exponent may be negative."""
    value = site.value(1)
    least = float("-inf") if value is None or not value.size else float(np.min(value))
    if least > 0:
        broadcast(site, _first_zero, kept=(1,))
        return
    broadcast(site, _never_zero, kept=(1,))
    if least == 0:
        return
    for axis, labels in enumerate(site.axes(0)):
        if labels is not None and site.zero(0, axis):
            site.mark_inexact(labels, "may raise what a cut leaves zero to a negative power", axis)


def _other(site: Site) -> None:
    """Unify the axes that broadcasting aligns; constants shrink and are not zeroed."""
    broadcast(site, _never_zero, kept=tuple(range(len(site.node.inputs))))


def _where(site: Site) -> None:
    """Unify the axes of the condition and of both values."""
    broadcast(site, lambda s, _, axis, rank: _all_zero(s, [1, 2], axis, rank), kept=(0,))


def _prelu(site: Site) -> None:
    """Unify the axes with those of the slopes, which are not zeroed."""
    broadcast(site, _first_zero, kept=(1,))


RULES: dict[str, Rule] = {
    "clip": clip,
    "compare": _other,
    "power": _power,
    "prelu": _prelu,
    "product": _product,
    "quotient": _quotient,
    "sum": _sum,
    "unary": unary,
    "unary_not_zero": unary_not_zero,
    "unary_pole": unary_pole,
    "where": _where,
}
