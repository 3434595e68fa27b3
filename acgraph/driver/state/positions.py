"""The kept indices of constants: from a graph that was shrunk in several rounds to the original."""

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Member
from acgraph.analysis.labels import Ints
from acgraph.ir import Array, Model, clone_model, replace_constants
from acgraph.ir.constants import resolved_constant
from acgraph.ir.names import fresh
from acgraph.passes.eliminate_dead_nodes import remove_unread
from acgraph.passes.store_weights import store_weights
from acgraph.pruning.shrink import Shrunk

Positions = dict[str, dict[int, Ints]]

#: Operators whose input 2 is a bias, and the filter axis of their weight.
_BIASED = {"Conv": 0, "ConvTranspose": 1}


def compose(first: Positions, second: Shrunk) -> Positions:
    """Compose kept indices with those of one more shrink.

    Args:
        first: The indices of the original that are kept so far, by constant and axis; an axis that
            is kept whole is absent.
        second: The next shrink.
    """
    composed = {name: dict(axes) for name, axes in first.items()}
    for name, axes in second.kept.items():
        for axis, kept in axes.items():
            before = composed.setdefault(name, {}).get(axis)
            composed[name][axis] = kept if before is None else before[kept]
    return composed


def inexact_cuts(dependency: DependencyGraph, positions: Positions) -> list[str]:
    """Name the families of which a set was removed although this is not equivalent to masking it.

    A set is removed if all its indices are: removing a head removes one index of every feature
    within the heads, but none of these features.
    """

    def is_cut(member: Member) -> bool:
        kept = positions.get(member.tensor, {}).get(member.axis)
        if kept is None:
            return False
        sets = member.sets[member.sets >= 0]
        return not bool(np.isin(sets, member.sets[kept]).all())

    return [f.name for f in dependency.families if not f.is_exact and any(map(is_cut, f.members))]


def with_own_constants(dense: Model, prepared: Mapping[str, Array]) -> Model:
    """Copy a model in which each trained value has a constant of its own.

    Weights that the file computes from constants are the constants that preparing made of them.
    Layers that read their bias through Identity get a bias of their own: exporters store equal
    biases once, and training makes them differ.

    Args:
        dense: The original model.
        prepared: The constants of the model that was prepared for training.
    """
    own = clone_model(dense)
    names = (prepared.keys() & own.graph.tensors().keys()) - set(own.constants())
    store_weights(own, {name: prepared[name] for name in names})
    constants, taken = set(own.constants()), set(own.graph.tensors())
    for node in own.graph.nodes:
        if node.op not in _BIASED or len(node.inputs) < 3 or node.inputs[2].name in constants:
            continue
        value = resolved_constant(node.inputs[2])
        if value is not None:
            node.inputs[2] = gs.Constant(fresh(f"{node.name}.bias", taken), value.copy())
    remove_unread(own)
    return own


def adopt_biases(model: Model, dense: Model, positions: Positions) -> Positions:
    """Rename biases that folding created to those that they replace, in place.

    A BatchNormalization that was inserted for training absorbed the bias of its convolution;
    folding it created a new bias, whose kept indices are those of the convolution's filters.

    Returns:
        The kept indices, including those of the renamed biases.
    """
    originals = {node.name: node for node in dense.graph.nodes}
    found = dict(positions)
    for node in model.graph.nodes:
        original = originals.get(node.name)
        if original is None or len(original.inputs) < 3 or node.op not in _BIASED:
            continue
        name = original.inputs[2].name
        value = resolved_constant(node.inputs[2])
        if value is None:
            continue
        if node.inputs[2].name != name:
            node.inputs[2] = gs.Constant(name, value)
        filters = positions.get(node.inputs[1].name, {}).get(_BIASED[node.op])
        if filters is not None and name not in positions:
            found[name] = {0: filters}
    return found


def expand(
    dense: Model,
    dependency: DependencyGraph,
    trained: Mapping[str, Array],
    positions: Positions,
) -> Model:
    """Make the masked model: the original with trained weights, and zeros where it was cut.

    Constants that need not be zero in a masked model (variances, divisors) keep their old values
    where they were cut. Integer and boolean constants are not changed: they are not weights, and a
    constant of sizes in the shrunk model may share its name with another one in the original.

    Args:
        dense: The original model.
        dependency: Its dependency graph.
        trained: Constants of the shrunk model, by name; names that the original lacks are ignored.
        positions: Their kept indices.
    """
    others = {m.tensor for f in dependency.families for m in f.members if m.role == "other"}
    values = {}
    for name, before in dense.constants().items():
        if name not in trained or before.dtype.kind in "iub":
            continue
        axes = positions.get(name, {})
        full = before.copy() if name in others else np.zeros_like(before)
        index = np.ix_(*(axes.get(k, np.arange(size)) for k, size in enumerate(before.shape)))
        full[index] = trained[name].astype(before.dtype)
        values[name] = full
    model = clone_model(dense)
    replace_constants(model, values)
    return model
