"""Apply the bounds of a model: fence layers that must stay whole, and limit the cuts of others."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from acgraph.analysis.families import Family
from acgraph.analysis.layers import Layer, constant_source, layers
from acgraph.analysis.walk import Walk
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, LayerBound, Model


@dataclass(frozen=True, slots=True)
class _Limit:
    """The largest number of positions of an axis that may be removed, with the reason."""

    most: int
    why: Diagnostic


def fence_whole_layers(walk: Walk) -> None:
    """Fence every coupled set that contains positions of a layer that must stay whole."""
    for node in walk.model.graph.nodes:
        bound = walk.model.bounds.get(node.name)
        if bound is None or not bound.is_whole:
            continue
        why = Diagnostic(message=bound.reason, location=walk.model.location(node))
        walk.fences.append(why)
        for i in bound.axes:
            if i >= len(node.inputs):
                continue  # the bias moved into an inserted BatchNormalization
            source = constant_source(node.inputs[i])
            for name in {node.inputs[i].name, source.name if source is not None else ""}:
                for axis in walk.labels_of(name):
                    walk.labels.fence(axis, why)


def limit_families(model: Model, families: Sequence[Family]) -> list[Family]:
    """Set the least number of kept sets of each family; fence families that must stay whole."""
    limits = _axis_limits(model)
    if not limits:
        return list(families)
    free = [family for family in families if family.is_prunable]
    return [_limited(family, free, limits) if family in free else family for family in families]


def weight_bounds(model: Model, found: Iterable[Layer]) -> dict[str, LayerBound]:
    """Return the strictest bound of the layers that share a weight, by the name of the weight."""
    bounds: dict[str, LayerBound] = {}
    for layer in found:
        bound = model.bounds.get(layer.name)
        other = bounds.get(layer.weight)
        if bound is not None and (other is None or _strictness(bound) > _strictness(other)):
            bounds[layer.weight] = bound
    return bounds


def _strictness(bound: LayerBound) -> tuple[bool, int]:
    return bound.is_whole, bound.columns


def _axis_limits(model: Model) -> dict[tuple[str, int], _Limit]:
    """Return the limits by constant and axis; the strictest of several bounds counts."""
    limits: dict[tuple[str, int], _Limit] = {}
    found = {layer.name: layer for layer in layers(model)} if model.bounds else {}
    constants = model.constants()
    for node in model.graph.nodes:
        bound = model.bounds.get(node.name)
        if bound is None or bound.is_whole:
            continue
        why = Diagnostic(message=bound.reason, location=model.location(node))
        for i, least in bound.axes.items():
            source = constant_source(node.inputs[i]) if i < len(node.inputs) else None
            if source is None or len(source.shape) != len(least):
                continue
            for axis, (size, count) in enumerate(zip(source.shape, least, strict=True)):
                _tighten(limits, (source.name, axis), _Limit(max(size - count, 0), why))
        layer = found.get(node.name)
        if layer is not None:
            most = _max_channels(layer, constants[layer.weight], bound.columns)
            _tighten(limits, (layer.weight, layer.channel_axis), _Limit(most, why))
    return limits


def _tighten(limits: dict[tuple[str, int], _Limit], place: tuple[str, int], limit: _Limit) -> None:
    other = limits.get(place)
    if other is None or limit.most < other.most:
        limits[place] = limit


def _max_channels(layer: Layer, weight: Array, least: int) -> int:
    """Return how many input channels may be removed so that ``least`` non-zero columns stay."""
    if layer.kernel:
        reduced: tuple[int, ...] = (layer.filter_axis,)
    else:
        reduced = tuple(axis for axis in range(weight.ndim) if axis != layer.channel_axis)
    alive = int((weight != 0).any(axis=reduced).sum())
    return max(alive - least, 0) // max(prod(layer.kernel), 1)


def _limited(
    family: Family, free: Sequence[Family], limits: Mapping[tuple[str, int], _Limit]
) -> Family:
    """Distribute the limit of every axis over the families that cut it, in proportion."""
    least, reason = 1, None
    for place, limit in limits.items():
        counts = _positions(family, place)
        if not counts.any():
            continue
        others = sum(
            int(_positions(other, place).sum())
            for other in free
            if other.name not in family.rivals  # a plan cuts only one of two rivals
        )
        allowed = limit.most * int(counts.sum()) // others
        removable = int(np.searchsorted(np.cumsum(np.sort(counts)[::-1]), allowed, side="right"))
        if family.size - removable > least:
            least, reason = family.size - removable, limit.why
    if reason is not None and least >= family.size:
        return replace(family, fences=(reason,))
    return replace(family, min_keep=least)


def _positions(family: Family, place: tuple[str, int]) -> "np.typing.NDArray[np.int64]":
    """Count the positions of an axis that belong to each coupled set: ``int64 [size]``."""
    counts = np.zeros(family.size, np.int64)
    for own in _members(family, place):
        counts += np.bincount(own[own >= 0], minlength=family.size)
    return counts


def _members(family: Family, place: tuple[str, int]) -> Iterator["np.typing.NDArray[np.int64]"]:
    return (m.sets for m in family.members if (m.tensor, m.axis) == place)
