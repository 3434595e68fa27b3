"""Fence axes whose size enters a computation that a cut would change.

A cut rewrites the shape inputs of nodes, and replaces values that are the same for all inputs by
constants. Other values are computed from sizes while the model runs. Here each of them is evaluated
again with other sizes of the axes that can be cut. Where the value differs and is used for anything
but a shape, these axes are fenced.
"""

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.walk import Walk
from acgraph.diagnostics import Diagnostic
from acgraph.ir import FLOAT_TYPES
from acgraph.ir.fold import evaluate_node
from acgraph.operators import Role, inputs_with

#: Change of a size that can be cut: a large prime, so that dependent values change.
_SHIFT = 1009
#: Inputs that a cut rewrites.
_REWRITTEN = inputs_with(Role.SIZES)


def note_sizes(walk: Walk, node: gs.Node) -> None:
    """Evaluate a node that computes with sizes, at changed sizes."""
    if node.op in ("Shape", "Size"):
        _note_measure(walk, node)
        return
    names = [t.name for t in node.inputs]
    sources = frozenset().union(*(walk.probes[n][1] for n in names if n in walk.probes))
    if not sources:
        return
    arrays = []
    for name in names:
        known = walk.probes[name][0] if name in walk.probes else walk.facts.values.get(name)
        if name and known is None:
            return  # the value is unknown, so its consumers are checked instead
        arrays.append(known if name else None)
    values = evaluate_node(node, arrays, int(walk.model.graph.opset), 1 << 16)
    for tensor, value in zip(node.outputs, values or [], strict=False):
        if not tensor.name or np.array_equal(
            value, walk.facts.values.get(tensor.name, np.empty(0))
        ):
            continue
        walk.probes[tensor.name] = (value, sources)
        is_float = walk.facts.dtypes.get(tensor.name) in FLOAT_TYPES
        if is_float and tensor.name in walk.facts.dynamic:
            _fence_sources(walk, tensor.name, node)


def _note_measure(walk: Walk, node: gs.Node) -> None:
    name = node.inputs[0].name
    found = walk.tensors.get(name)
    shape = walk.facts.shapes.get(name)
    if found is None or shape is None:
        return
    shifted = [
        size + _SHIFT if isinstance(axis, np.ndarray) else size
        for size, axis in zip(shape, found.axes, strict=True)
    ]
    start, end = int(node.attrs.get("start", 0)), node.attrs.get("end")
    picked = tuple(shifted[start:end])
    if node.op == "Size":
        picked, shape, start, end = (int(np.prod(shifted)),), (int(np.prod(shape)),), 0, None
    if picked != tuple(shape[start:end]):
        value = np.array(picked, np.int64)
        scalar = value.reshape(()) if node.op == "Size" else value
        walk.probes[node.outputs[0].name] = (scalar, frozenset([name]))


def check_sizes(walk: Walk, node: gs.Node, captured: list[str]) -> None:
    """Fence the sizes that a node reads, where a cut neither fixes nor rewrites them."""
    for i, tensor in enumerate(node.inputs):
        name = tensor.name
        if name in walk.probes and not walk.is_static(name) and (node.op, i) not in _REWRITTEN:
            _fence_sources(walk, name, node)
    for name in captured:
        if name in walk.probes:
            _fence_sources(walk, name, node)


def check_outputs(walk: Walk) -> None:
    """Fence the sizes that the model returns."""
    for tensor in walk.model.graph.outputs:
        if tensor.name in walk.probes:
            _fence_sources(walk, tensor.name, None)


def _fence_sources(walk: Walk, name: str, node: gs.Node | None) -> None:
    where = walk.model.location(node, value="" if node is not None else name)
    why = Diagnostic(location=where, message="computes with a size that a cut would change")
    for source in sorted(walk.probes[name][1]):
        for axis in walk.labels_of(source):
            walk.labels.fence(axis, why)
