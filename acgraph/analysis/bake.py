"""Tensors that are computed from constants only, such as a standardised weight.

Most of them get their labels from the constants (a Transpose of a weight). Where a tensor depends
on an axis as a whole (a mean over the columns of a weight), or its operator has no rule, cutting
the constant would change all values of the tensor. Such a tensor gets new labels. A cut replaces it
by an initializer with its values in the dense model, without the cut positions ("baked").
"""

import logging

import numpy as np

from acgraph.analysis.site import Site
from acgraph.analysis.walk import FREE, Walk
from acgraph.ir import Array
from acgraph.ir.fold import evaluate_node

log = logging.getLogger(__name__)

#: A baked value may have at most this many times the elements of the constants behind it.
MAX_GROWTH = 2
#: Values of up to this many elements may always be baked.
SMALL_ELEMENTS = 1 << 12
_NO_LIMIT = 1 << 62


def bake_inputs(site: Site) -> None:
    """Give new labels to frozen axes of the derived tensors that a node reads with activations."""
    walk = site.walk
    for tensor in site.node.inputs:
        name = tensor.name
        if name not in walk.derived or name not in walk.tensors or name in walk.resolved:
            continue
        walk.resolved.add(name)
        if walk.labels.frozen:
            _bake_frozen_axes(walk, name)


def _bake_frozen_axes(walk: Walk, name: str) -> None:
    found = walk.tensors[name]
    frozen = [
        position
        for position, axis in enumerate(found.axes)
        if isinstance(axis, np.ndarray) and walk.labels.is_frozen(axis)
    ]
    if not frozen:
        return
    value = derived_value(walk, name)
    if value is None:
        return  # the frozen labels are fenced at the end of the walk
    old = walk.baked[name][1] if name in walk.baked else frozenset[int]()
    walk.baked[name] = (value, old | set(frozen))
    for position in frozen:
        found.axes[position] = FREE
        found.zero[position] = False


def bake_outputs(site: Site) -> bool:
    """Bake the outputs of a node with constant inputs and no rule; return whether it succeeded."""
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
    """Return the value of a tensor computed from constants; None where unknown or too large."""
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
