"""Slice and Pad: an axis is shortened to a range or extended at its ends."""

from collections.abc import Sequence

import numpy as np

from acgraph.analysis.labels import Axis, concat
from acgraph.analysis.rules.base import Cut, Resize, Rule
from acgraph.analysis.site import Site


def _slice_spans(site: Site | Cut, rank: int) -> dict[int, tuple[int, int, int]] | None:
    """Return (start, end, step) by axis, as ONNX defines them; None where not constant."""
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
    """Return the positions that a Slice selects on an axis."""
    return range(size)[slice(start, None if step < 0 and end < -size else end, step)]


def slice_(site: Site) -> None:
    """Select the labels of the slice."""
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
    """Rewrite the bounds of cut axes."""
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
    """Add positions at both ends; they can be cut as well."""
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
    """Reduce the pads to the kept positions."""
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


RULES: dict[str, Rule] = {
    "pad": pad,
    "slice": slice_,
}
RESIZES: dict[str, Resize] = {
    "pad": resize_pad,
    "slice": resize_slice,
}
