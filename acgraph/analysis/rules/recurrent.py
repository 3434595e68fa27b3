"""LSTM, GRU and RNN: a hidden unit is a row of every gate and a column of the recurrence."""

import numpy as np

from acgraph.analysis.rules.base import Cut, Resize, Rule
from acgraph.analysis.site import Site

#: Gates stacked on axis 1 of W and R.
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
#: Activations with f(0) = 0.
_ZERO_AT_ZERO = frozenset(
    ["tanh", "relu", "softsign", "elu", "leakyrelu", "thresholdedrelu", "scaledtanh"]
)
_X, _W, _R, _B, _INITIAL_H, _INITIAL_C, _PEEPHOLES = 0, 1, 2, 3, 5, 6, 7


def recurrent(site: Site) -> None:
    """Couple ``W[D, G*H, I]``, ``R[D, G*H, H]``, ``B[D, 2*G*H]`` and the states ``[.., H]``.

    Both directions keep the same hidden units, as they share one ``hidden_size``.
    """
    if not all(site.is_constant(i) for i in (_W, _R, _B) if site.has(i)):
        site.fence_all("a weight is not a constant")
        return
    gates = _GATES[site.node.op]
    hidden = site.labels.fresh(site.shape(_R)[2])
    reads = site.unify_inputs([(_X, 2), (_W, 2)])
    if reads is not None and not (site.zero(_X, 2) or site.zero(_W, 2)):
        site.mark_inexact(reads, "sums over values that a cut leaves non-zero", 2)
    for i, axis, repeats in (
        (_W, 1, gates),
        (_R, 1, gates),
        (_R, 2, 1),
        (_B, 1, 2 * gates),
        (_INITIAL_H, 2, 1),
        (_INITIAL_C, 2, 1),
        (_PEEPHOLES, 1, 3),
    ):
        if site.has(i):
            site.set_axis(i, axis, np.tile(hidden, (repeats, 1)))
    _stop_others(site)
    for i in (_W, _R):
        site.set_role(i, 1, "filter")
        site.set_role(i, 2, "column")
    zero = _stays_zero(site)
    if not zero and not site.zero(_R, 2):
        site.mark_inexact(hidden, "feeds back values that a cut leaves non-zero")
    for j in range(len(site.node.outputs)):
        if site.has_out(j):
            others = len(site.out_shape(j)) - 1
            site.emit([None] * others + [hidden], [False] * others + [zero], j)


def _stop_others(site: Site) -> None:
    cut = {_X: (2,), _W: (1, 2), _R: (1, 2), _B: (1,), _PEEPHOLES: (1,)}
    for i in range(len(site.node.inputs)):
        if site.has(i):
            for axis in range(len(site.shape(i))):
                if axis not in cut.get(i, (2,)):
                    site.stop(i, axis, "runs along the axis")


def _stays_zero(site: Site) -> bool:
    """Return whether a hidden unit with zeroed weights stays zero at all time steps."""
    weights = [(_W, 1), (_R, 1), (_B, 1), (_INITIAL_C, 2), (_PEEPHOLES, 1)]
    if site.node.op == "GRU":
        weights.append((_INITIAL_H, 2))
    if not all(site.zero(i, axis) for i, axis in weights if site.has(i)):
        return False
    names = [str(name).lower() for name in site.attrs.get("activations", [])]
    each = {"LSTM": 3, "GRU": 2, "RNN": 1}[site.node.op]
    # The first activation of an LSTM or GRU belongs to gates, which only scale.
    counted = [n for k, n in enumerate(names) if site.node.op == "RNN" or k % each]
    return all(name in _ZERO_AT_ZERO for name in counted)


def resize_hidden(cut: Cut) -> None:
    """Rewrite ``hidden_size``."""
    keep = cut.keep_in(_R, 2)
    if keep is not None:
        cut.node.attrs["hidden_size"] = int(keep.sum())


RULES: dict[str, Rule] = {
    "recurrent": recurrent,
}
RESIZES: dict[str, Resize] = {
    "hidden_size": resize_hidden,
}
