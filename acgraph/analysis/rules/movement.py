"""Operators that move elements: labels move with the elements."""

import numpy as np

from acgraph.analysis.labels import Axis, concat
from acgraph.analysis.rules.base import Cut, Resize, Rule
from acgraph.analysis.rules.reshape import Block, blocks, reshape_axes
from acgraph.analysis.site import Site


def reshape(site: Site) -> None:
    """Follow each element to its new position; the order of elements does not change."""
    if site.node.op == "Squeeze" and _picks_by_size(site):
        site.fence_all("the axes that it removes depend on unknown sizes")
        return
    why = site.why("splits or joins axes that have no common factors")
    axes, zero = site.axes(0), site.zeros(0)
    _fence_uncertain(site, axes)
    axes, zero = reshape_axes(site.labels, site.shape(0), site.out_shape(), axes, zero, why)
    vector = site.value(1) if site.node.op == "Reshape" else None
    for axis, labels in enumerate(axes):
        stated = vector is None or int(vector.reshape(-1)[axis]) != -1
        if site.node.op == "Reshape" and labels is not None and stated and not site.is_fixed(axis):
            site.fence(
                labels,
                "its shape input contains a size that depends on the size of the input",
                axis,
            )
            axes[axis] = None
    site.emit(axes, zero)


def _picks_by_size(site: Site) -> bool:
    stated = site.has(1) or site.attrs.get("axes") is not None
    return not stated and any(site.is_assumed(0, k) for k in range(len(site.shape(0))))


def _fence_uncertain(site: Site, axes: list[Axis]) -> None:
    """Fence axes whose position after the reshape depends on unknown sizes."""
    names = site.node.inputs[0].name, site.node.outputs[0].name
    facts = site.walk.facts
    if site.is_uninferred() or any(name in facts.assumed for name in names):
        source, target = site.shape(0), site.out_shape()
        others = [
            facts.others.get(name, () if name in facts.assumed else shape)
            for name, shape in zip(names, (source, target), strict=True)
        ]
        certain = {(block.ins, block.outs) for block in blocks(*others)}
        for block in blocks(source, target):
            known = (block.ins, block.outs) in certain
            if (
                not block.ins
                or not block.outs
                or (known and (not site.is_uninferred() or _is_anchored(site, block)))
            ):
                continue
            for i in block.ins:
                site.fence(axes[i], "reshapes by sizes that are unknown", i)
                axes[i] = None


def _is_anchored(site: Site, block: Block) -> bool:
    """Return whether all sizes before or behind a block, and in it, are known."""
    read = [site.is_assumed(0, k) for k in range(len(site.shape(0)))]
    made = [site.is_assumed_out(k) for k in range(len(site.out_shape()))]
    i, j, after_i, after_j = block.ins[0], block.outs[0], block.ins[-1] + 1, block.outs[-1] + 1
    before = not any(read[:i]) and not any(made[:j])
    behind = not any(read[after_i:]) and not any(made[after_j:])
    return (before or behind) and not any(read[i:after_i]) and not any(made[j:after_j])


def resize_reshape(cut: Cut) -> None:
    """Rewrite the sizes of cut axes."""
    vector = cut.value(1)
    sizes = {}
    for axis in range(len(cut.shape_out(0))):
        keep = cut.keep_out(0, axis)
        entry = None if vector is None else int(vector.reshape(-1)[axis])
        if entry == 0 and not cut.node.attrs.get("allowzero", 0):
            # 0 copies the size of the same input axis, which may be cut differently
            before, after = cut.keep_in(0, axis), keep
            size = cut.shape_out(0)[axis]
            if (size if before is None else before.sum()) != (
                size if after is None else after.sum()
            ):
                sizes[axis] = size if after is None else int(after.sum())
        elif keep is not None and entry != -1:
            sizes[axis] = int(keep.sum())
    cut.patch_sizes(1, sizes)


