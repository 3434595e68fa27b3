"""Recognise activations that are exported as several nodes, and run each as one kernel.

Older opsets have no operator for these activations, and one kernel is several times faster than
the elementwise kernels of the pattern::

    Mul(Mul(x, Add(Erf(Div(x, 1.4142)), 1)), 0.5)  ->  Gelu(x)
    Mul(x, Sigmoid(x))                             ->  Swish(x)
    Mul(x, HardSigmoid(x))                         ->  HardSwish(x)
"""

import math
from collections.abc import Collection, Iterator

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Model
from acgraph.ir.constants import resolved_constant

_GATES = {"Sigmoid": "Swish", "HardSigmoid": "HardSwish"}


def recognise_activations(model: Model) -> int:
    """Replace the patterns in place by one node each; return the number of replacements.

    The result keeps its name. A pattern is not replaced if another node, or an output of the graph,
    uses one of its intermediate tensors.
    """
    outputs = {tensor.name for tensor in model.graph.outputs}
    gone: set[int] = set()
    count = 0
    for node in list(model.graph.nodes):
        found = _gated(node, outputs) or _gelu(node, outputs)
        if found is None:
            continue
        op, source, inner, last = found
        last.op, last.inputs = op, [source]
        last.attrs.clear()
        gone.update(id(member) for member in inner)
        for member in inner:
            member.inputs.clear()
            member.outputs.clear()
        count += 1
    if gone:
        model.graph.nodes = [node for node in model.graph.nodes if id(node) not in gone]
    return count


_Found = tuple[str, gs.Tensor, list[gs.Node], gs.Node]


def _gated(gate: gs.Node, outputs: Collection[str]) -> _Found | None:
    """Match ``Mul(x, gate(x))``."""
    op = _GATES.get(gate.op)
    if op is None or (op == "HardSwish" and not _is_hard_swish(gate)):
        return None
    product = _only_reader(gate, outputs)
    source = gate.inputs[0]
    if product is None or product.op != "Mul":
        return None
    if _other(product, gate.outputs[0]) is not source:
        return None
    return op, source, [gate], product


def _is_hard_swish(gate: gs.Node) -> bool:
    alpha, beta = float(gate.attrs.get("alpha", 0.2)), float(gate.attrs.get("beta", 0.5))
    return math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5


def _gelu(erf: gs.Node, outputs: Collection[str]) -> _Found | None:
    """Match the exact GELU, given its Erf node, in the orders that exporters use."""
    if erf.op != "Erf" or len(erf.inputs[0].inputs) != 1:
        return None
    scaled: gs.Node = erf.inputs[0].inputs[0]
    source = _scaled_source(scaled)
    plus = _only_reader(erf, outputs)
    reader = _only_reader(scaled, outputs)
    if source is None or plus is None or reader is None or reader.name != erf.name:
        return None
    if plus.op != "Add" or not _is_number(_other(plus, erf.outputs[0]), 1.0):
        return None
    for inner, last in _halves(source, plus, outputs):
        return "Gelu", source, [scaled, erf, plus, *inner], last
    return None


def _scaled_source(node: gs.Node) -> gs.Tensor | None:
    """Return x of ``x / sqrt(2)``."""
    if node.op == "Div" and _is_number(node.inputs[1], math.sqrt(2)):
        return node.inputs[0]
    if node.op == "Mul":
        for i in (0, 1):
            if _is_number(node.inputs[i], math.sqrt(0.5)):
                return node.inputs[1 - i]
    return None


def _halves(
    source: gs.Tensor, plus: gs.Node, outputs: Collection[str]
) -> Iterator[tuple[list[gs.Node], gs.Node]]:
    """Yield the inner nodes and the last node of ``0.5 * x * (1 + erf)`` in three orders."""
    product = _only_reader(plus, outputs)
    if product is None or product.op != "Mul":
        return
    other = _other(product, plus.outputs[0])
    if other is source or _is_number(other, 0.5):
        last = _only_reader(product, outputs)
        if last is None or last.op != "Mul":
            return
        rest = _other(last, product.outputs[0])
        if (other is source and _is_number(rest, 0.5)) or (other is not source and rest is source):
            yield [product], last
        return
    if len(other.inputs) == 1 and other.inputs[0].op == "Mul":
        half: gs.Node = other.inputs[0]
        halved = [i for i in (0, 1) if half.inputs[i] is source]
        is_half = bool(halved) and _is_number(half.inputs[1 - halved[0]], 0.5)
        if is_half and _only_reader(half, outputs) is product:
            yield [half], product


def _only_reader(node: gs.Node, outputs: Collection[str]) -> gs.Node | None:
    """Return the only reader of a node's only output; None if there are others."""
    tensor = node.outputs[0]
    if len(node.outputs) != 1 or tensor.name in outputs or len(tensor.outputs) != 1:
        return None
    reader: gs.Node = tensor.outputs[0]
    return reader if sum(t is tensor for t in reader.inputs) == 1 else None


def _other(node: gs.Node, tensor: gs.Tensor) -> gs.Tensor:
    """Return the other input of a node with two inputs."""
    return node.inputs[1] if node.inputs[0] is tensor else node.inputs[0]


def _is_number(tensor: gs.Tensor, number: float) -> bool:
    value = resolved_constant(tensor)
    if value is None or value.size != 1 or value.ndim > 1:
        return False
    if not np.issubdtype(value.dtype, np.floating):
        return False
    return math.isclose(float(value.reshape(-1)[0].item()), number, rel_tol=1e-6)
