"""Remove nodes without an effect on the outputs: dead nodes and no-ops.

::

    %a = Relu(%x)
    %b = Identity(%a)    ->    %b = Relu(%x)
    %c = Neg(%a)               output %b
    output %b
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.diagnostics import Diagnostic
from acgraph.ir import Facts, Model, infer_facts
from acgraph.ir.shapes import is_static
from acgraph.ir.uses import captured_names, node_captures
from acgraph.operators import is_standard
from acgraph.passmanager.base import Pass, PassContext, PassResult


@dataclass(frozen=True, slots=True)
class _View:
    """The facts that decide whether a node is a no-op."""

    facts: Facts
    static: bool
    opset: int

    def value(self, node: gs.Node, index: int) -> np.ndarray | None:
        """Return the value of an input that is the same for every run and size; else None."""
        name = node.inputs[index].name if index < len(node.inputs) else ""
        return None if name in self.facts.dynamic else self.facts.values.get(name)

    def has(self, node: gs.Node, index: int) -> bool:
        """Return whether an optional input is present."""
        return index < len(node.inputs) and bool(node.inputs[index].name)


@dataclass(frozen=True)
class EliminateDeadNodes(Pass):
    """Remove dead nodes, and nodes whose output equals their input.

    Attributes:
        no_ops: Remove Identity, Dropout in inference mode, and Cast, Pad, Reshape and Transpose
            that change nothing. Without this option, only dead nodes are removed.
    """

    name: ClassVar[str] = "eliminate-dead-nodes"
    no_ops: bool = True

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Remove no-ops first: the producers of their other inputs may be dead afterwards."""
        bypassed, remarks = _bypass_no_ops(model) if self.no_ops else (0, [])
        unread = remove_unread(model)
        return PassResult(
            modified=bypassed + unread > 0,
            statistics={"no-ops removed": bypassed, "unread nodes removed": unread},
            remarks=tuple(remarks),
        )


def _bypass_no_ops(model: Model) -> tuple[int, list[Diagnostic]]:
    view = _View(infer_facts(model), is_static(model), model.graph.opset)
    captured = captured_names(model.graph)
    kept, remarks = [], []
    for node in model.graph.nodes:
        if not _is_no_op(node, view):
            kept.append(node)
            continue
        reason = _bypass(node, model.graph, captured)
        if reason:
            kept.append(node)
            remarks.append(Diagnostic(message=f"kept: {reason}", location=model.location(node)))
        else:
            model.originals.pop(node.name, None)
    count = len(model.graph.nodes) - len(kept)
    model.graph.nodes = kept
    return count, remarks


def _is_no_op(node: gs.Node, view: _View) -> bool:
    rule = _RULES.get(node.op)
    return rule is not None and is_standard(node.domain) and rule(node, view)


def _dropout(node: gs.Node, view: _View) -> bool:
    if any(t.outputs for t in node.outputs[1:]):
        return False  # the mask is read
    if view.opset < 7:
        return bool(node.attrs.get("is_test", 0))
    training = view.value(node, 2)
    return not view.has(node, 2) or (training is not None and not training.any())


def _cast(node: gs.Node, view: _View) -> bool:
    before, after = (view.facts.dtypes.get(t.name) for t in (node.inputs[0], node.outputs[0]))
    return before is not None and before == after


def _pad(node: gs.Node, view: _View) -> bool:
    if "pads" in node.attrs or "paddings" in node.attrs:
        return not any(node.attrs.get("pads", node.attrs.get("paddings")))
    pads = view.value(node, 1)
    return pads is not None and not pads.any()


def _reshape(node: gs.Node, view: _View) -> bool:
    before, after = (view.facts.shapes.get(t.name) for t in (node.inputs[0], node.outputs[0]))
    if before is None or after is None:
        return False
    if view.static:
        return before == after
    target = view.value(node, 1)
    if target is None or node.attrs.get("allowzero", 0) or target.size != len(before):
        return False
    # All sizes but at most one are copied from the input, so the inferred one is equal, too.
    return int((target == 0).sum()) >= target.size - 1 and bool((target <= 0).all())


def _transpose(node: gs.Node, view: _View) -> bool:
    perm = node.attrs.get("perm")
    if perm is None:
        return len(view.facts.shapes.get(node.inputs[0].name, (0, 0))) < 2
    return list(perm) == list(range(len(perm)))


_RULES: Mapping[str, Callable[[gs.Node, _View], bool]] = MappingProxyType(
    {
        "Cast": _cast,
        "Dropout": _dropout,
        "Identity": lambda node, view: True,
        "Pad": _pad,
        "Reshape": _reshape,
        "Transpose": _transpose,
    }
)


def _bypass(node: gs.Node, graph: gs.Graph, captured: frozenset[str]) -> str:
    """Remove a no-op and connect its consumers to its input; or return why it must stay."""
    source, result = node.inputs[0], node.outputs[0]
    if result.name in captured:
        return "a subgraph reads its result by name"
    if not any(t is result for t in graph.outputs):
        _redirect(result, source)
        _detach(node)
        return ""
    if not source.inputs:
        return "it connects a graph input or a constant to a graph output"
    if source.name in captured:
        return "a subgraph reads its input by name"
    if any(t is source for t in graph.outputs):
        return "its input and its output are both graph outputs"
    producer = source.inputs[0]
    slot = next(i for i, t in enumerate(producer.outputs) if t is source)
    _detach(node)
    _redirect(source, result)
    producer.outputs[slot] = result
    return ""


def _redirect(old: gs.Tensor, new: gs.Tensor) -> None:
    for reader in list(old.outputs):
        for index, tensor in enumerate(reader.inputs):
            if tensor is old:
                reader.inputs[index] = new


def _detach(node: gs.Node) -> None:
    node.inputs.clear()
    node.outputs.clear()


def remove_unread(model: Model) -> int:
    """Remove the nodes that no output of the graph depends on, in place; return how many."""
    needed = {t.name for t in model.graph.outputs}
    kept = []
    for node in reversed(model.graph.nodes):
        if any(t.name in needed for t in node.outputs if t.name):
            needed.update(t.name for t in node.inputs)
            needed.update(node_captures(node))
            kept.append(node)
        else:
            _detach(node)
            model.originals.pop(node.name, None)
    count = len(model.graph.nodes) - len(kept)
    model.graph.nodes = kept[::-1]
    return count
