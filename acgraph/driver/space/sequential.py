"""Refit the layers of a cut network in topological order.

Each layer is fitted to its output in the original network, given the inputs that it receives from
the layers before it, which are already cut and refitted. So it also compensates for their errors,
which would add up if every layer were fitted on the uncut network. After a residual branch, the
target is the sum in the original network.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from acgraph.analysis.layers import Layer, layers
from acgraph.analysis.tail import Affine, Tail, tails
from acgraph.backends.interface import PairedRun
from acgraph.ir import Array, Model
from acgraph.pruning.layer_columns import filter_rows, weight_of_rows
from acgraph.pruning.plan import Bools, zero
from acgraph.pruning.regression import ColumnPart, PairedMoments, fit_matrix

Floats = npt.NDArray[np.float64]

#: A filter is not refitted if its output is scaled by less than this, relative to the others.
MIN_GAIN = 1e-4
#: Largest number of columns that are fitted at once. Wider layers are fitted in parts of the second
#: number of columns, each to the residual that the others leave.
MAX_WIDTH, PART = 4608, 2304


@dataclass(frozen=True, slots=True)
class LayerFit:
    """Error of a refitted layer.

    Attributes:
        name: Name of the layer.
        before: Error of its output with the old weights, as a share of the target's variance.
        after: The same with the new weights.
    """

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Refit:
    """The result of refitting.

    Attributes:
        weights: All weights of the cut network, with removed parts set to zero.
        fits: Errors of the refitted layers, in order.
        left: Cut layers that were not refitted, and why.
        late: Cut layers that were not refitted because the time was over.
    """

    weights: Mapping[str, Array]
    fits: tuple[LayerFit, ...]
    left: Mapping[str, str]
    late: tuple[str, ...] = ()


def refit_in_order(
    run: PairedRun,
    model: Model,
    weights: Mapping[str, Array],
    zeroed: Mapping[str, Bools],
    *,
    start: Mapping[str, Array] | None = None,
    until_s: float | None = None,
) -> Refit:
    """Cut the second network of a paired run, and refit its layers.

    Args:
        run: A paired run before its first node; both networks have these weights.
        model: The network.
        weights: Its trainable weights; other constants have the values of the model.
        zeroed: By constant: True for elements that are zero in the cut network.
        start: Weights of the cut network that layers have unless they are refitted; None for
            ``weights`` with the zeroed elements set to zero.
        until_s: Time of ``time.perf_counter`` after which no further layer is refitted.
    """
    masked = zero(weights, zeroed)
    run.load_weights(masked if start is None else start)
    found = layers(model)
    behind = tails(model, found)
    fixed = model.constants()
    fits, left, late = [], {}, []
    for layer in found:
        if until_s is not None and time.perf_counter() >= until_s:
            late.append(layer.name)
            continue
        reason = _obstacle(layer, found) or (
            "" if run.reaches(layer.name) else "the output of the layer does not depend on the data"
        )
        if reason:
            left[layer.name] = reason
            continue
        own = {name: masked[name] for name in (layer.weight, layer.bias) if name in masked}
        fit = _fit_layer(run, behind[layer.name], weights, fixed, zeroed, own)
        if isinstance(fit, str):
            left[layer.name] = fit
        else:
            fits.append(fit)
    cut = {layer.name for layer in found if layer.weight in zeroed}
    left = {name: reason for name, reason in left.items() if name in cut}
    return Refit(run.weights(), tuple(fits), left, tuple(name for name in late if name in cut))


def _obstacle(layer: Layer, found: list[Layer]) -> str:
    """Return why a layer cannot be refitted; empty if it can."""
    if layer.weight_input != 1 or layer.through:
        return "the weight is not the second input of the layer"
    if layer.group > 1 and layer.op_type != "Conv":
        return "the layer multiplies by several matrices"
    if sum(other.weight == layer.weight for other in found) > 1:
        return "other layers share the weight"
    return ""


def _fit_layer(
    run: PairedRun,
    tail: Tail,
    weights: Mapping[str, Array],
    fixed: Mapping[str, Array],
    zeroed: Mapping[str, Bools],
    masked: Mapping[str, Array],
) -> LayerFit | str:
    """Refit one layer; return its errors, or the reason why it is left unchanged.

    ``masked`` has the constants of the layer that a cut changes, without any fit.
    """
    layer, affine = tail.layer, tail.affine({**fixed, **weights})
    if layer.weight not in weights:
        return "the weight is not trainable"
    own = affine.bias * affine.gain + affine.offset
    is_centred = affine.shift in weights
    gone = _groups(layer, np.broadcast_to(_mask(zeroed, layer.weight), layer.weight_shape))
    before = np.where(gone, 0.0, _groups(layer, weights[layer.weight]).astype(np.float64))
    factor = _rows(layer, affine.gain * tail.alpha)
    least = MIN_GAIN * float(np.median(np.abs(factor)))
    alive = ~gone.all(axis=2) & (np.abs(factor) > least)
    if not alive.any():
        return "all filters of the layer were removed or have no effect"
    fit = _Fit(before * factor[:, :, None], _rows(layer, own).copy(), alive, is_centred=is_centred)
    # If no offset can be changed, the target is the output of the product alone.
    offset = affine.offset - (0.0 if is_centred else own)
    parts = _parts(layer)
    if len(parts) > 1:
        nothing = ColumnPart(0, 0, np.zeros_like(fit.matrices[0]))
        fit.scale_by(run.moments(tail, affine.gain, offset, nothing))
    for start, end in parts:
        part = None if end - start == layer.columns else fit.part(start, end)
        if not fit.take(run.moments(tail, affine.gain, offset, part), start, end):
            return "the layer reads or computes values that are not finite"
    scale = np.where(alive, factor, 1.0)[:, :, None]
    after = np.where(alive[:, :, None], fit.matrices / scale, before)
    changed = {**masked, layer.weight: _like(_whole(layer, after), weights[layer.weight])}
    if is_centred:
        changed[affine.shift] = _shifted(affine, alive, fit.offsets, own, weights, zeroed)
    if not all(np.isfinite(value).all() for value in changed.values()):
        return "the fitted weights would not be finite"
    run.load_weights(changed)
    return LayerFit(layer.name, float(fit.before[alive].mean()), float(fit.missed[alive].mean()))


def _parts(layer: Layer) -> list[tuple[int, int]]:
    """Split the columns of a layer so that the moments of each part fit into memory."""
    if layer.group > 1 or layer.columns <= MAX_WIDTH:
        return [(0, layer.columns)]
    count = -(-layer.columns // PART)
    edges = [layer.columns * number // count for number in range(count + 1)]
    return list(pairwise(edges))


class _Fit:
    """The matrices of a layer during its fit, multiplied by the scale of its output."""

    def __init__(
        self, matrices: Floats, offsets: Floats, alive: Bools, *, is_centred: bool
    ) -> None:
        self.matrices, self.offsets = matrices.copy(), offsets
        self.before, self.missed = np.zeros(alive.shape), np.zeros(alive.shape)
        self._old, self._alive, self._is_centred = matrices, alive, is_centred
        self._spread: Floats | None = None

    def scale_by(self, measured: PairedMoments) -> None:
        """Use the variance of these targets as the unit of errors, not that of later residuals."""
        sums = measured.fit if measured.held is None else measured.held
        each = sums[0] if self._is_centred else sums[0].about_zero()
        self._spread = np.maximum(each.spread, np.finfo(np.float64).tiny)

    def part(self, start: int, end: int) -> ColumnPart:
        """Return some of the columns, to be fitted while the others keep their current values."""
        rest = self.matrices[0].copy()
        rest[:, start:end] = 0.0
        return ColumnPart(start, end, rest)

    def take(self, measured: PairedMoments, start: int, end: int) -> bool:
        """Fit some of the columns; return whether all moments were finite."""
        for group, rows in enumerate(self._alive):
            fit, held = measured.fit[group], None if measured.held is None else measured.held[group]
            if not fit.is_finite or (held is not None and not held.is_finite):
                return False
            if not rows.any():
                continue
            old = self._old[group][:, start:end]
            kept = (np.abs(old[rows]) > 0).any(axis=0)
            found = fit_matrix(fit, held, old, kept, centred=self._is_centred)
            self.matrices[group][rows, start:end] = found.matrix[rows]
            if self._is_centred:
                self.offsets[group][rows] = found.offset[rows]
            spread = found.spread if self._spread is None else self._spread
            if start == 0:
                self.before[group] = found.before / spread
            self.missed[group] = found.error / spread
        return True


def _shifted(
    affine: Affine,
    alive: Bools,
    offset: Floats,
    own: Floats,
    weights: Mapping[str, Array],
    zeroed: Mapping[str, Bools],
) -> Array:
    """Return the constant that the new offsets are added to."""
    old = weights[affine.shift]
    change = np.where(alive.reshape(-1), offset.reshape(-1) - own, 0.0)
    change /= np.where(affine.after == 0, 1.0, affine.after)
    moved = old.astype(np.float64) + change.reshape(old.shape)
    return _like(np.where(_mask(zeroed, affine.shift), 0.0, moved), old)


def _mask(zeroed: Mapping[str, Bools], name: str) -> Bools:
    return zeroed.get(name, np.zeros((), np.bool_))


def _groups(layer: Layer, value: Array) -> Array:
    """View a weight as ``[groups, filters, columns]``."""
    return filter_rows(layer, value).reshape(layer.group, -1, layer.columns)


def _rows(layer: Layer, value: Floats) -> Floats:
    return value.reshape(layer.group, -1)


def _whole(layer: Layer, groups: Floats) -> Floats:
    """Join the matrices of the groups in the memory layout of the weight."""
    shape = np.empty(layer.weight_shape)
    return np.asarray(weight_of_rows(layer, groups.reshape(-1, layer.columns), shape))


def _like(value: Floats, old: Array) -> Array:
    return np.asarray(value.astype(old.dtype))
