"""Reductions, pooling and resizing."""

from acgraph.analysis.labels import Axis
from acgraph.analysis.rules.base import Cut, Resize, Rule
from acgraph.analysis.site import Site


def _reduced_axes(site: Site | Cut, rank: int) -> list[int] | None:
    axes = site.node.attrs.get("axes")
    if axes is None and len(site.node.inputs) > 1 and site.node.inputs[1].name:
        value = site.value(1)
        if value is None:
            return None
        axes = value.reshape(-1).tolist()
    if not axes:
        return [] if site.node.attrs.get("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(int(a) % rank for a in axes)


def reduce(site: Site) -> None:
    """Propagate cuts of the other axes; reducing a cut axis is inexact, because zeros count."""
    _reduce(site, ignores_zeros=False, keeps_zeros=True)


def reduce_ignoring_zeros(site: Site) -> None:
    """Propagate cuts of the other axes; reducing a cut axis is exact where it is zero."""
    # A mean of zeros and other values is the scaled mean of the other values.
    _reduce(site, ignores_zeros=True, keeps_zeros=True)


def reduce_log(site: Site) -> None:
    """Propagate cuts of the other axes, which become nonzero; reducing a cut axis is inexact."""
    _reduce(site, ignores_zeros=False, keeps_zeros=False)


def _reduce(site: Site, *, ignores_zeros: bool, keeps_zeros: bool) -> None:
    reduced = _reduced_axes(site, len(site.shape(0)))
    if reduced is None:
        site.fence_all("the reduced axes are not constant")
        return
    axes: list[Axis] = []
    zero = []
    for axis in range(len(site.shape(0))):
        labels, flag = site.axis(0, axis), site.zero(0, axis)
        if axis not in reduced:
            axes.append(labels)
            zero.append(flag and keeps_zeros)
            continue
        if labels is not None and not (flag and ignores_zeros):
            site.mark_inexact(labels, "reduces over the axis", axis)
        if site.attrs.get("keepdims", 1):
            axes.append(None)
            zero.append(False)
    site.emit(axes, zero)


def rescale_mean(cut: Cut) -> None:
    """Divide the sum by the number of positions of the dense model, removed zeros included."""
    factor = 1.0
    for axis in _reduced_axes(cut, len(cut.shape_in(0))) or []:
        keep = cut.keep_in(0, axis)
        if keep is not None:
            factor *= float(keep.mean())
    if factor != 1.0:
        cut.scale_output(0, factor)


def arg_reduce(site: Site) -> None:
    """Fence the reduced axis, because the result is an index into it."""
    axis = int(site.attrs.get("axis", 0)) % len(site.shape(0))
    site.fence(site.axis(0, axis), "returns positions on the axis", axis)
    axes = [a for k, a in enumerate(site.axes(0)) if k != axis]
    if site.attrs.get("keepdims", 1):
        axes.insert(axis, None)
    site.emit(axes, [False] * len(axes))


def global_pool(site: Site) -> None:
    """Propagate cuts of batch and channels; the spatial axes are reduced."""
    for axis in range(2, len(site.shape(0))):
        site.mark_inexact(site.axis(0, axis), "reduces over the axis", axis)
    spatial = len(site.shape(0)) - 2
    site.emit(
        site.axes(0)[:2] + [None] * spatial, [site.zero(0, 0), site.zero(0, 1)] + [False] * spatial
    )


def pool(site: Site) -> None:
    """Propagate cuts of batch and channels; fence the spatial axes, on which windows slide."""
    if len(site.node.outputs) > 1 and site.node.outputs[1].name:
        site.fence_all("returns positions in the whole tensor")
        return
    for axis in range(2, len(site.shape(0))):
        site.fence(site.axis(0, axis), "pools along the axis", axis)
    spatial = len(site.shape(0)) - 2
    site.emit(
        site.axes(0)[:2] + [None] * spatial, [site.zero(0, 0), site.zero(0, 1)] + [False] * spatial
    )


def resize(site: Site) -> None:
    """Propagate cuts of axes that keep their size; fence those that are interpolated."""
    source, target = site.shape(0), site.out_shape()
    axes: list[Axis] = []
    for axis, (before, after) in enumerate(zip(source, target, strict=True)):
        labels = site.axis(0, axis)
        if before != after:
            site.fence(labels, "interpolates along the axis", axis)
            labels = None
        axes.append(labels)
    site.emit(axes, [site.zero(0, k) and axes[k] is not None for k in range(len(axes))])


def resize_resize(cut: Cut) -> None:
    """Rewrite the sizes of a Resize; the scales of axes that keep their size are 1."""
    if len(cut.node.inputs) < 4 or not cut.node.inputs[3].name:
        return
    chosen = cut.node.attrs.get("axes")
    order = [int(a) for a in chosen] if chosen else list(range(len(cut.shape_out(0))))
    sizes = {}
    for place, axis in enumerate(order):
        keep = cut.keep_out(0, axis)
        if keep is not None:
            sizes[place] = int(keep.sum())
    cut.patch_sizes(3, sizes)


def cumulate(site: Site) -> None:
    """Fence the axis of the cumulative sum."""
    axis = site.value(1)
    if axis is None:
        site.fence_all("the axis is not constant")
        return
    position = int(axis) % len(site.shape(0))
    site.fence(site.axis(0, position), "sums along the axis", position)
    axes = site.axes(0)
    axes[position] = None
    site.emit(axes, [site.zero(0, k) for k in range(len(axes))])


RULES: dict[str, Rule] = {
    "arg_reduce": arg_reduce,
    "cumulate": cumulate,
    "global_pool": global_pool,
    "pool": pool,
    "reduce": reduce,
    "reduce_ignoring_zeros": reduce_ignoring_zeros,
    "reduce_log": reduce_log,
    "resize": resize,
}
RESIZES: dict[str, Resize] = {
    "mean": rescale_mean,
    "resize": resize_resize,
}
