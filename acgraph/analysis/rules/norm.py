"""Normalisations: cuts are exact along the axes that are not normalised."""

from acgraph.analysis.labels import Axis
from acgraph.analysis.rules.base import Cut, Resize, Rule
from acgraph.analysis.site import Site


def _averages(site: Site, axis: int) -> None:
    site.mark_inexact(site.axis(0, axis), "normalises over the axis", axis)


def batch_norm(site: Site) -> None:
    """Couple the channel axis with scale, shift, mean and variance.

    In training mode it averages over all axes but the channels; each channel on its own.
    """
    rank = len(site.shape(0))
    channels = site.unify_inputs([(i, 1 if i == 0 else 0) for i in range(5)])
    for i in (3, 4):
        site.keep(i)
    if site.attrs.get("training_mode", 0) or (site.opset < 14 and site.has_out(1)):
        for axis in range(rank):
            if axis != 1:
                _averages(site, axis)
    axes = site.axes(0)
    # Where another axis is cut, the shift turns zeros into other values.
    zero = [False] * rank
    zero[1] = site.zero(1, 0) and site.zero(2, 0)
    site.emit(axes, zero)
    for j in range(1, len(site.node.outputs)):
        if site.has_out(j):
            site.emit([channels], [False], j)


def instance_norm(site: Site) -> None:
    """Couple the channel axis with scale and shift; the statistics span the other axes."""
    site.unify_inputs([(0, 1), (1, 0), (2, 0)])
    for axis in range(2, len(site.shape(0))):
        _averages(site, axis)
    axes = site.axes(0)
    zero = [False] * len(axes)
    zero[1] = site.zero(1, 0) and site.zero(2, 0)
    site.emit(axes, zero)


def group_norm(site: Site) -> None:
    """Couple the channels; cutting whole groups is exact, channels of each group inexact."""
    groups = int(site.attrs["num_groups"])
    channels = site.shape(0)[1]
    labels = site.axis(0, 1)
    for i in (1, 2):
        if site.shape(i)[0] == channels:
            site.set_axis(i, 0, labels)
    rows, inside = site.labels.split(
        site.axis(0, 1), [groups, channels // groups], site.why("groups the channels", 1)
    )
    site.mark_inexact(inside, "normalises over the channels of a group", 1)
    for i in (1, 2):
        if site.shape(i)[0] != channels:
            site.set_axis(i, 0, rows)
    for axis in range(2, len(site.shape(0))):
        _averages(site, axis)
    axes = site.axes(0)
    zero = [False] * len(axes)
    zero[1] = site.shape(1)[0] == channels and site.zero(1, 0) and site.zero(2, 0)
    site.emit(axes, zero)


def resize_group_norm(cut: Cut) -> None:
    """Set the group count to the number of kept groups, which are cut as a whole or not at all."""
    keep = cut.keep_in(0, 1)
    if keep is None:
        return
    groups = int(cut.node.attrs["num_groups"])
    cut.node.attrs["num_groups"] = int(keep.reshape(groups, -1).any(axis=1).sum())


def layer_norm(site: Site) -> None:
    """Couple the normalised axes with scale and shift."""
    rank = len(site.shape(0))
    first = int(site.attrs.get("axis", -1)) % rank
    for axis in range(first, rank):
        for i in (1, 2):
            if site.has(i):
                own = axis - (rank - len(site.shape(i)))
                if own >= 0 and site.shape(i)[own] > 1:
                    site.set_axis(i, own, site.axis(0, axis))
        _averages(site, axis)
    axes = site.axes(0)
    zero = []
    for k in range(rank):
        if k < first:
            zero.append(site.zero(0, k) and not site.has(2))
        else:
            zero.append(all(_is_zeroed(site, i, k) for i in (1, 2) if site.has(i)))
    site.emit(axes, zero)


def _is_zeroed(site: Site, i: int, axis: int) -> bool:
    own = axis - (len(site.shape(0)) - len(site.shape(i)))
    return own >= 0 and site.shape(i)[own] > 1 and site.zero(i, own)


def mean_variance(site: Site) -> None:
    """Propagate a cut of any axis; the statistics span ``axes``."""
    rank = len(site.shape(0))
    for axis in {int(a) % rank for a in site.attrs.get("axes", (0, 2, 3))}:
        _averages(site, axis)
    site.emit(site.axes(0), site.zeros(0))


def averaged(site: Site) -> None:
    """Propagate a cut of any axis; the normalisation runs along ``axis``."""
    rank = len(site.shape(0))
    default = -1 if site.opset >= 13 or site.node.op == "LpNormalization" else 1
    first = int(site.attrs.get("axis", default)) % rank
    last = rank if site.opset < 13 and site.node.op != "LpNormalization" else first + 1
    for axis in range(first, last):
        _averages(site, axis)
    axes: list[Axis] = site.axes(0)
    site.emit(axes, [False] * rank)


def local_response(site: Site) -> None:
    """Fence the channel axis, because neighbouring channels affect each other."""
    site.fence(site.axis(0, 1), "looks at neighbouring channels", 1)
    axes = site.axes(0)
    axes[1] = None
    site.emit(axes, [site.zero(0, k) for k in range(len(axes))])


RULES: dict[str, Rule] = {
    "averaged": averaged,
    "batch_norm": batch_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "local_response": local_response,
    "mean_variance": mean_variance,
}
RESIZES: dict[str, Resize] = {
    "group_norm": resize_group_norm,
}
