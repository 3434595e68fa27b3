"""Operators that move elements: the labels move with them."""

from collections.abc import Sequence

import numpy as np

from acgraph.analysis.labels import Axis, concat
from acgraph.analysis.rules.base import Cut, OpRule
from acgraph.analysis.rules.reshape import reshape_axes
from acgraph.analysis.site import Site


def reshape(site: Site) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: elements stay in order."""
    why = site.why("splits or joins axes that have no common factors")
    axes, zero = reshape_axes(
        site.labels, site.shape(0), site.out_shape(), site.axes(0), site.zeros(0), why
    )
    vector = site.value(1) if site.node.op == "Reshape" else None
    for axis, labels in enumerate(axes):
        stated = vector is None or int(vector.reshape(-1)[axis]) != -1
        if site.node.op == "Reshape" and labels is not None and stated and not site.is_fixed(axis):
            site.fence(labels, "states a size that depends on the size of the input", axis)
            axes[axis] = None
    site.emit(axes, zero)


def resize_reshape(cut: Cut) -> None:
    """Rewrite the sizes of the axes that a cut shortens."""
    vector = cut.value(1)
    sizes = {}
    for axis in range(len(cut.shape_out(0))):
        keep = cut.keep_out(0, axis)
        entry = None if vector is None else int(vector.reshape(-1)[axis])
        if entry == 0 and not cut.node.attrs.get("allowzero", 0):
            # 0 copies the size of the same axis of the input, which may be cut otherwise
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
    """Put the labels of the inputs one after the other; the other axes are coupled."""
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
    """Deal the labels of the split axis out to the outputs."""
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
    """State the sizes of the parts, equal or not."""
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


def _slice_spans(site: Site | Cut, rank: int) -> dict[int, tuple[int, int, int]] | None:
    """Return (start, end, step) by axis, normalised as ONNX says; None where not constant."""
    node = site.node
    if "starts" in node.attrs:
        starts, ends = list(node.attrs["starts"]), list(node.attrs["ends"])
        axes = list(node.attrs.get("axes", range(len(starts))))
        steps = [1] * len(starts)
    else:
        found = [site.value(i) if i < len(node.inputs) else None for i in range(1, 5)]
        if found[0] is None or found[1] is None:
            return None
        for i in (3, 4):
            if i < len(node.inputs) and node.inputs[i].name and found[i - 1] is None:
                return None
        starts, ends = found[0].reshape(-1).tolist(), found[1].reshape(-1).tolist()
        axes = list(range(len(starts))) if found[2] is None else found[2].reshape(-1).tolist()
        steps = [1] * len(starts) if found[3] is None else found[3].reshape(-1).tolist()
    return {
        int(axis) % rank: (int(start), int(end), int(step))
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    }


def _span(start: int, end: int, step: int, size: int) -> range:
    """The positions that a Slice takes of an axis."""
    return range(size)[slice(start, None if step < 0 and end < -size else end, step)]


def slice_(site: Site) -> None:
    """Take the labels of the slice."""
    shape = site.shape(0)
    spans = _slice_spans(site, len(shape))
    axes, zero = site.axes(0), site.zeros(0)
    for axis, labels in enumerate(axes):
        if labels is None:
            continue
        if spans is None:
            site.fence(labels, "slices at bounds that are not constant", axis)
            axes[axis] = None
        elif axis in spans:
            if spans[axis][2] != 1:
                site.fence(labels, "slices with a step", axis)
            axes[axis] = labels[np.array(_span(*spans[axis], shape[axis]), np.int64)]
    site.emit(axes, zero)


def resize_slice(cut: Cut) -> None:
    """Move the bounds of the axes that a cut shortens."""
    shape = cut.shape_in(0)
    keeps = {axis: cut.keep_in(0, axis) for axis in range(len(shape))}
    spans = _slice_spans(cut, len(shape))
    if spans is None or all(keeps[axis] is None for axis in spans):
        return
    bounds = dict(spans)
    for axis, (start, end, step) in spans.items():
        keep = keeps[axis]
        if keep is not None:
            taken = _span(start, end, step, shape[axis])
            first = int(keep[: taken.start].sum())
            bounds[axis] = (first, first + int(keep[taken.start : taken.stop].sum()), step)
    starts, ends, steps = ([bound[k] for bound in bounds.values()] for k in range(3))
    if "starts" in cut.node.attrs:
        cut.node.attrs.update(starts=starts, ends=ends, axes=list(bounds))
        return
    for i, vector in enumerate((starts, ends, list(bounds), steps), start=1):
        cut.set_input(i, np.array(vector, np.int64))


def expand(site: Site) -> None:
    """Pass the axes that keep their size; what an axis of size 1 becomes can be cut freely."""
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
    """Make labels for an axis along which all positions are alike."""
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
    """Repeat one number: any position may be cut."""
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
    """Repeat the labels."""
    axes: list[Axis] = []
    for axis, (before, after) in enumerate(zip(site.shape(0), site.out_shape(), strict=True)):
        labels = site.axis(0, axis)
        axes.append(None if labels is None else np.tile(labels, (after // max(before, 1), 1)))
    site.emit(axes, site.zeros(0))


def _pads(site: Site | Cut, rank: int) -> list[int] | None:
    """Return begins, then ends, of all axes; None where not constant."""
    attrs = site.node.attrs
    if "pads" in attrs or "paddings" in attrs:
        return [int(p) for p in attrs.get("pads", attrs.get("paddings"))]
    vector = site.value(1)
    if vector is None:
        return None
    pads = [0] * (2 * rank)
    axes: Sequence[int] = range(rank)
    if len(site.node.inputs) > 3 and site.node.inputs[3].name:
        chosen = site.value(3)
        if chosen is None:
            return None
        axes = [int(a) % rank for a in chosen.reshape(-1)]
    half = len(axes)
    for place, axis in enumerate(axes):
        pads[axis] = int(vector.reshape(-1)[place])
        pads[axis + rank] = int(vector.reshape(-1)[place + half])
    return pads


def _pads_zero(site: Site) -> bool:
    if site.has(2):
        value = site.value(2)
        return value is not None and not value.any()
    return not site.attrs.get("value", 0.0)


def pad(site: Site) -> None:
    """Put new positions before and after; they can be cut as well."""
    rank = len(site.shape(0))
    pads = _pads(site, rank)
    mode = site.attrs.get("mode", "constant")
    axes, zero = site.axes(0), site.zeros(0)
    for axis in range(rank):
        labels = axes[axis]
        if labels is None:
            continue
        if pads is None:
            site.fence(labels, "pads by amounts that are not constant", axis)
            axes[axis] = None
            continue
        begin, end = pads[axis], pads[axis + rank]
        if not begin and not end:
            continue
        if mode != "constant" or begin < 0 or end < 0:
            site.fence(labels, f"pads the axis in mode {mode}, or by a negative amount", axis)
            axes[axis] = None
            continue
        parts: list[Axis] = [site.labels.fresh(begin), labels, site.labels.fresh(end)]
        axes[axis] = concat(parts, [begin, len(labels), end])
        zero[axis] = zero[axis] and _pads_zero(site)
    site.emit(axes, zero)


def resize_pad(cut: Cut) -> None:
    """Pad by what stays of the new positions."""
    rank = len(cut.shape_in(0))
    pads = _pads(cut, rank)
    if pads is None:
        return
    changed = False
    for axis in range(rank):
        keep = cut.keep_out(0, axis)
        begin, end = pads[axis], pads[axis + rank]
        if keep is None or not (begin or end):
            continue
        pads[axis] = int(keep[:begin].sum())
        pads[axis + rank] = int(keep[len(keep) - end :].sum()) if end else 0
        changed = True
    if not changed:
        return
    if "pads" in cut.node.attrs or "paddings" in cut.node.attrs:
        cut.node.attrs["pads" if "pads" in cut.node.attrs else "paddings"] = pads
        return
    cut.set_input(1, np.array(pads, np.int64))
    if len(cut.node.inputs) > 3 and cut.node.inputs[3].name:
        cut.set_input(3, np.arange(rank, dtype=np.int64))


def depth_to_space(site: Site) -> None:
    """DepthToSpace is a reshape, a transpose and a reshape."""
    n, c, h, w = site.shape(0)
    b = int(site.attrs["blocksize"])
    inner = c // (b * b)
    if site.attrs.get("mode", "DCR") == "DCR":
        middle, perm = (n, b, b, inner, h, w), (0, 3, 4, 1, 5, 2)
    else:
        middle, perm = (n, inner, b, b, h, w), (0, 1, 4, 2, 5, 3)
    _rearrange(site, middle, perm)


def space_to_depth(site: Site) -> None:
    """SpaceToDepth is a reshape, a transpose and a reshape."""
    n, c, h, w = site.shape(0)
    b = int(site.attrs["blocksize"])
    _rearrange(site, (n, c, h // b, b, w // b, b), (0, 3, 5, 1, 2, 4))


def _rearrange(site: Site, middle: tuple[int, ...], perm: tuple[int, ...]) -> None:
    why = site.why("splits or joins axes that have no common factors")
    axes, zero = reshape_axes(site.labels, site.shape(0), middle, site.axes(0), site.zeros(0), why)
    axes, zero = [axes[p] for p in perm], [zero[p] for p in perm]
    shape = [middle[p] for p in perm]
    axes, zero = reshape_axes(site.labels, shape, site.out_shape(), axes, zero, why)
    site.emit(axes, zero)


RULES: dict[str, OpRule] = {
    "Reshape": OpRule(couple=reshape, resize=resize_reshape, note="splits, joins, computed sizes"),
    "Flatten": OpRule(couple=reshape),
    "Squeeze": OpRule(couple=reshape),
    "Unsqueeze": OpRule(couple=reshape),
    "Transpose": OpRule(couple=transpose),
    "Concat": OpRule(couple=concatenate),
    "Split": OpRule(couple=split, resize=resize_split, note="with and without sizes"),
    "Slice": OpRule(couple=slice_, resize=resize_slice, note="a step along a cut axis is fenced"),
    "Expand": OpRule(couple=expand, resize=resize_expand),
    "ConstantOfShape": OpRule(couple=constant_of_shape, resize=resize_constant_of_shape),
    "Tile": OpRule(couple=tile),
    "Pad": OpRule(couple=pad, resize=resize_pad, note="constant mode"),
    "DepthToSpace": OpRule(couple=depth_to_space),
    "SpaceToDepth": OpRule(couple=space_to_depth),
}
