"""Run the rules over all nodes of a model; nodes without a rule are fenced."""

import logging

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.bake import bake_inputs, bake_outputs
from acgraph.analysis.rules import RULES, Rule
from acgraph.analysis.rules.fenced import fence
from acgraph.analysis.site import Site
from acgraph.analysis.sizes import check_outputs, check_sizes, note_sizes
from acgraph.analysis.walk import Walk
from acgraph.ir import FLOAT_TYPES, Facts, Model, infer_facts
from acgraph.ir.uses import node_captures
from acgraph.operators import CONTROL_ROLES, OPERATORS, find_operator, foreign_fence

log = logging.getLogger(__name__)


def couple(model: Model, facts: Facts | None = None) -> Walk:
    """Propagate labels to every axis of every tensor of a model.

    Args:
        model: The model.
        facts: Facts of the model, where the caller has them.
    """
    facts = facts if facts is not None else infer_facts(model, assume=True)
    kept: frozenset[str] = frozenset()
    while True:
        walk = Walk(model, facts, kept)
        for node in model.graph.nodes:
            if node.op != "Constant" or node.domain:
                _visit(walk, node)
        if not walk.late - kept:
            break
        # A rule relied on zeros in a constant that must not be zeroed (a divisor): start again.
        kept |= walk.late
    check_outputs(walk)
    walk.finish(model.graph.outputs)
    return walk


def _visit(walk: Walk, node: gs.Node) -> None:
    site = Site(walk, node)
    if not site.only_constants:
        walk.live.update(t.name for t in node.inputs if t.name)
    captured = list(node_captures(node, constants=True))
    if captured or any(isinstance(value, gs.Graph) for value in node.attrs.values()):
        check_sizes(walk, node, captured)
        _fence_captured(walk, site, captured)
        return
    operator = find_operator(node.op, node.domain)
    if _is_arithmetic_on_sizes(walk, node):
        _mark_derived(walk, site)
        note_sizes(walk, node)
        return
    check_sizes(walk, node, [])
    if operator is None or not (operator.rule or operator.fence):
        _fence_unknown(site, foreign_fence(node.op, node.domain))
        return
    missing = _missing_shape(walk, node)
    if missing and not operator.fence:
        site.fence_all(f"the shape of '{missing}' is unknown")
        return
    if not site.only_constants:
        bake_inputs(site)
    _fence_computed_sizes(site)
    if operator.fence:
        fence(site, operator.fence)
    else:
        _apply(site, RULES[operator.rule])


def _apply(site: Site, rule: Rule) -> None:
    """Apply a rule to a node; fence the node where the rule fails."""
    walk, node = site.walk, site.node
    try:
        rule(site)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        # The couplings so far only restrict cuts, so fencing the rest keeps cuts exact.
        log.debug("rule of %s failed", node.name, exc_info=True)
        for tensor in node.outputs:
            walk.tensors.pop(tensor.name, None)
            walk.derived.discard(tensor.name)
        site.fence_all(f"the analysis of the operator failed ({type(error).__name__}: {error})")
    lost = [t.name for t in node.outputs if t.name and t.name not in walk.tensors]
    if lost and not site.is_fenced:
        site.fence_all(f"its output '{lost[0]}' is not analysed")


def _fence_computed_sizes(site: Site) -> None:
    """Fence sizes and indices that are computed from data.

    Rules use the values of such inputs, not their labels.
    """
    for i in OPERATORS[site.node.op].places(*CONTROL_ROLES):
        if site.has(i) and site.value(i) is None:
            for axis in range(len(site.shape(i))):
                site.stop(i, axis, "the axis holds sizes or positions")


def _mark_derived(walk: Walk, site: Site) -> None:
    """Mark integer tensors that are computed from constants and too large for the facts."""
    if not site.only_constants or not site.node.inputs:
        return
    walk.derived.update(t.name for t in site.node.outputs if t.name and not walk.is_static(t.name))


def _fence_unknown(site: Site, message: str) -> None:
    if site.only_constants and bake_outputs(site):
        site.fence_all(message)
        return
    if not site.only_constants:
        bake_inputs(site)
    site.fence_all(message)


def _is_arithmetic_on_sizes(walk: Walk, node: gs.Node) -> bool:
    """Return whether a node computes sizes, indices or conditions, which have no channels."""
    kinds = [walk.facts.dtypes.get(t.name) for t in node.outputs if t.name]
    if any(kind is None or kind in FLOAT_TYPES for kind in kinds):
        return _is_known_scalar(walk, node)
    names = [t.name for t in node.inputs if t.name]
    return node.op in ("Shape", "Size") or not any(name in walk.tensors for name in names)


def _is_known_scalar(walk: Walk, node: gs.Node) -> bool:
    """Return whether a node computes known floats from sizes only (the scale of an attention)."""
    if node.op in ("ConstantOfShape", "DequantizeLinear", "Expand"):
        return False  # two of them have rules that cut their shapes, and the other is fenced
    outputs = [t.name for t in node.outputs if t.name]
    if not all(name in walk.facts.values for name in outputs):
        return False
    return not any(
        walk.facts.dtypes.get(t.name) in FLOAT_TYPES
        and (walk.is_stored(t) or t.name in walk.tensors)
        and int(np.prod(walk.facts.shapes.get(t.name, ()))) > 1
        for t in node.inputs
    )


def _missing_shape(walk: Walk, node: gs.Node) -> str:
    for tensor in [*node.inputs, *node.outputs]:
        if tensor.name and tensor.name not in walk.facts.shapes:
            return str(tensor.name)
    return ""


def _fence_captured(walk: Walk, site: Site, names: list[str]) -> None:
    known = find_operator(site.node.op, site.node.domain)
    reason = known.fence if known is not None else ""
    site.fence_all(reason or "its subgraphs are not analysed")
    why = site.why("is read inside a subgraph")
    for name in names:
        found = walk.tensors.get(name)
        use = walk.uses.get(name)
        walk.captured.add(name)
        walk.live.add(name)
        for labels in (found, use.labels if use else None):
            for axis in labels.axes if labels else []:
                if isinstance(axis, np.ndarray):
                    walk.labels.fence(axis, why)
