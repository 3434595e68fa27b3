"""Normalisations: exact along the axes that they do not average over."""

from acgraph.analysis.labels import Axis
from acgraph.analysis.rules.base import Cut, OpRule
from acgraph.analysis.walk import Site


def _averages(site: Site, axis: int) -> None:
    labels = site.axis(0, axis)
    if labels is not None:
        site.labels.mark_inexact(labels, site.why("normalises over the axis", axis))


def batch_norm(site: Site) -> None:
    """Couple the channel axis with scale, shift, mean and variance."""
    channels = site.axis(0, 1)
    for i in range(1, 5):
        site.set_axis(i, 0, channels)
    for i in (3, 4):
        site.keep(i)
    axes = site.axes(0)
    zero = [site.zero(0, k) for k in range(len(axes))]
    zero[1] = site.is_constant(1) and site.is_constant(2)
    site.emit(axes, zero)
    if len(site.node.outputs) > 1 and any(t.name for t in site.node.outputs[1:]):
        site.fence_all("updates its statistics while it runs")


def instance_norm(site: Site) -> None:
    """Couple the channel axis with scale and shift; the other axes are averaged over."""
    channels = site.axis(0, 1)
    for i in (1, 2):
        site.set_axis(i, 0, channels)
    for axis in range(2, len(site.shape(0))):
        _averages(site, axis)
    axes = site.axes(0)
    zero = [False] * len(axes)
    zero[1] = site.is_constant(1) and site.is_constant(2)
    site.emit(axes, zero)


def group_norm(site: Site) -> None:
    """Couple the channels; whole groups go exactly, channels inside all groups inexactly."""
    groups = int(site.attrs["num_groups"])
    channels = site.shape(0)[1]
    labels = site.axis(0, 1)
    for i in (1, 2):
        if site.shape(i)[0] == channels:
            site.set_axis(i, 0, labels)
    rows, inside = site.labels.split(
        site.axis(0, 1), [groups, channels // groups], site.why("groups the channels", 1)
    )
    if inside is not None:
        site.labels.mark_inexact(inside, site.why("normalises over the channels of a group", 1))
    for i in (1, 2):
        if site.shape(i)[0] != channels:
            site.set_axis(i, 0, rows)
    for axis in range(2, len(site.shape(0))):
        _averages(site, axis)
    axes = site.axes(0)
    zero = [False] * len(axes)
    zero[1] = site.shape(1)[0] == channels
    site.emit(axes, zero)


def resize_group_norm(cut: Cut) -> None:
    """Set the group count to the groups that stay: all channels of a group go, or none."""
    keep = cut.keep_in(0, 1)
    if keep is None:
        return
    groups = int(cut.node.attrs["num_groups"])
    cut.node.attrs["num_groups"] = int(keep.reshape(groups, -1).any(axis=1).sum())


def layer_norm(site: Site) -> None:
    """Couple scale and shift; the normalised axes are averaged over."""
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
    zero = [k >= first or site.zero(0, k) for k in range(rank)]
    zero = [flag and (k >= first or not site.has(2)) for k, flag in enumerate(zero)]
    site.emit(axes, zero)


def averaged(site: Site) -> None:
    """Couple a normalisation along ``axis`` (Softmax and the like, LpNormalization)."""
    rank = len(site.shape(0))
    default = -1 if site.opset >= 13 or site.node.op == "LpNormalization" else 1
    first = int(site.attrs.get("axis", default)) % rank
    last = rank if site.opset < 13 and site.node.op != "LpNormalization" else first + 1
    for axis in range(first, last):
        _averages(site, axis)
    axes: list[Axis] = site.axes(0)
    site.emit(axes, [False] * rank)


def local_response(site: Site) -> None:
    """Fence the channel axis: neighbouring channels look at each other."""
    site.fence(site.axis(0, 1), "looks at neighbouring channels", 1)
    axes = site.axes(0)
    axes[1] = None
    site.emit(axes, [site.zero(0, k) for k in range(len(axes))])


RULES: dict[str, OpRule] = {
    "BatchNormalization": OpRule(couple=batch_norm),
    "InstanceNormalization": OpRule(couple=instance_norm),
    "GroupNormalization": OpRule(couple=group_norm, resize=resize_group_norm),
    "LayerNormalization": OpRule(
        couple=layer_norm, note="inexact along the normalised axes: --allow-inexact"
    ),
    "Softmax": OpRule(couple=averaged, note="inexact along its axis"),
    "LogSoftmax": OpRule(couple=averaged, note="inexact along its axis"),
    "Hardmax": OpRule(couple=averaged, note="inexact along its axis"),
    "LpNormalization": OpRule(couple=averaged, note="inexact along its axis"),
    "LRN": OpRule(couple=local_response, status="fenced", note="along the channels"),
}
