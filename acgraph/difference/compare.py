"""Find the differences of two models."""

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.cost import model_cost
from acgraph.analysis.layers import layers
from acgraph.difference.attributes import find_attributes
from acgraph.difference.lowered import find_lowered
from acgraph.difference.match import Matching, match_nodes
from acgraph.difference.node_costs import node_costs
from acgraph.difference.rewired import NodePair, find_moved_outputs, find_rewired
from acgraph.difference.types import (
    ConstantChange,
    GraphDiff,
    NodeRef,
    Renamed,
    Resized,
    Retyped,
    ValueChange,
)
from acgraph.ir import Array, Model, array_bytes, infer_facts


def diff_models(first: Model, second: Model) -> GraphDiff:
    """Compare two models; the order of nodes and the names of tensors do not count."""
    matching = match_nodes(first, second)
    theirs = {node.name: node for node in second.graph.nodes}
    pairs = [
        (node, theirs[matching.pairs[node.name]])
        for node in first.graph.nodes
        if node.name in matching.pairs
    ]
    removed = [n for n in first.graph.nodes if n.name not in matching.pairs]
    added = [n for n in second.graph.nodes if n.name not in matching.inverse]
    lowered = find_lowered(first, second, matching)
    facts = infer_facts(first, assume=True), infer_facts(second, assume=True)
    lowered_names = {change.name for change in lowered.changes}
    return GraphDiff(
        added=tuple(_ref(n) for n in added if n.name not in lowered.layer_of),
        removed=tuple(_ref(n) for n in removed if n.name not in lowered_names),
        renamed=tuple(
            Renamed(before=a.name, after=b.name, op_type=b.op) for a, b in pairs if a.name != b.name
        ),
        retyped=tuple(
            Retyped(name=a.name, before=a.op, after=b.op) for a, b in pairs if a.op != b.op
        ),
        resized=tuple(_resized(first, second, matching)),
        lowered=lowered.changes,
        rewired=tuple(find_rewired(pairs, matching, lowered)),
        attributes=tuple(find_attributes(first, second, pairs, matching)),
        constants=tuple(_constants(pairs)),
        properties=(
            *_properties(first, second),
            *find_moved_outputs(first, second, matching, lowered),
        ),
        cost_before=model_cost(first, facts=facts[0]),
        cost_after=model_cost(second, facts=facts[1]),
        node_costs=tuple(node_costs(first, second, matching, lowered, facts)),
    )


def _ref(node: gs.Node) -> NodeRef:
    return NodeRef(name=node.name, op_type=node.op)


def _resized(first: Model, second: Model, matching: Matching) -> Iterator[Resized]:
    theirs = {layer.name: layer for layer in layers(second)}
    for layer in layers(first):
        other = theirs.get(matching.pairs.get(layer.name, ""))
        if other is None:
            continue
        filters, columns = (layer.filters, other.filters), (layer.columns, other.columns)
        if filters[0] != filters[1] or columns[0] != columns[1]:
            yield Resized(name=layer.name, op_type=layer.op_type, filters=filters, columns=columns)


def _constants(pairs: list[NodePair]) -> Iterator[ConstantChange]:
    seen: set[tuple[str, str]] = set()
    for a, b in pairs:
        for ours, theirs in zip(a.inputs, b.inputs, strict=False):
            key = (ours.name, theirs.name)
            both = isinstance(ours, gs.Constant) and isinstance(theirs, gs.Constant)
            if not both or key in seen:
                continue
            seen.add(key)
            change = _constant(a.name, ours, theirs)
            if change is not None:
                yield change


def _constant(node: str, ours: gs.Constant, theirs: gs.Constant) -> ConstantChange | None:
    before, after = np.asarray(ours.values), np.asarray(theirs.values)
    is_same = before.shape == after.shape and before.dtype == after.dtype
    if is_same and array_bytes(before) == array_bytes(after):
        return None
    distance, not_finite = _distance(before, after)
    return ConstantChange(
        name=ours.name,
        node=node,
        shape=(before.shape, after.shape),
        dtype=(str(before.dtype), str(after.dtype)),
        max_abs_diff=distance,
        not_finite=not_finite,
    )


def _distance(before: Array, after: Array) -> tuple[float | None, int]:
    """Return the largest finite change of a value, and the number of non-finite changes."""
    if before.shape != after.shape or {before.dtype.kind, after.dtype.kind} - set("biuf"):
        return None, 0
    ours, theirs = (np.atleast_1d(x).astype(np.float64) for x in (before, after))
    with np.errstate(invalid="ignore"):
        gap = np.abs(ours - theirs)
    gap[(ours == theirs) | (np.isnan(ours) & np.isnan(theirs))] = 0.0
    finite = np.isfinite(gap)
    return float(gap[finite].max(initial=0.0)), int(np.count_nonzero(~finite))


def _properties(first: Model, second: Model) -> Iterator[ValueChange]:
    opsets = [_opsets(model) for model in (first, second)]
    yield from _dictionaries("opset", *opsets)
    for kind in ("inputs", "outputs"):
        described = [_interface(model, kind) for model in (first, second)]
        yield from _dictionaries(kind[:-1], *described)
        order = [", ".join(names) for names in described]
        if set(described[0]) == set(described[1]) and order[0] != order[1]:
            yield ValueChange(kind=kind, name="order", before=order[0], after=order[1])
    yield from _dictionaries("metadata", first.metadata, second.metadata)


def _opsets(model: Model) -> dict[str, str]:
    found = {entry.domain or "ai.onnx": str(entry.version) for entry in _imports(model)}
    return {**found, "ai.onnx": str(model.graph.opset)}


def _imports(model: Model) -> list[gs.Graph]:
    return list(model.graph.import_domains or [])


def _interface(model: Model, kind: str) -> dict[str, str]:
    tensors = getattr(model.graph, kind)
    facts = infer_facts(model) if any(t.shape is None for t in tensors) else None
    return {t.name: _signature(t, facts.shapes.get(t.name) if facts else None) for t in tensors}


def _signature(tensor: gs.Tensor, inferred: tuple[int, ...] | None) -> str:
    shape = tensor.shape if tensor.shape is not None else inferred
    kind = tensor.dtype if isinstance(tensor.dtype, int) else np.dtype(tensor.dtype or "f4").name
    return f"{kind}{'' if shape is None else list(shape)}"


def _dictionaries(
    kind: str, before: dict[str, str], after: dict[str, str]
) -> Iterator[ValueChange]:
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield ValueChange(kind=kind, name=name, before=before.get(name), after=after.get(name))
