"""Where the constants of a shrunk graph lay in the dense one, over several rounds."""

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Member
from acgraph.analysis.labels import Ints
from acgraph.ir import Array, Model, clone_model, replace_constants
from acgraph.pruning.shrink import Shrunk

Positions = dict[str, dict[int, Ints]]

#: Layers with a bias as input 2, and the axis of the weight that holds the filters.
_BIASED = {"Conv": 0, "ConvTranspose": 1}


def compose(first: Positions, second: Shrunk) -> Positions:
    """Follow positions through one more shrink.

    Args:
        first: By constant and axis: positions of the dense constant that stayed so far; an axis
            that lost nothing is absent.
        second: The next shrink.
    """
    composed = {name: dict(axes) for name, axes in first.items()}
    for name, axes in second.kept.items():
        for axis, kept in axes.items():
            before = composed.setdefault(name, {}).get(axis)
            composed[name][axis] = kept if before is None else before[kept]
    return composed


def inexact_cuts(dependency: DependencyGraph, positions: Positions) -> list[str]:
    """Name the families that lost a coupled set though deleting it is not zeroing it.

    A set is lost where all its positions are: a head that goes takes one position of every feature
    inside the heads, and each of those features stays.
    """

    def is_cut(member: Member) -> bool:
        kept = positions.get(member.tensor, {}).get(member.axis)
        if kept is None:
            return False
        sets = member.sets[member.sets >= 0]
        return not bool(np.isin(sets, member.sets[kept]).all())

    return [f.name for f in dependency.families if not f.is_exact and any(map(is_cut, f.members))]


def adopt_biases(model: Model, dense: Model, positions: Positions) -> Positions:
    """Give biases that folding made the names of the biases that they replace, in place.

    A BatchNormalization that was put in for training took the bias of its convolution; folded
    back it left a new one, which lies where the filters of the convolution lay.

    Returns:
        The positions, those of the adopted biases included.
    """
    originals = {node.name: node for node in dense.graph.nodes}
    found = dict(positions)
    for node in model.graph.nodes:
        original = originals.get(node.name)
        if original is None or len(original.inputs) < 3 or node.op not in _BIASED:
            continue
        name = original.inputs[2].name
        if node.inputs[2].name != name:
            node.inputs[2] = gs.Constant(name, node.inputs[2].values)
            filters = positions.get(node.inputs[1].name, {}).get(_BIASED[node.op])
            if filters is not None:
                found[name] = {0: filters}
    return found


def expand(
    dense: Model,
    dependency: DependencyGraph,
    trained: Mapping[str, Array],
    positions: Positions,
) -> Model:
    """Put trained weights back where they lay in the dense model, and zeros where they went.

    Constants that need not be zero in a masked model (variances, divisors) keep their old values
    where they were cut. Integers and flags keep all of theirs: they are no weights, and a constant
    of sizes in the shrunk model may have a name that the dense one has for another.

    Args:
        dense: The original model.
        dependency: Its dependency graph.
        trained: Constants of the shrunk model, by name; names that the dense model lacks are
            ignored.
        positions: Where they lay.
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
