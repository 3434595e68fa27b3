"""Multiply-accumulates of one node, from the shapes of its tensors.

Shapes are looked up by a function, so the same rules apply to a model and to a planned cut of it.
In the second case, sizes are expected values, which need not be integers.

Only multiply-accumulates count: convolutions, matrix products, attention, recurrence. As usual in
the literature, elementwise arithmetic, normalisation and pooling do not.
"""

import math
import re
from collections.abc import Callable, Sequence

import onnx_graphsurgeon as gs

from acgraph.ir import Facts
from acgraph.operators import find_operator, is_standard

#: Returns the shape of a tensor by its name; None where a size of it is unknown.
Shapes = Callable[[str], Sequence[float] | None]
_Rule = Callable[[gs.Node, Shapes], float | None]


def node_macs(node: gs.Node, facts: Facts) -> int | None:
    """Count the multiply-accumulates of a node; None where they are unknown.

    They are unknown for operators of unknown shapes, for operators of custom domains, and for
    control flow around multiply-accumulates, which runs depending on the data.
    """
    found = macs_at(node, known_shapes(facts))
    return None if found is None else round(found)


def macs_at(node: gs.Node, shapes: Shapes) -> float | None:
    """Count the multiply-accumulates of a node at given shapes, whose sizes may be fractions."""
    if not is_standard(node.domain):
        return None
    operator = find_operator(node.op, node.domain)
    if operator is not None and operator.macs:
        return COUNTS[operator.macs](node, shapes)
    return None if _hides_products(node) else 0


def known_shapes(facts: Facts) -> Shapes:
    """Return a lookup of shapes in the facts; shapes with an assumed size count as unknown."""
    return lambda name: None if name in facts.assumed else facts.shapes.get(name)


def _hides_products(node: gs.Node) -> bool:
    graphs = [value for value in node.attrs.values() if isinstance(value, gs.Graph)]
    return any(_may_multiply(inner) for graph in graphs for inner in graph.nodes)


def _may_multiply(node: gs.Node) -> bool:
    operator = find_operator(node.op, node.domain)
    is_counted = operator is not None and operator.is_counted
    return is_counted or not is_standard(node.domain) or _hides_products(node)


def _shape(node: gs.Node, index: int, shapes: Shapes) -> Sequence[float] | None:
    return shapes(node.inputs[index].name) if _has_input(node, index) else None


def _output(node: gs.Node, shapes: Shapes) -> Sequence[float] | None:
    return shapes(node.outputs[0].name)


def _conv(weight: int) -> _Rule:
    def rule(node: gs.Node, shapes: Shapes) -> float | None:
        kernel, out = _shape(node, weight, shapes), _output(node, shapes)
        if kernel is None or out is None:
            return None
        return math.prod(out) * math.prod(kernel[1:])

    return rule


def _conv_transpose(node: gs.Node, shapes: Shapes) -> float | None:
    x, kernel = _shape(node, 0, shapes), _shape(node, 1, shapes)
    if x is None or kernel is None:
        return None
    return math.prod(x) * math.prod(kernel[1:])


def _gemm(node: gs.Node, shapes: Shapes) -> float | None:
    a, out = _shape(node, 0, shapes), _output(node, shapes)
    if a is None or out is None:
        return None
    return math.prod(out) * a[0 if node.attrs.get("transA", 0) else 1]


def _matmul(left: int) -> _Rule:
    def rule(node: gs.Node, shapes: Shapes) -> float | None:
        a, out = _shape(node, left, shapes), _output(node, shapes)
        return None if a is None or out is None else math.prod(out) * a[-1]

    return rule


def _recurrent(node: gs.Node, shapes: Shapes) -> float | None:
    # X [time, batch, in] (either order), W [directions, gates * hidden, in], R likewise.
    x, w, r = (_shape(node, index, shapes) for index in range(3))
    if x is None or w is None or r is None:
        return None
    return x[0] * x[1] * (math.prod(w) + math.prod(r))


def _attention(node: gs.Node, shapes: Shapes) -> float | None:
    """Count Q K^T and P V of ``ai.onnx`` Attention, 3-D or 4-D, including cached keys."""
    q, k, v = (_shape(node, index, shapes) for index in range(3))
    past = _shape(node, 4, shapes)
    if q is None or k is None or v is None or (past is None and _has_input(node, 4)):
        return None
    keys = k[-2] + (past[-2] if past is not None else 0)
    if len(q) == 4:
        features = q[1] * (q[3] + v[3])
    else:
        heads, kv_heads = node.attrs.get("q_num_heads"), node.attrs.get("kv_num_heads")
        if heads is None or kv_heads is None:
            return None
        features = q[2] + v[2] * heads / kv_heads
    return float(q[0] * q[-2] * keys * features)


def _has_input(node: gs.Node, index: int) -> bool:
    return index < len(node.inputs) and bool(node.inputs[index].name)


def _einsum(node: gs.Node, shapes: Shapes) -> float | None:
    """Count pairwise contractions from left to right; a product without a sum is elementwise."""
    found = [_shape(node, index, shapes) for index in range(len(node.inputs))]
    equation = str(node.attrs["equation"]).replace(" ", "")
    left, _, right = equation.partition("->")
    terms = left.split(",")
    sizes: dict[str, float] = {}
    expanded = []
    for term, shape in zip(terms, found, strict=True):
        if shape is None:
            return None
        letters = _letters(term, len(shape))
        expanded.append(letters)
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    if "->" in equation:
        kept = set(re.findall("[A-Za-z]", right))
        kept |= {letter for letter in sizes if letter.isdigit() and "..." in right}
    else:
        kept = {letter for letter in sizes if left.count(letter) == 1 or letter.isdigit()}
    return _contract(expanded, kept, sizes)


def _contract(terms: list[list[str]], kept: set[str], sizes: dict[str, float]) -> float:
    total = 0.0
    current = set(terms[0])
    for index, term in enumerate(terms[1:], start=1):
        together = current | set(term)
        needed = kept.union(*terms[index + 1 :])
        if together - needed:
            total += math.prod(sizes[letter] for letter in together)
        current = together & needed
    return total


def _letters(term: str, rank: int) -> list[str]:
    """Return a name for each axis of an operand; an ellipsis is numbered from the right."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    return [*before, *(str(number) for number in range(hidden - 1, -1, -1)), *after]


#: Counts a node, by the name in the table of operators.
COUNTS: dict[str, _Rule] = {
    "attention": _attention,
    "conv": _conv(1),
    "conv_transpose": _conv_transpose,
    "einsum": _einsum,
    "gemm": _gemm,
    "matmul": _matmul(0),
    "quantised_conv": _conv(3),
    "recurrent": _recurrent,
}
