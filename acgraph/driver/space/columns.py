"""Remove the same share of every layer's columns by magnitude, under a pattern."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.bounds import weight_bounds
from acgraph.analysis.layers import Layer, layers
from acgraph.ir import Array, Facts, Model, infer_facts, replace_constants
from acgraph.lowering.find import read_layer
from acgraph.lowering.layer import ConvLayer, Lowerable
from acgraph.lowering.patterns import AUTO, best_pattern
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.layer_columns import (
    Shape,
    choose_columns,
    cut_columns,
    layer_matrix,
    possible_shape,
)
from acgraph.pruning.patterns import keep_at_least


@dataclass(frozen=True, slots=True)
class LayerReader:
    """Reads the layers of a model in the form that lowering uses."""

    model: Model
    facts: Facts
    nodes: Mapping[str, gs.Node]

    @staticmethod
    def of(model: Model, facts: Facts) -> "LayerReader":
        """Make a reader for a model with the facts about its tensors."""
        return LayerReader(model, facts, {node.name: node for node in model.graph.nodes})

    def read(self, layer: Layer) -> Lowerable | str:
        """Return the layer, or the reason why it stays dense."""
        return read_layer(self.model, self.facts, self.nodes[layer.name], layer)

    def best_pattern(
        self, layer: Layer, keep: int, *, multiple: int = 1, scales: FloatArray | None = None
    ) -> str:
        """Return the best pattern for a layer, see ``acgraph.lowering.patterns.best_pattern``.

        Args:
            layer: The layer; for one that is not a plain convolution, the pattern is ``free``.
            keep: Largest number of columns to keep.
            multiple: The patterns' granularity.
            scales: Factors of the norms of the columns, ``[in_ch, *kernel]``.
        """
        read = self.read(layer)
        if not isinstance(read, ConvLayer) or read.group > 1:
            return "free"
        if scales is not None:
            read = replace(read, weight=read.weight * scales.astype(read.weight.dtype))
        return best_pattern(read, keep, multiple=multiple)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCut:
    """The cut of the columns of one layer.

    Attributes:
        name: Name of the layer.
        pattern: Pattern of its kept columns; empty if it was not cut.
        remark: Why it was not cut; empty if it was.
    """

    name: str
    pattern: str = ""
    remark: str = ""


def zero_columns(
    model: Model, share: float, *, pattern: str = "free", multiple: int = 1
) -> list[LayerCut]:
    """Set the columns of smallest norm in every layer to zero, in place.

    Args:
        model: The model.
        share: Share of the columns to remove, in [0, 1); a pattern may remove more, because the
            kept number is rounded down.
        pattern: One of ``acgraph.lowering.patterns.PATTERN_CHOICES``. A layer without a form for it
            gets the most similar pattern for which it has one, see ``possible_shape``.
        multiple: The pattern's granularity.

    Returns:
        The cut of every layer, in graph order.
    """
    facts = infer_facts(model, assume=True)
    constants = model.constants()
    reader = LayerReader.of(model, facts)
    found = layers(model, facts)
    bounds = weight_bounds(model, found)
    changed: dict[str, Array] = {}
    shapes: dict[str, Shape] = {}
    cuts = []
    for layer in found:
        read = reader.read(layer)
        bound = bounds.get(layer.weight)
        if bound is not None and bound.is_whole:
            cuts.append(LayerCut(name=layer.name, remark=bound.reason))
            continue
        remark = read if isinstance(read, str) else _remark(model, layer, found)
        if isinstance(read, str) or remark:
            cuts.append(LayerCut(name=layer.name, remark=remark))
            continue
        if layer.weight not in changed:  # a tied weight is cut once, for all layers that read it
            weight = constants[layer.weight]
            least = max(1, bounds[layer.weight].columns if layer.weight in bounds else 1)
            keep = min(max(least, round((1 - share) * layer.columns)), layer.columns)
            wanted = pattern
            if pattern == AUTO:
                wanted = reader.best_pattern(layer, keep, multiple=multiple)
            shapes[layer.weight] = possible_shape(layer, Shape(pattern=wanted, multiple=multiple))
            matrix = layer_matrix(layer, weight)
            choose = partial(choose_columns, matrix, shape=shapes[layer.weight])
            kept = keep_at_least(choose, keep, least, layer.columns)
            changed[layer.weight] = cut_columns(layer, weight, kept)
        cuts.append(LayerCut(name=layer.name, pattern=shapes[layer.weight].pattern))
    replace_constants(model, changed)
    return cuts


def _remark(model: Model, layer: Layer, found: Sequence[Layer]) -> str:
    """Return why the columns of a layer that lowering can read are kept, or an empty text."""
    if layer.columns == 1:
        return "the layer has only one column"
    if layer.op_type == "ConvTranspose" and layer.group > 1:
        return "a grouped ConvTranspose cannot lose single input channels"
    weight = model.graph.tensors()[layer.weight]
    if layer.through and layer.op_type in ("Conv", "ConvTranspose"):
        return f"the weight passes through {', '.join(layer.through)} before the layer reads it"
    owners = [x for x in found if x.weight == layer.weight]
    known = {name for x in owners for name in (x.name, *x.through)}
    others = [node.name for node in weight.outputs if node.name not in known]
    if others:
        return f"the weight is also read by {', '.join(others)}, which is not a layer"
    if not np.isfinite(model.constants()[layer.weight]).all():
        return "the weight has values that are not finite"
    return ""
