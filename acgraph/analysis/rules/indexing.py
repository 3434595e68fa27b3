"""Operators that gather or scatter elements by index."""

from collections.abc import Sequence

import numpy as np

from acgraph.analysis.labels import Axis
from acgraph.analysis.rules.base import Cut, Resize, Rule
from acgraph.analysis.site import Site
from acgraph.ir import Array


def _along(site: Site | Cut, rank: int) -> int:
    return int(site.node.attrs.get("axis", 0)) % rank


def gather(site: Site) -> None:
    """Select the labels at constant indices."""
    _take(site, _along(site, len(site.shape(0))), site.value(1), site.shape(1))


def _take(site: Site, along: int, index: Array | None, shape: Sequence[int]) -> None:
    axes, zero = site.axes(0), site.zeros(0)
    labels = axes[along]
    middle: list[Axis] = [None] * len(shape)
    if labels is not None and index is None:
        site.fence(labels, "gathers at indices that are not constant", along)
    elif labels is not None and index is not None:
        taken = labels[index.astype(np.int64).reshape(-1)]
        if len(shape) == 1:
            middle = [taken]
        elif not shape:
            site.fence(taken, "gathers a single position", along)
        else:
            why = site.why("gathers in an order that is no grid", along)
            middle = site.labels.split(taken, shape, why)
    flags = [zero[along]] * len(shape)
    site.emit(axes[:along] + middle + axes[along + 1 :], zero[:along] + flags + zero[along + 1 :])


def resize_gather(cut: Cut) -> None:
    """Renumber the indices, and drop those of removed positions."""
    index = cut.value(1)
    if index is not None:
        along = _along(cut, len(cut.shape_in(0)))
        _renumber(cut, along, index, index.shape)


def _renumber(cut: Cut, along: int, index: Array, shape: Sequence[int]) -> None:
    keep = cut.keep_in(0, along)
    outs = [cut.keep_out(0, along + place) for place in range(len(shape))]
    if keep is None and all(out is None for out in outs):
        return
    size = cut.shape_in(0)[along]
    place = index.reshape(shape).astype(np.int64) % size
    if keep is not None:
        place = (np.cumsum(keep) - 1)[place]
    for axis, out in enumerate(outs):
        if out is not None:
            place = np.compress(out, place, axis=axis)
    end = (1,) if index.ndim > len(shape) else ()
    cut.set_input(1, place.reshape(*place.shape, *end).astype(index.dtype))


def gather_nd(site: Site) -> None:
    """Select along axis 0 as Gather does; if indices address several axes, fence these."""
    batch = int(site.attrs.get("batch_dims", 0))
    spanned = site.shape(1)[-1]
    if batch == 0 and spanned == 1:
        index = site.value(1)
        _take(site, 0, None if index is None else index[..., 0], site.shape(1)[:-1])
        return
    for axis in range(batch + spanned):
        site.fence(site.axis(0, axis), "gathers by index along the axis", axis)
    rank = len(site.out_shape())
    passed = list(range(batch + spanned, len(site.shape(0))))
    fresh: list[Axis] = [None] * (rank - len(passed))
    flags = [site.zero(0, axis) for axis in passed]
    site.emit(fresh + [site.axis(0, axis) for axis in passed], [False] * len(fresh) + flags)


def resize_gather_nd(cut: Cut) -> None:
    """Renumber indices along axis 0."""
    index = cut.value(1)
    if index is not None and index.shape[-1] == 1 and not cut.node.attrs.get("batch_dims", 0):
        _renumber(cut, 0, index, index.shape[:-1])


def gather_elements(site: Site) -> None:
    """Fence the indexed axis; a cut of another axis also shrinks the indices."""
    along = _along(site, len(site.shape(0)))
    site.keep(1)
    axes, zero = _follow(site, along, [0, 1])
    site.emit(axes, [flag and axis != along for axis, flag in enumerate(zero)])


def scatter_elements(site: Site) -> None:
    """Fence the indexed axis; a cut of another axis also shrinks indices and updates."""
    along = _along(site, len(site.shape(0)))
    site.keep(1)
    axes, zero = _follow(site, along, [0, 1, 2])
    site.emit(axes, [flag and site.zero(2, axis) for axis, flag in enumerate(zero)])


def _follow(site: Site, along: int, inputs: list[int]) -> tuple[list[Axis], list[bool]]:
    axes: list[Axis] = []
    for axis, size in enumerate(site.shape(0)):
        places = [(i, axis) for i in inputs]
        if axis == along or any(site.shape(i)[axis] != size for i in inputs):
            for i in inputs:
                site.stop(i, axis, "is indexed along the axis")
            axes.append(None)
        else:
            axes.append(site.unify_inputs(places))
    return axes, site.zeros(0)


def scatter_nd(site: Site) -> None:
    """Fence the indexed axes; couple the other axes of data and updates."""
    spanned, loose = site.shape(1)[-1], len(site.shape(1)) - 1
    for axis in range(spanned):
        site.stop(0, axis, "scatters by index along the axis")
    for axis in range(loose):
        site.stop(2, axis, "scatters by index along the axis")
    axes: list[Axis] = [None] * spanned
    zero = [False] * spanned
    for axis in range(spanned, len(site.shape(0))):
        other = loose + axis - spanned
        axes.append(site.unify_inputs([(0, axis), (2, other)]))
        zero.append(site.zero(0, axis) and site.zero(2, other))
    site.emit(axes, zero)


def top_k(site: Site) -> None:
    """Fence the axis along which values are ranked."""
    along = int(site.attrs.get("axis", -1)) % len(site.shape(0))
    site.fence(site.axis(0, along), "takes the largest along the axis", along)
    axes: list[Axis] = [None if k == along else a for k, a in enumerate(site.axes(0))]
    site.emit(axes, [k != along and flag for k, flag in enumerate(site.zeros(0))])
    if site.has_out(1):
        site.emit(axes, [False] * len(axes), 1)


def trilu(site: Site) -> None:
    """Fence the two axes of the matrix."""
    rank = len(site.shape(0))
    axes = site.axes(0)
    for axis in (rank - 2, rank - 1):
        site.fence(axes[axis], "cuts a triangle along the axis", axis)
        axes[axis] = None
    site.emit(axes, site.zeros(0))


def sample(site: Site) -> None:
    """Propagate a cut of the channels; fence the other axes, along which it samples."""
    for i in range(len(site.node.inputs)):
        if not site.has(i):
            continue
        for axis in range(len(site.shape(i))):
            if (i, axis) != (0, 1):
                site.stop(i, axis, "samples positions along the axis")
    rank = len(site.out_shape())
    flags = [k == 1 and site.zero(0, 1) for k in range(rank)]
    site.emit([None, site.axis(0, 1)] + [None] * (rank - 2), flags)


RULES: dict[str, Rule] = {
    "gather": gather,
    "gather_elements": gather_elements,
    "gather_nd": gather_nd,
    "sample": sample,
    "scatter_elements": scatter_elements,
    "scatter_nd": scatter_nd,
    "top_k": top_k,
    "trilu": trilu,
}
RESIZES: dict[str, Resize] = {
    "gather": resize_gather,
    "gather_nd": resize_gather_nd,
}
