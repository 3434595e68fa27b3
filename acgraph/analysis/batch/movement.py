"""Propagation of the batch axis through operators that only move elements."""

from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.batch.walk import (
    FixedBatchError,
    Rule,
    Shape,
    Walk,
    beside_axis,
    grown_axis,
    only_first,
)


def _transpose(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    rank = len(walk.shape(walk.name(node, 0)))
    perm = [int(p) for p in node.attrs.get("perm", reversed(range(rank)))]
    return perm.index(axis)


def _flatten(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    cut = int(node.attrs.get("axis", 1)) % (len(walk.shape(walk.name(node, 0))) or 1)
    sizes = walk.shape(walk.name(node, 0))
    if prod(sizes[:axis]) * walk.outer.get(walk.name(node, 0), 1) != 1 or cut <= axis:
        raise FixedBatchError("it moves the batch inside another axis")
    return 0


def _reshape(walk: Walk, node: gs.Node) -> int:
    source = walk.name(node, 0)
    if source not in walk.axis:
        raise FixedBatchError("its shape contains the batch size, but its input has no batch")
    sizes, doubled, axis = walk.shape(source), walk.doubled_shape(source), walk.axis[source]
    found = walk.ints(node, 1, "shape")
    if found is None:
        raise FixedBatchError("its shape is missing")
    keep_zero = bool(node.attrs.get("allowzero", 0))
    target = _resolve_target(found[0], sizes, keep_zero=keep_zero)
    outer_size = prod(sizes[:axis]) * walk.outer.get(source, 1)
    after = _resolve_target(found[1], doubled, keep_zero=keep_zero)
    if prod(after) == prod(doubled):
        grown = grown_axis(target, after)
        places = _batch_places(target, outer_size, walk.batch)
        follows = found[0] != found[1] or (places and grown == places[0][0])
        if follows and grown is not None and grown in dict(places):
            return _set_outer(walk, node, grown, dict(places)[grown])
    places = _batch_places(target, outer_size, walk.batch)
    if not places or found[0] != found[1]:
        raise FixedBatchError("its shape puts the batch inside another axis")
    place, outer = places[walk.choose(len(places))]
    walk.rebatch[node.name] = (*target[:place], -1, *target[place + 1 :])
    return _set_outer(walk, node, place, outer)


def _set_outer(walk: Walk, node: gs.Node, place: int, outer: int) -> int:
    walk.outer[node.outputs[0].name] = outer
    return place


def _batch_places(target: Shape, outer_size: int, batch: int) -> list[tuple[int, int]]:
    """Return where the batch may be after a Reshape: its axis, and its outer size in that axis.

    In row-major order, a Reshape keeps the number of elements outside of the batch. The most likely
    place comes first: the batch is the outermost part of an axis, of the first such axis where
    several have size one. Only a batch of one can be inside an axis.

    Args:
        target: The shape after the Reshape.
        outer_size: Number of positions outside of the batch.
        batch: The batch size.
    """
    found = []
    for place, size in enumerate(target):
        before = prod(target[:place])
        outer, rest = divmod(outer_size, before) if before else (0, 1)
        if not rest and outer and size % (outer * batch) == 0:
            found.append((place, outer))
    return sorted(found, key=lambda entry: entry[1] != 1)


def _resolve_target(target: Shape, sizes: Shape, *, keep_zero: bool) -> Shape:
    """Replace 0 and -1 in the target shape of a Reshape by sizes."""
    filled = [
        sizes[i] if size == 0 and not keep_zero and i < len(sizes) else size
        for i, size in enumerate(target)
    ]
    if -1 in filled:
        rest = prod(size for size in filled if size != -1)
        filled[filled.index(-1)] = prod(sizes) // rest if rest else 0
    return tuple(filled)


def _squeeze(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    found = walk.ints(node, 1, "axes")
    if found is None:
        raise FixedBatchError("it has no axes and would remove the batch")
    rank = len(walk.shape(walk.name(node, 0)))
    removed = {a % rank for a in found[0]}
    if axis in removed:
        raise FixedBatchError("it removes the batch axis")
    return axis - sum(a < axis for a in removed)


def _unsqueeze(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    found = walk.ints(node, 1, "axes")
    added = found[0] if found is not None else ()
    rank = len(walk.shape(walk.name(node, 0))) + len(added)
    places = {a % rank for a in added}
    return [i for i in range(rank) if i not in places][axis]


def _gather(walk: Walk, node: gs.Node) -> int:
    data, index = walk.name(node, 0), walk.name(node, 1)
    rank, index_rank = len(walk.shape(data)), len(walk.shape(index))
    acts = int(node.attrs.get("axis", 0)) % rank
    if data not in walk.axis:
        return acts + walk.axis[index]
    axis = walk.axis[data]
    if _is_strided_view(walk, data, index):
        walk.rebatch[node.name] = walk.shape(data)
        return 0
    if index in walk.axis or acts == axis:
        raise FixedBatchError("it gathers along the batch")
    return axis if axis < acts else axis + index_rank - 1


def _is_strided_view(walk: Walk, data: str, index: str) -> bool:
    """Return whether one sample is gathered from a flat tensor, as the export of ``as_strided``."""
    flat = len(walk.shape(data)) == 1 and walk.batch == 1
    return flat and index in walk.program.known and walk.shape(index)[:1] == (1,)


def _slice(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    sizes = walk.shape(walk.name(node, 0))
    starts, ends = walk.ints(node, 1, "starts"), walk.ints(node, 2, "ends")
    if starts is None or ends is None:
        raise FixedBatchError("its bounds are missing")
    axes, steps = walk.ints(node, 3, "axes"), walk.ints(node, 4, "steps")
    where = axes[0] if axes else tuple(range(len(starts[0])))
    pace = steps[0] if steps else (1,) * len(where)
    for i, acts in enumerate(where):
        whole = starts[1][i] == 0 and ends[1][i] >= 2 * sizes[axis] and pace[i] == 1
        if acts % len(sizes) == axis and not whole:
            raise FixedBatchError("it slices the batch")
    return axis


def _concat(walk: Walk, node: gs.Node) -> int:
    names = walk.names(node)
    axes = {walk.axis[name] for name in names if name in walk.axis}
    acts = int(node.attrs.get("axis", 0)) % len(walk.shape(names[0]))
    if len(axes) != 1 or acts in axes:
        raise FixedBatchError("it concatenates along the batch")
    (axis,) = axes
    constants = [name for name in names if name not in walk.axis]
    if any(walk.shape(name)[axis] != 1 for name in constants):
        raise FixedBatchError("it combines the batch with a constant of the batch size")
    if constants:
        walk.rebatch[node.name] = (axis,)
    return axis


def _pad(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    rank = len(walk.shape(walk.name(node, 0)))
    pads, axes = walk.ints(node, 1, "pads"), walk.ints(node, 3, "axes")
    where = [a % rank for a in axes[0]] if axes else list(range(rank))
    if pads is None:
        raise FixedBatchError("its pads are missing")
    if axis in where:
        i = where.index(axis)
        if pads[0][i] or pads[0][len(where) + i]:
            raise FixedBatchError("it pads the batch")
    return axis


def _tile(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    repeats = walk.ints(node, 1, "repeats")
    if repeats is None or repeats[0][axis] != 1 or repeats[1] != repeats[0]:
        raise FixedBatchError("it repeats the batch")
    return axis


def _expand(walk: Walk, node: gs.Node) -> int | None:
    source = walk.name(node, 0)
    found = walk.ints(node, 1, "shape")
    if found is None:
        raise FixedBatchError("its shape is missing")
    before, after = found
    sizes = walk.shape(source)
    if source not in walk.axis:
        return grown_axis(_broadcast(sizes, before), _broadcast(sizes, after))
    place = walk.axis[source] - len(sizes)
    if len(before) >= -place and after[place] not in (1, 2 * sizes[place]):
        if before[place] != sizes[place]:
            raise FixedBatchError("it repeats the batch")
        target = list(before)
        target[place] = 1
        walk.rebatch[node.name] = tuple(target)
    return max(len(before), len(sizes)) + place


def _broadcast(a: Shape, b: Shape) -> Shape:
    return tuple(int(size) for size in np.broadcast_shapes(a, b))


def _resize(walk: Walk, node: gs.Node) -> int:
    axis = only_first(walk, node)
    if "axes" in node.attrs:
        raise FixedBatchError("a Resize with the attribute axes is not supported")
    scales = walk.name(node, 1 if len(node.inputs) == 2 else 2)
    if scales and scales in walk.values and walk.values[scales].size:
        if float(walk.values[scales].reshape(-1)[axis].item()) != 1.0:
            raise FixedBatchError("it resizes the batch")
        return axis
    sizes = walk.ints(node, 3, "sizes")
    if sizes is None or sizes[0][axis] != walk.shape(walk.name(node, 0))[axis]:
        raise FixedBatchError("it resizes the batch")
    walk.rebatch[node.name] = (axis,)
    return axis


#: The rules of these operators, by the name in the table of operators.
RULES: dict[str, Rule] = {
    "beside_axis_0": beside_axis(0),
    "concat": _concat,
    "expand": _expand,
    "flatten": _flatten,
    "gather": _gather,
    "pad": _pad,
    "reshape": _reshape,
    "resize": _resize,
    "slice": _slice,
    "squeeze": _squeeze,
    "tile": _tile,
    "transpose": _transpose,
    "unsqueeze": _unsqueeze,
}
