"""The cost of a point of the search: params and MACs of the model that it leads to.

The sizes of all tensors at the point are computed first. A point is then counted like a model: the
params of a constant are its elements, and ``acgraph.analysis.macs`` gives the MACs of a node.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

import onnx_graphsurgeon as gs

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family
from acgraph.analysis.labels import Ints
from acgraph.analysis.layers import Layer
from acgraph.analysis.macs import Shapes, known_shapes, macs_at
from acgraph.ir import Model, clone_model
from acgraph.passes.fuse_batchnorm import fuse_batchnorm

CostMetric = Literal["params", "macs"]

#: Elements of the small vectors that Pad and Slice need for each gathered kernel position.
INDEX_PER_POSITION = 4


@dataclass(frozen=True, slots=True)
class Block:
    """Positions of an axis that are cut by the same families.

    Of these positions, ``count * prod(kept / size)`` are kept.

    Attributes:
        count: The number of positions.
        families: Names of the families.
    """

    count: int
    families: tuple[str, ...]


#: All positions of an axis.
Blocks = tuple[Block, ...]


@dataclass(frozen=True)
class PointCost:
    """Computes the cost of a graph for given kept shares of its coupled sets and columns.

    Attributes:
        dependency: The dependency graph of the current graph.
        families: The families that may be cut; the others are kept.
        layers: All layers of the graph.
    """

    dependency: DependencyGraph
    families: Sequence[Family]
    layers: Sequence[Layer]

    def params(self, of_family: Mapping[str, float], of_columns: Mapping[str, float]) -> float:
        """Return the params of the model in its written form, including index tensors.

        Args:
            of_family: Kept share of each family by name; 1 for families that are missing.
            of_columns: Kept share of the columns by weight name; 1 for weights that are missing.
        """
        shapes = self.shapes(of_family)
        total = 0.0
        for name in self._written:
            sizes = _sizes(name, shapes)
            share = of_columns.get(name, 1.0)
            total += prod(sizes) * share
            if share < 1:
                total += prod(sizes[1:]) * share + self._index_size[name]
        return total

    def macs(self, of_family: Mapping[str, float], of_columns: Mapping[str, float]) -> float:
        """Return the MACs of all nodes whose MACs are known.

        Args:
            of_family: Kept share of each family, as for ``params``.
            of_columns: Kept share of the columns, as for ``params``.
        """
        shapes = self.shapes(of_family)
        total = 0.0
        for node, weight in self._counted:
            found = macs_at(node, shapes)
            total += 0.0 if found is None else found * of_columns.get(weight, 1.0)
        return total

    def shapes(self, of_family: Mapping[str, float]) -> Shapes:
        """Return the shapes of all tensors, by kept share of the families."""
        whole = known_shapes(self.dependency.facts)
        kept = {blocks: _kept(blocks, of_family) for blocks in self._distinct}

        def shape(name: str) -> Sequence[float] | None:
            found, cut = whole(name), self._cut_axes.get(name)
            if found is None or cut is None:
                return found
            return [kept[cut[k]] if k in cut else size for k, size in enumerate(found)]

        return shape

    def blocks(self, tensor: str, axis: int) -> Blocks:
        """Group the positions of an axis by the families that cut them."""
        found = self._cut_axes.get(tensor, {}).get(axis)
        if found is not None:
            return found
        return (Block(self.dependency.facts.shapes[tensor][axis], ()),)

    @cached_property
    def _cut_axes(self) -> dict[str, dict[int, Blocks]]:
        """By tensor and axis: the blocks of each axis that a family cuts."""
        labels = self.dependency.labels
        owner = {
            label: family.name for family in self.families for label in labels[family.name].tolist()
        }
        known: dict[tuple[tuple[int, ...], bytes], Blocks] = {}
        found: dict[str, dict[int, Blocks]] = {}
        for name, axes in self.dependency.axes.items():
            for axis, labels_of in axes.items():
                key = (labels_of.shape, labels_of.tobytes())
                if key not in known:
                    known[key] = _blocks(labels_of, owner)
                if any(block.families for block in known[key]):
                    found.setdefault(name, {})[axis] = known[key]
        return found

    @cached_property
    def _distinct(self) -> set[Blocks]:
        return {blocks for axes in self._cut_axes.values() for blocks in axes.values()}

    @cached_property
    def _written(self) -> list[str]:
        """Return the constants of the written file, with a vector of equal size for a new bias."""
        skipped, biases = folded_norms(self.dependency.model)
        return [*(n for n in self.dependency.model.constant_forms() if n not in skipped), *biases]

    @cached_property
    def _index_size(self) -> dict[str, int]:
        return {layer.weight: INDEX_PER_POSITION * prod(layer.kernel) for layer in self.layers}

    @cached_property
    def _counted(self) -> list[tuple[gs.Node, str]]:
        """The nodes with MACs, each with the weight of its layer, or an empty name."""
        weights = {layer.name: layer.weight for layer in self.layers}
        whole = known_shapes(self.dependency.facts)
        nodes = self.dependency.model.graph.nodes
        return [(node, weights.get(node.name, "")) for node in nodes if macs_at(node, whole)]


def _sizes(name: str, shapes: Shapes) -> Sequence[float]:
    found = shapes(name)
    if found is None:
        raise KeyError(f"the shape of the constant '{name}' is unknown")
    return found


def _blocks(labels: Ints, owner: Mapping[int, str]) -> Blocks:
    """Group the positions of an axis, ``[size, k]`` labels, by the families of their labels."""
    counts = Counter(
        tuple(dict.fromkeys(owner[label] for label in row if label in owner))
        for row in labels.tolist()
    )
    return tuple(Block(count, families) for families, count in counts.items())


def _kept(blocks: Iterable[Block], shares: Mapping[str, float]) -> float:
    return sum(
        block.count * prod(shares.get(family, 1.0) for family in block.families) for block in blocks
    )


def folded_norms(model: Model) -> tuple[set[str], list[str]]:
    """Return the constants that folding removes, and a vector for each bias that it adds.

    They are found by running the pass on a copy of the model.
    """
    folded = clone_model(model)
    fuse_batchnorm(folded)
    left = {node.name: node for node in folded.graph.nodes}
    read = {tensor.name for node in folded.graph.nodes for tensor in node.inputs}
    skipped: set[str] = set()
    added: dict[str, str] = {}
    for node in model.graph.nodes:
        if node.op != "BatchNormalization" or node.name in left:
            continue
        skipped.update(t.name for t in node.inputs[1:5] if t.name not in read)
        layer = _layer_before(node)
        if not _has_bias(layer) and _has_bias(left[layer.name]):
            added.setdefault(layer.name, node.inputs[1].name)
    return skipped, list(added.values())


def _layer_before(norm: gs.Node) -> gs.Node:
    """Return the layer that a BatchNormalization was folded into, skipping others in between."""
    node = norm.inputs[0].inputs[0]
    while node.op == "BatchNormalization":
        node = node.inputs[0].inputs[0]
    return node


def _has_bias(layer: gs.Node) -> bool:
    return len(layer.inputs) > 2 and not layer.inputs[2].is_empty()