def transpose(site: Site) -> None:
    """Permute the axes."""
    rank = len(site.shape(0))
    perm = [int(p) for p in site.attrs.get("perm", range(rank)[::-1])]
    axes, zero = site.axes(0), site.zeros(0)
    site.emit([axes[p] for p in perm], [zero[p] for p in perm])


def concatenate(site: Site) -> None:
    """Concatenate the labels of the inputs; the other axes are coupled."""
    inputs = list(range(len(site.node.inputs)))
    rank = len(site.out_shape())
    along = int(site.attrs["axis"]) % rank
    axes: list[Axis] = []
    zero = []
    for axis in range(rank):
        if axis == along:
            parts = [site.axis(i, axis) for i in inputs]
            axes.append(concat(parts, [site.shape(i)[axis] for i in inputs]))
            used = [i for i, part in zip(inputs, parts, strict=True) if part is not None]
        else:
            axes.append(site.unify_inputs([(i, axis) for i in inputs]))
            used = inputs
        zero.append(all(site.zero(i, axis) for i in used))
    site.emit(axes, zero)


def _split_sizes(site: Site) -> list[int]:
    along = _along(site)
    return [site.out_shape(j)[along] for j in range(len(site.node.outputs))]


def _along(site: Site) -> int:
    return int(site.attrs.get("axis", 0)) % len(site.shape(0))


def split(site: Site) -> None:
    """Distribute the labels of the split axis to the outputs."""
    if any(site.is_uninferred(j) for j in range(len(site.node.outputs))):
        site.fence_all("the sizes of its parts are unknown")
        return
    along = _along(site)
    axes, zero = site.axes(0), site.zeros(0)
    start = 0
    for j, size in enumerate(_split_sizes(site)):
        own = list(axes)
        whole = axes[along]
        own[along] = None if whole is None else whole[start : start + size]
        start += size
        if site.node.outputs[j].name:
            site.emit(own, zero, j)


def resize_split(cut: Cut) -> None:
    """Set the sizes of the parts."""
    along = int(cut.node.attrs.get("axis", 0)) % len(cut.shape_in(0))
    if cut.keep_in(0, along) is None:
        return
    sizes = []
    for j in range(len(cut.node.outputs)):
        keep = cut.keep_out(j, along)
        sizes.append(cut.shape_out(j)[along] if keep is None else int(keep.sum()))
    cut.node.attrs.pop("num_outputs", None)
    if cut.opset >= 13:
        cut.set_input(1, np.array(sizes, np.int64))
    else:
        cut.node.attrs["split"] = sizes


def expand(site: Site) -> None:
    """Propagate cuts of axes that keep their size; an expanded axis can be cut freely."""
    source, target = site.shape(0), site.out_shape()
    shift = len(target) - len(source)
    axes: list[Axis] = []
    zero = []
    for axis, size in enumerate(target):
        own = axis - shift
        passes = own >= 0 and source[own] == size
        axes.append(site.axis(0, own) if passes else _repeated(site, axis))
        zero.append(passes and site.zero(0, own))
    site.emit(axes, zero)


def _repeated(site: Site, axis: int) -> Axis:
    """Return new labels for an axis along which all elements are equal."""
    size = site.out_shape()[axis]
    return site.labels.fresh(size) if size > 1 and site.is_fixed(axis) else None


def resize_expand(cut: Cut) -> None:
    """Rewrite the sizes of cut axes, unless they were left to the input."""
    vector = cut.value(1)
    rank = len(cut.shape_out(0))
    shift = rank - cut.shape_in(1)[0]
    sizes = {}
    for axis in range(shift, rank):
        keep = cut.keep_out(0, axis)
        entry = None if vector is None else int(vector.reshape(-1)[axis - shift])
        if keep is not None and entry != 1:
            sizes[axis - shift] = int(keep.sum())
    cut.patch_sizes(1, sizes)


def constant_of_shape(site: Site) -> None:
    """Repeat a single number; any position can be cut."""
    value = site.attrs.get("value")
    is_zero = value is None or not np.asarray(value.values).any()
    shape = site.out_shape()
    axes = [_repeated(site, axis) for axis in range(len(shape))]
    site.emit(axes, [is_zero] * len(shape))


