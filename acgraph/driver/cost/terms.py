"""What a point of the search costs: params and MACs of the model that it leads to."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.families import Family
from acgraph.analysis.labels import Ints
from acgraph.analysis.layers import Layer
from acgraph.ir import Model, clone_model
from acgraph.passes.fuse_batchnorm import fuse_batchnorm

CostMetric = Literal["params", "macs"]

#: Elements of the small vectors that Pad and Slice need for each gathered kernel position.
INDEX_PER_POSITION = 4


@dataclass(frozen=True, slots=True)
class Block:
    """Positions of one axis that the same families share: ``count * prod(kept / size)`` stay."""

    count: int
    families: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """One constant in the cost: the product of its axes; for a layer, of filters and columns."""

    tensor: str
    axes: tuple[tuple[Block, ...], ...]
    layer: Layer | None
    output_positions: int

    def kept(self, of_family: Mapping[str, float]) -> list[float]:
        """How many positions of each axis stay, by the kept shares of the families."""
        return [_kept(blocks, of_family) for blocks in self.axes]

    def cost(
        self, of_family: Mapping[str, float], of_columns: Mapping[str, float], metric: CostMetric
    ) -> float:
        """Return what the constant costs.

        Args:
            of_family: Kept share by family.
            of_columns: Kept share of all columns by weight; whole where it is not here.
            metric: Params or MACs.
        """
        sizes = self.kept(of_family)
        total = prod(sizes)
        if self.layer is None:
            return total if metric == "params" else 0.0
        share = of_columns.get(self.tensor, 1.0)
        if metric == "macs":
            return total * share * self.output_positions
        if share == 1:
            return total
        index = prod(sizes[1:]) * share + INDEX_PER_POSITION * prod(self.layer.kernel)
        return total * share + index


def members_by_axis(families: Iterable[Family]) -> dict[tuple[str, int], list[tuple[str, Ints]]]:
    """Map constants and axes to the families on them, each with the sets of the positions."""
    found: dict[tuple[str, int], list[tuple[str, Ints]]] = {}
    for family in families:
        for member in family.members:
            found.setdefault((member.tensor, member.axis), []).append((family.name, member.sets))
    return found


def blocks_of(size: int, members: Iterable[tuple[str, Ints]]) -> tuple[Block, ...]:
    """Group the positions of an axis by the families that cut them."""
    names: list[list[str]] = [[] for _ in range(size)]
    for family, sets in members:
        for position in np.flatnonzero(sets >= 0).tolist():
            names[position].append(family)
    counts = Counter(tuple(found) for found in names)
    return tuple(Block(count, families) for families, count in counts.items())


def folded_norms(model: Model) -> tuple[set[str], list[str]]:
    """Find the constants that folding removes, and one vector for each bias that it adds.

    The pass that folds is asked, on a copy: what it leaves alone is written, and costs.
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
    """Return the layer that a BatchNormalization was folded into, through others if need be."""
    node = norm.inputs[0].inputs[0]
    while node.op == "BatchNormalization":
        node = node.inputs[0].inputs[0]
    return node


def _has_bias(layer: gs.Node) -> bool:
    return len(layer.inputs) > 2 and not layer.inputs[2].is_empty()


def _kept(blocks: tuple[Block, ...], shares: Mapping[str, float]) -> float:
    return sum(
        block.count * prod(shares.get(family, 1.0) for family in block.families) for block in blocks
    )
