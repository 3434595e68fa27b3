"""Layers: their filters get new labels, and their columns those of the input channels."""

from acgraph.analysis.labels import Axis, merge
from acgraph.analysis.rules.base import Cut, Resize, Rule
from acgraph.analysis.site import Site


def _spatial_stops(site: Site, i: int, first: int, what: str) -> None:
    for axis in range(first, len(site.shape(i))):
        site.stop(i, axis, f"{what} along the axis")


def conv(site: Site) -> None:
    """Couple ``x[N, I, ...]``, ``W[O, I/g, ...]`` and the output ``[N, O, ...]``."""
    if not site.is_constant(1):
        site.fence_all("the weight is not a constant")
        return
    _spatial_stops(site, 0, 2, "convolves")
    _spatial_stops(site, 1, 2, "is a kernel")
    group = int(site.attrs.get("group", 1))
    out, per_group = site.shape(1)[:2]
    if group == 1:
        _contract(site, 1, 1)
        made = site.axis(1, 0)
    else:
        rows, reads = site.labels.split(
            site.axis(0, 1), [group, per_group], site.why("groups the channels", 1)
        )
        site.set_axis(1, 1, reads)
        _check_sum(site, site.axis(1, 1), 1, 1)
        made = _grouped(site, rows, group, out // group)
        site.set_axis(1, 0, made)
        made = site.axis(1, 0)
    site.set_role(1, 0, "filter")
    site.set_role(1, 1, "column")
    _finish_layer(site, made, bias=2)


def deform_conv(site: Site) -> None:
    """Couple ``x[N, I, ...]``, ``W[O, I, ...]`` and the output ``[N, O, ...]``."""
    if int(site.attrs.get("group", 1)) != 1 or int(site.attrs.get("offset_group", 1)) != 1:
        site.fence_all("deformable convolutions with groups are not analysed")
        return
    if not site.is_constant(1):
        site.fence_all("the weight is not a constant")
        return
    _spatial_stops(site, 0, 2, "convolves")
    _spatial_stops(site, 1, 2, "is a kernel")
    for i in (2, 4):
        if site.has(i):
            for axis in range(len(site.shape(i))):
                site.stop(i, axis, "moves the positions of the kernel")
    _contract(site, 1, 1)
    site.set_role(1, 0, "filter")
    site.set_role(1, 1, "column")
    _finish_layer(site, site.axis(1, 0), bias=3)


def _grouped(site: Site, rows: Axis, group: int, each: int) -> Axis:
    """Return labels of ``group * each`` positions: one per group, and one per place in a group."""
    places = site.labels.fresh(each) if each > 1 else None
    return merge([rows, places], [group, each])


def _finish_layer(site: Site, made: Axis, bias: int) -> None:
    if site.has(bias):
        if made is None and site.shape(bias)[0] > 1:
            site.fence(site.axis(bias, 0), "belongs to channels that are never cut")
        else:
            site.set_axis(bias, 0, made)
        site.set_role(bias, 0, "filter")
    rank = len(site.out_shape())
    made_axis = 1 if site.node.op == "ConvTranspose" else 0
    made_zero = made is not None and site.zero(1, made_axis)
    if made_zero and site.has(bias):
        made_zero = site.zero(bias, 0)
    zero = [site.zero(0, 0) and not site.has(bias), made_zero]
    site.emit([site.axis(0, 0), made] + [None] * (rank - 2), zero + [False] * (rank - 2))


def conv_transpose(site: Site) -> None:
    """Couple ``x[N, I, ...]``, ``W[I, O/g, ...]`` and the output ``[N, O, ...]``."""
    if not site.is_constant(1):
        site.fence_all("the weight is not a constant")
        return
    _spatial_stops(site, 0, 2, "convolves")
    _spatial_stops(site, 1, 2, "is a kernel")
    group = int(site.attrs.get("group", 1))
    if group == 1:
        _contract(site, 1, 0)
        made = site.axis(1, 1)
    else:
        inside, each = site.shape(1)[0] // group, site.shape(1)[1]
        reads = _contract(site, 1, 0)
        why = site.why("groups the channels", 1)
        rows, _ = site.labels.split(reads, [group, inside], why)
        made = merge([rows, site.axis(1, 1)], [group, each])
    site.set_role(1, 0, "column")
    site.set_role(1, 1, "filter")
    _finish_layer(site, made, bias=2)


def resize_groups(cut: Cut) -> None:
    """Set the group count of a convolution to the number of kept groups."""
    group = int(cut.node.attrs.get("group", 1))
    if group == 1:
        return
    # Axis 1 of both weight layouts has the channels of one group, and the activation on that side
    # has all of them: their quotient is the group count.
    transposed = cut.node.op == "ConvTranspose"
    side = cut.keep_out(0, 1) if transposed else cut.keep_in(0, 1)
    channels = cut.shape_out(0)[1] if transposed else cut.shape_in(0)[1]
    each = cut.keep_in(1, 1)
    left = channels if side is None else int(side.sum())
    per_group = cut.shape_in(1)[1] if each is None else int(each.sum())
    cut.node.attrs["group"] = left // per_group


def gemm(site: Site) -> None:
    """Couple the axes of ``Y = alpha A' B' + beta C``."""
    a_row, a_col = (1, 0) if site.attrs.get("transA", 0) else (0, 1)
    b_row, b_col = (1, 0) if site.attrs.get("transB", 0) else (0, 1)
    _contract(site, a_col, b_row)
    rows, cols = site.axis(0, a_row), site.axis(1, b_col)
    _set_layer_roles(site, a_row, a_col, b_row, b_col)
    zero = [site.zero(0, a_row), site.zero(1, b_col)]
    if site.has(2):
        shape = site.shape(2)
        for axis, labels in ((-2, rows), (-1, cols)):
            own = len(shape) + axis
            if own >= 0 and shape[own] > 1:
                site.set_axis(2, own, labels)
                zero[axis] = zero[axis] and site.zero(2, own)
            elif labels is not None:
                value = site.value(2)
                zero[axis] = zero[axis] and value is not None and not value.any()
        rows, cols = site.axis(0, a_row), site.axis(1, b_col)
    site.emit([rows, cols], zero)


def _set_layer_roles(site: Site, a_row: int, a_col: int, b_row: int, b_col: int) -> None:
    site.set_role(0, a_row, "filter")
    site.set_role(0, a_col, "column")
    site.set_role(1, b_row, "column")
    site.set_role(1, b_col, "filter")


def _contract(site: Site, a_axis: int, b_axis: int) -> Axis:
    """Unify the summed axes; the cut is exact where one side is zero there."""
    labels = site.unify_inputs([(0, a_axis), (1, b_axis)])
    _check_sum(site, labels, a_axis, b_axis)
    return labels


def _check_sum(site: Site, labels: Axis, a_axis: int, b_axis: int) -> None:
    if labels is not None and not (site.zero(0, a_axis) or site.zero(1, b_axis)):
        site.mark_inexact(labels, "sums over values that a cut leaves non-zero", a_axis)


def matmul(site: Site) -> None:
    """Couple the axes of a matrix product."""
    a, b = site.shape(0), site.shape(1)
    a_row, a_col = (len(a) - 2, len(a) - 1) if len(a) > 1 else (None, 0)
    b_row, b_col = (len(b) - 2, len(b) - 1) if len(b) > 1 else (0, None)
    _contract(site, a_col, b_row)
    site.set_role(0, a_col, "column")
    site.set_role(1, b_row, "column")
    out = site.out_shape()
    axes: list[Axis] = []
    zero = []
    tail = (a_row is not None) + (b_col is not None)
    for axis in range(len(out) - tail):
        back = axis - (len(out) - tail)
        places = [
            (i, len(shape) - 2 + back)
            for i, shape in ((0, a), (1, b))
            if len(shape) - 2 + back >= 0 and shape[len(shape) - 2 + back] == out[axis] > 1
        ]
        labels = site.unify_inputs(places)
        if labels is not None and _is_batch_unknown(site, len(out) - tail - axis):
            site.fence(labels, "couples an axis of unknown size", axis)
            labels = None
        axes.append(labels)
        zero.append(labels is not None and any(site.zero(i, k) for i, k in places))
    for i, kept in ((0, a_row), (1, b_col)):
        if kept is not None:
            axes.append(site.axis(i, kept))
            zero.append(site.zero(i, kept))
    site.emit(axes, zero)


def _is_batch_unknown(site: Site, before: int) -> bool:
    """Return whether the size of an operand's batch axis is unknown.

    Args:
        site: The node.
        before: Distance of the batch axis from the matrix axes.
    """
    places = [(i, len(site.shape(i)) - 2 - before) for i in (0, 1)]
    return any(axis >= 0 and site.is_assumed(i, axis) for i, axis in places)


def einsum(site: Site) -> None:
    """Couple all axes with the same letter; a letter that is summed over is contracted."""
    equation = str(site.attrs["equation"]).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    letters = terms.split(",")
    repeats = any(len(set(term)) != len(term) for term in [*letters, result])
    if not arrow or "." in equation or repeats:
        site.fence_all(f"the equation '{equation}' is not understood")
        return
    axes: dict[str, Axis] = {}
    zero: dict[str, bool] = {}
    for letter in dict.fromkeys("".join(letters)):
        places = [(i, term.index(letter)) for i, term in enumerate(letters) if letter in term]
        wide = [place for place in places if site.shape(place[0])[place[1]] > 1]
        labels = site.unify_inputs(wide)
        if labels is not None and any(site.is_assumed(i, k) for i, k in places):
            site.fence(labels, "couples an axis of unknown size")
            labels = None
        axes[letter] = labels
        zero[letter] = any(site.zero(i, k) for i, k in wide)
        summed = letter not in result
        for i, k in wide:
            site.set_role(i, k, "column" if summed else "filter")
        if labels is not None and summed and not zero[letter]:
            site.mark_inexact(labels, "sums over values that a cut leaves non-zero")
    site.emit([axes[c] for c in result], [zero[c] for c in result])


RULES: dict[str, Rule] = {
    "conv": conv,
    "conv_transpose": conv_transpose,
    "deform_conv": deform_conv,
    "einsum": einsum,
    "gemm": gemm,
    "matmul": matmul,
}
RESIZES: dict[str, Resize] = {
    "groups": resize_groups,
}
