"""Evaluate nodes that do not depend on the graph inputs.

::

    %y = Add(float32[1] {1}, float32[1] {2})
    %z = Mul(%x, %y)                             ->  %z = Mul(%x, float32[1] {3})

Constant nodes that become dead are left to ``eliminate-dead-nodes``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, Facts, Model, constant_node_value, in_c_order, infer_facts
from acgraph.ir.fold import evaluate_node
from acgraph.ir.uses import captured_names
from acgraph.operators import is_standard
from acgraph.passmanager.base import Pass, PassContext, PassResult

#: Not folded: the quantised constants are smaller, and backends match the pattern.
_QUANTISED = frozenset(["DequantizeLinear", "QuantizeLinear"])


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace nodes with constant inputs by their results.

    Attributes:
        max_elements: Results of up to this many elements are always stored. Larger ones are stored
            only where they take no more bytes than the constants that they make dead.
        shapes: Also replace Shape and Size of tensors whose sizes do not depend on the input. This
            fixes a declared batch size.
    """

    name: ClassVar[str] = "fold-constants"
    max_elements: int = 1024
    shapes: bool = False

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Fold in one walk in graph order, so that chains of nodes are folded completely."""
        fixed = captured_names(model.graph) | {t.name for t in model.graph.outputs}
        facts = infer_facts(model) if self.shapes else Facts()
        known = dict(model.constants())
        folded: dict[str, gs.Constant] = {}
        kept, remarks = [], []
        for node in model.graph.nodes:
            _replace_inputs(node, folded)
            values = self._evaluate(node, known, facts, model)
            if values is None:
                kept.append(node)
            elif any(t.name in fixed for t in node.outputs):
                kept.append(node)
                remarks.append(_remark(model, node, "an output or a subgraph needs its result"))
            elif not self._is_small(node, values):
                kept.append(node)
                remarks.append(_remark(model, node, f"its result has {_elements(values)} elements"))
            else:
                _store(node, values, known, folded)
                model.originals.pop(node.name, None)
        count = len(model.graph.nodes) - len(kept)
        model.graph.nodes = kept
        return PassResult(
            modified=count > 0, statistics={"folded nodes": count}, remarks=tuple(remarks)
        )

    def _evaluate(
        self, node: gs.Node, known: Mapping[str, Array], facts: Facts, model: Model
    ) -> list[Array] | None:
        if not is_standard(node.domain) or not node.inputs or node.op in _QUANTISED:
            return None
        if node.op in ("Shape", "Size"):
            name = node.outputs[0].name
            is_fixed = name in facts.values and name not in facts.dynamic
            return [facts.values[name]] if is_fixed else None
        names = [t.name for t in node.inputs]
        if any(name and name not in known for name in names):
            return None
        limit = max(self.max_elements, _freed_bytes(node))
        inputs = [known[name] if name else None for name in names]
        values = evaluate_node(node, inputs, model.graph.opset, limit)
        if values is None or len(values) < len(node.outputs):
            return None
        return None if any(v.dtype.kind in "OUS" for v in values) else values

    def _is_small(self, node: gs.Node, values: list[Array]) -> bool:
        """Return whether storing the results does not enlarge the file much."""
        size = sum(value.nbytes for value in values)
        return _elements(values) <= self.max_elements or size <= _freed_bytes(node)


def _elements(values: list[Array]) -> int:
    return sum(value.size for value in values)


def _freed_bytes(node: gs.Node) -> int:
    """Return the bytes of the constants that only this node reads."""
    total = 0
    for tensor in {t.name: t for t in node.inputs if t.name}.values():
        if any(reader is not node for reader in tensor.outputs):
            continue
        if isinstance(tensor, gs.Constant):
            total += tensor.values.nbytes
        elif tensor.inputs and tensor.inputs[0].op == "Constant":
            value = constant_node_value(tensor.inputs[0])
            total += 0 if value is None else value.nbytes
    return total


def _replace_inputs(node: gs.Node, folded: Mapping[str, gs.Constant]) -> None:
    for index, tensor in enumerate(node.inputs):
        if isinstance(tensor, gs.Variable) and tensor.name in folded:
            node.inputs[index] = folded[tensor.name]


def _store(
    node: gs.Node, values: list[Array], known: dict[str, Array], folded: dict[str, gs.Constant]
) -> None:
    for tensor, value in zip(node.outputs, values, strict=False):
        if not tensor.name:
            continue
        known[tensor.name] = value
        folded[tensor.name] = gs.Constant(tensor.name, in_c_order(value))
    node.inputs.clear()
    node.outputs.clear()


def _remark(model: Model, node: gs.Node, reason: str) -> Diagnostic:
    return Diagnostic(message=f"not folded: {reason}", location=model.location(node))
