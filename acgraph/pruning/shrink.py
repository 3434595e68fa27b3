"""Delete what a plan removes: tensors, size constants, group counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.labels import Ints
from acgraph.analysis.rules import RESIZES, Keep
from acgraph.errors import PassError
from acgraph.ir import (
    Array,
    Facts,
    Model,
    clone_model,
    replace_constants,
)
from acgraph.ir.deferred import change_constants
from acgraph.operators import find_operator
from acgraph.pruning.cut import NodeCut, Patches
from acgraph.pruning.plan import Plan, kept_positions, zeroed_parts
from acgraph.pruning.precompute import precompute
from acgraph.pruning.tie import merge_equal

_Kept = Mapping[str, Mapping[int, Keep]]
_Baked = Mapping[str, tuple[Array, frozenset[int]]]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A shrunk model, and the kept indices of its constants.

    Attributes:
        model: The model without the removed positions.
        kept: By constant and axis: ``int64``, the kept indices of the dense constant.
    """

    model: Model
    kept: dict[str, dict[int, Ints]]


def shrink(dependency: DependencyGraph, plan: Plan) -> Shrunk:
    """Delete the coupled sets of a plan from a copy of the model; zero its columns.

    Raises:
        PassError: The plan would remove all positions of an axis.
    """
    kept = kept_positions(dependency, plan)
    for name, axes in kept.items():
        for axis, keep in axes.items():
            if not keep.any():
                raise PassError(
                    "the plan would remove all positions of the axis",
                    location=dependency.model.location(value=name, axis=axis),
                )
    model = clone_model(dependency.model)
    _zero_columns(model, plan)
    affected = _affected_sizes(model, dependency.facts, kept)
    nodes: list[gs.Node] = []
    pins: dict[str, gs.Constant] = {}
    patches: Patches = {}
    taken = {node.name for node in model.graph.nodes} | set(model.graph.tensors())
    for node in list(model.graph.nodes):
        cut = NodeCut(model, node, dependency.facts, kept, pins, patches, taken)
        _cut_node(cut, affected, dependency.baked)
        nodes.extend([*cut.before, node, *cut.after])
    model.graph.nodes.clear()
    model.graph.nodes.extend(nodes)
    stored = _cut_constants(model, kept)
    _forget_shapes(model, kept)
    merge_equal(model, _tables(model, dependency) - set(stored))
    if kept:
        precompute(model)
    model.graph.cleanup(remove_unused_node_outputs=False)
    positions = {
        name: {axis: np.flatnonzero(keep) for axis, keep in kept[name].items()} for name in stored
    }
    return Shrunk(model=model, kept=positions)


def _tables(model: Model, dependency: DependencyGraph) -> set[str]:
    """Return the names of integer and boolean constants, which may be merged if they are equal.

    Equal weights are not merged, because each is trained, or loses columns, separately.
    """
    constants = model.constants()
    return {n for n in dependency.auxiliary if n in constants and constants[n].dtype.kind in "iub"}


def masked_model(dependency: DependencyGraph, plan: Plan) -> Model:
    """Copy the model with every removed filter and column zeroed, and nothing else changed."""
    model = clone_model(dependency.model)
    families = {family.name: family for family in dependency.families}
    zeroed = zeroed_parts(families, plan)
    change_constants(model, {name: part.apply for name, part in zeroed.items()})
    return model


def _zero_columns(model: Model, plan: Plan) -> None:
    constants = model.constants()
    changed = {}
    for name, columns in plan.columns.items():
        value = constants[name].copy()
        value[:, columns] = 0
        changed[name] = value
    replace_constants(model, changed)


def _affected_sizes(model: Model, facts: Facts, kept: _Kept) -> set[str]:
    """Find the values that are computed from the shape of something that is cut."""
    affected: set[str] = set()
    for node in model.graph.nodes:
        names = [t.name for t in node.inputs if t.name]
        measured = node.op in ("Shape", "Size") and names and names[0] in kept
        if measured or any(name in affected for name in names):
            affected.update(t.name for t in node.outputs if t.name in facts.values)
    return affected


def _cut_node(cut: NodeCut, affected: set[str], baked: _Baked) -> None:
    """Update the sizes in the attributes and constant inputs of a node."""
    node = cut.node
    for i, tensor in enumerate(list(node.inputs)):
        if not _pin_baked(cut, i, tensor.name, baked):
            _pin(cut, i, tensor, affected)
    operator = find_operator(node.op, node.domain)
    touched = any(name in cut.kept for name in [*cut.names_in, *cut.names_out])
    if operator is not None and operator.resize and touched:
        RESIZES[operator.resize](cut)


def _pin_baked(cut: NodeCut, i: int, name: str, baked: _Baked) -> bool:
    """Replace a tensor that cannot be computed from cut constants by its cut values."""
    if name not in baked:
        return False
    value, own = baked[name]
    axes = cut.kept.get(name, {})
    if not own & set(axes):
        return False
    for axis, keep in axes.items():
        value = np.compress(keep, value, axis=axis)
    cut.pin(i, f"{name}/cut", value)
    return True


def _pin(cut: NodeCut, i: int, tensor: gs.Tensor, affected: set[str]) -> None:
    """Replace a computed value that a cut changes, or that is cut itself, by a constant."""
    name = tensor.name
    if isinstance(tensor, gs.Constant) or not name or cut.value(i) is None:
        return
    producer = tensor.inputs[0] if tensor.inputs else None
    if producer is not None and producer.op == "Constant":
        return
    axes = cut.kept.get(name, {})
    is_cut = bool(axes) and producer is not None and not _flows(producer, cut.kept)
    if not is_cut and name not in affected:
        return
    value = cut.facts.values[name]
    for axis, keep in axes.items():
        value = np.compress(keep, value, axis=axis)
    cut.pin(i, f"{name}/{'cut' if axes else 'pinned'}", value)


def _flows(producer: gs.Node, kept: _Kept) -> bool:
    """Whether a value is cut because its inputs are: it then computes the cut value itself."""
    return any(t.name in kept for t in producer.inputs)


def _cut_constants(model: Model, kept: _Kept) -> list[str]:
    """Delete positions of the constants, in place; return the names of those that lost some."""
    cut = {}
    for name, value in model.constants().items():
        for axis, keep in kept.get(name, {}).items():
            value = np.compress(keep, value, axis=axis)
            cut[name] = value
    replace_constants(model, cut)
    return sorted(cut)


def _forget_shapes(model: Model, kept: _Kept) -> None:
    """Drop recorded shapes of cut tensors; those of others may not be inferable."""
    ends: set[Any] = {id(t) for t in [*model.graph.inputs, *model.graph.outputs]}
    for tensor in model.graph.tensors().values():
        if isinstance(tensor, gs.Variable) and id(tensor) not in ends and tensor.name in kept:
            tensor.shape = None