def resize_constant_of_shape(cut: Cut) -> None:
    """Rewrite the sizes of cut axes."""
    keeps = {axis: cut.keep_out(0, axis) for axis in range(len(cut.shape_out(0)))}
    cut.patch_sizes(0, {axis: int(k.sum()) for axis, k in keeps.items() if k is not None})


def tile(site: Site) -> None:
    """Repeat the labels along with the elements."""
    if site.is_uninferred():
        site.fence_all("its number of repetitions is unknown")
        return
    axes: list[Axis] = []
    for axis, (before, after) in enumerate(zip(site.shape(0), site.out_shape(), strict=True)):
        labels = site.axis(0, axis)
        axes.append(None if labels is None else np.tile(labels, (after // max(before, 1), 1)))
    site.emit(axes, site.zeros(0))


def depth_to_space(site: Site) -> None:
    """Follow the elements through the equivalent reshape, transpose and reshape."""
    n, c, h, w = site.shape(0)
    b = int(site.attrs["blocksize"])
    inner = c // (b * b)
    if site.attrs.get("mode", "DCR") == "DCR":
        middle, perm = (n, b, b, inner, h, w), (0, 3, 4, 1, 5, 2)
    else:
        middle, perm = (n, inner, b, b, h, w), (0, 1, 4, 2, 5, 3)
    _rearrange(site, middle, perm)


def space_to_depth(site: Site) -> None:
    """Follow the elements through the equivalent reshape, transpose and reshape."""
    n, c, h, w = site.shape(0)
    b = int(site.attrs["blocksize"])
    _rearrange(site, (n, c, h // b, b, w // b, b), (0, 3, 5, 1, 2, 4))


def col2im(site: Site) -> None:
    """Assemble patches ``[N, C * block, L]``; a channel has all positions of its block."""
    channels = site.out_shape()[1]
    inside = site.shape(0)[1] // channels
    why = site.why("joins the positions of a block", 1)
    rows, places = site.labels.split(site.axis(0, 1), [channels, inside], why)
    site.fence(places, "joins the positions of a block", 1)
    site.fence(site.axis(0, 2), "puts blocks in their places", 2)
    spatial = len(site.out_shape()) - 2
    flags = [site.zero(0, 0), site.zero(0, 1)] + [False] * spatial
    site.emit([site.axis(0, 0), rows] + [None] * spatial, flags)


def reverse_sequence(site: Site) -> None:
    """Propagate a cut of any axis but batch and time, which are fenced."""
    axes = site.axes(0)
    for key, default in (("batch_axis", 1), ("time_axis", 0)):
        axis = int(site.attrs.get(key, default))
        site.fence(axes[axis], "reverses sequences along the axis", axis)
        axes[axis] = None
    site.emit(axes, site.zeros(0))


def _rearrange(site: Site, middle: tuple[int, ...], perm: tuple[int, ...]) -> None:
    why = site.why("splits or joins axes that have no common factors")
    axes, zero = reshape_axes(site.labels, site.shape(0), middle, site.axes(0), site.zeros(0), why)
    axes, zero = [axes[p] for p in perm], [zero[p] for p in perm]
    shape = [middle[p] for p in perm]
    axes, zero = reshape_axes(site.labels, shape, site.out_shape(), axes, zero, why)
    site.emit(axes, zero)


RULES: dict[str, Rule] = {
    "col2im": col2im,
    "concatenate": concatenate,
    "constant_of_shape": constant_of_shape,
    "depth_to_space": depth_to_space,
    "expand": expand,
    "reshape": reshape,
    "reverse_sequence": reverse_sequence,
    "space_to_depth": space_to_depth,
    "split": split,
    "tile": tile,
    "transpose": transpose,
}
RESIZES: dict[str, Resize] = {
    "constant_of_shape": resize_constant_of_shape,
    "expand": resize_expand,
    "reshape": resize_reshape,
    "split": resize_split,
}
