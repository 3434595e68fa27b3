"""Tensors that are computed from constants only: a standardised weight, a bias by index.

Most of them carry their labels through (a Transpose of a weight). Where one depends on an axis as a
whole (a mean over the columns of a weight), or is made by an operator without a rule, cutting the
constant behind it would change all of it. There the chain is broken: the tensor gets axes of its
own, and a cut of them replaces it by an initializer of its values in the dense model, cut.
"""

import logging

import numpy as np

from acgraph.analysis.site import Site
from acgraph.analysis.walk import FREE, Walk
from acgraph.ir import Array
from acgraph.ir.fold import evaluate_node

log = logging.getLogger(__name__)

#: A baked value may be this many times larger than the constants behind it, and no larger.
MAX_GROWTH = 2
#: Values of up to this many elements may be baked whatever they grow from.
SMALL_ELEMENTS = 1 << 12
_NO_LIMIT = 1 << 62


def settle_inputs(site: Site) -> None:
    """Before a node reads derived tensors together with activations: break frozen axes off."""
    walk = site.walk
    for tensor in site.node.inputs:
        name = tensor.name
        if name not in walk.derived or name not in walk.tensors or name in walk.settled:
            continue
        walk.settled.add(name)
        if walk.labels.frozen:
            _break_frozen(walk, name)


def _break_frozen(walk: Walk, name: str) -> None:
    found = walk.tensors[name]
    broken = [
        position
        for position, axis in enumerate(found.axes)
        if isinstance(axis, np.ndarray) and walk.labels.is_frozen(axis)
    ]
    if not broken:
        return
    value = derived_value(walk, name)
    if value is None:
        return  # the frozen labels stay on it, and are fenced at the end
    old = walk.baked[name][1] if name in walk.baked else frozenset[int]()
    walk.baked[name] = (value, old | set(broken))
    for position in broken:
        found.axes[position] = FREE
        found.zero[position] = False


def bake_outputs(site: Site) -> bool:
    """Evaluate a node on constants that no rule follows; False where that cannot be done."""
    walk = site.walk
    values = {}
    for j, tensor in enumerate(site.node.outputs):
        if not tensor.name:
            continue
        value = derived_value(walk, tensor.name)
        if value is None:
            return False
        values[j] = value
    for j, value in values.items():
        site.emit_free(j)
        walk.baked[site.node.outputs[j].name] = (value, frozenset(range(value.ndim)))
    return bool(values)


def derived_value(walk: Walk, name: str) -> Array | None:
    """Evaluate a tensor that depends on constants only; None where it cannot be or has grown."""
    tensors = walk.graph_tensors
    known: dict[str, Array] = {}
    read: dict[str, int] = {}
    pending = [name]
    while pending:
        current = pending[-1]
        if current in known:
            pending.pop()
            continue
        tensor = tensors[current]
        if walk.is_stored(tensor):
            value = walk.constant_nodes.get(current)
            known[current] = tensor.values if value is None else value
            read[current] = known[current].size
            continue
        if walk.is_static(current):
            known[current] = walk.facts.values[current]
            continue
        if not tensor.inputs:
            return None
        node = tensor.inputs[0]
        missing = [t.name for t in node.inputs if t.name and t.name not in known]
        if missing:
            pending.extend(missing)
            continue
        arrays = [known[t.name] if t.name else None for t in node.inputs]
        outputs = evaluate_node(node, arrays, int(walk.model.graph.opset), _NO_LIMIT)
        if outputs is None:
            log.debug("%s cannot be evaluated", node.name)
            return None
        known.update({t.name: x for t, x in zip(node.outputs, outputs, strict=False) if t.name})
    value = known[name]
    grown = value.size > max(SMALL_ELEMENTS, MAX_GROWTH * sum(read.values()))
    return None if grown or not np.isfinite(value).all() else value
