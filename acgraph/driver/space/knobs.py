"""The knobs of a search space: kept filters of each family, kept columns of each layer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from acgraph.analysis.bounds import weight_bounds
from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family
from acgraph.analysis.layers import Layer, layers
from acgraph.driver.space.break_even import max_columns
from acgraph.driver.space.columns import LayerReader
from acgraph.driver.space.reconstruction import WeightReconstruction
from acgraph.ir import Array, LayerBound
from acgraph.lowering.patterns import AUTO
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.patterns import pattern_step
from acgraph.pruning.plan import Bools
from acgraph.pruning.select import choose_families
from acgraph.search import Knob

#: Smallest kept share of a family, and of the columns of a layer, in one round: stronger cuts
#: disconnect parts that later rounds could still use.
MIN_SHARE = 0.1
#: Layers with fewer weights than this share of all keep their columns: the gain is negligible.
SMALL_LAYER = 0.005


@dataclass(frozen=True)
class SearchKnobs:
    """The knobs of one graph: filters of families, columns of layers.

    Attributes:
        dependency: The dependency graph of the current graph.
        weights: Its constants; columns that are zero in them count as removed.
        filters: Whether filters are searched.
        columns: Whether columns are searched.
        pattern: Which columns of a layer are removed together, see ``acgraph.lowering.patterns``.
        multiple: The pattern's granularity.
        align: Keep a multiple of this many filters.
        allow_inexact: Whether to cut families for which the compact model is not equivalent.
        saves_time: Cut the columns of a layer only if so many are removed that the layer is
            estimated to be faster; layers that never are keep all columns.
        reconstruction: Ranks filters and columns by the error in their readers; None ranks them by
            magnitude.
    """

    dependency: DependencyGraph
    weights: Mapping[str, Array]
    filters: bool = True
    columns: bool = True
    pattern: str = "free"
    multiple: int = 1
    align: int = 1
    allow_inexact: bool = False
    saves_time: bool = False
    reconstruction: WeightReconstruction | None = None

    @cached_property
    def families(self) -> list[Family]:
        """The families with a knob."""
        if not self.filters:
            return []
        free = self.dependency.prunable(allow_inexact=self.allow_inexact)
        return [f for f in choose_families(free) if any(m.role == "filter" for m in f.members)]

    @cached_property
    def layers(self) -> list[Layer]:
        """Every layer of the graph."""
        return layers(self.dependency.model, self.dependency.facts)

    @cached_property
    def column_layers(self) -> list[Layer]:
        """The layers with a knob for their columns."""
        return [x for x in self._columned if x.weight not in self._max_columns
                or self._max_columns[x.weight] >= self.min_columns(x, x.columns)]  # fmt: skip

    @cached_property
    def _max_columns(self) -> dict[str, int]:
        """By weight of an uncut layer: the largest number of columns that it may keep if cut."""
        if not self.saves_time:
            return {}
        pattern = "free" if self.pattern == AUTO else self.pattern
        reader = LayerReader.of(self.dependency.model, self.dependency.facts)
        return max_columns(reader, self._columned, pattern=pattern, multiple=self.multiple)

    @cached_property
    def _columned(self) -> list[Layer]:
        """The layers whose columns are numerous enough to be cut."""
        if not self.columns:
            return []
        total = sum(layer.size for layer in self.layers)
        return [
            layer
            for layer in self._with_columns
            if layer.size >= SMALL_LAYER * total
            and self.weights[layer.weight].any()
            and self._may_lose_columns(layer)
        ]

    @cached_property
    def _with_columns(self) -> list[Layer]:
        """The layers whose columns can be cut: convolutions with a kernel larger than 1x1."""
        return [
            layer
            for layer in self.layers
            if layer.op_type == "Conv"
            and layer.group == 1
            and prod(layer.kernel) > 1
            and not layer.through
        ]

    @cached_property
    def alive(self) -> dict[str, Bools]:
        """By weight: ``bool [in_ch, *kernel]``, the columns that are not zero.

        This includes layers without a knob, whose columns an earlier round may have removed.
        """
        return {
            layer.weight: np.abs(self.weights[layer.weight]).max(axis=0) > 0
            for layer in self._with_columns
        }

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """One knob per family, then one per layer with columns."""
        found = []
        for family in self.families:
            behind = sum(self.weights[m.tensor].size for m in family.members if m.role != "other")
            least = max(family.min_keep, int(np.ceil(MIN_SHARE * family.size)))
            step = min(self.align, family.size)  # a family with fewer sets is kept whole
            found.append(
                Knob(name=f"filters {family.name}", kind="filters", size=family.size,
                     min_keep=least, weight=float(behind), step=step)
            )  # fmt: skip
        return (*found, *map(self._column_knob, self.column_layers))

    @cached_property
    def _bounds(self) -> dict[str, LayerBound]:
        """By weight: the user's bounds on the layers that use it."""
        return weight_bounds(self.dependency.model, self.layers)

    def _may_lose_columns(self, layer: Layer) -> bool:
        bound = self._bounds.get(layer.weight)
        return bound is None or not bound.is_whole

    def min_columns(self, layer: Layer, size: int) -> int:
        """Return how many of ``size`` columns a layer must keep, in one round and by its bound."""
        return max(self.bounded_columns(layer, size), int(np.ceil(MIN_SHARE * size)))

    def bounded_columns(self, layer: Layer, size: int) -> int:
        """Return how many of ``size`` columns a layer must keep by its bound, at least 1."""
        bound = self._bounds.get(layer.weight)
        return 1 if bound is None else max(1, min(bound.columns, size))

    def _column_knob(self, layer: Layer) -> Knob:
        alive = self.alive[layer.weight]
        size = int(alive.sum())
        most = self._max_columns.get(layer.weight)
        knob = Knob(
            name=f"columns {layer.name}",
            kind="columns",
            size=size,
            min_keep=self.min_columns(layer, size),
            weight=float(layer.size),
            step=pattern_step(alive, self.patterns[layer.weight], self.multiple),
        )
        return knob if most is None else replace(knob, most=max(most, knob.floor))

    @cached_property
    def patterns(self) -> dict[str, str]:
        """By weight: the pattern of its columns; ``auto`` is decided for half of them removed."""
        if self.pattern != AUTO:
            return {layer.weight: self.pattern for layer in self.column_layers}
        reader = LayerReader.of(self.dependency.model, self.dependency.facts)
        return {
            layer.weight: reader.best_pattern(
                layer,
                max(1, int(self.alive[layer.weight].sum()) // 2),
                multiple=self.multiple,
                scales=self.input_scales(layer),
            )
            for layer in self.column_layers
        }

    def input_scales(self, layer: Layer) -> FloatArray:
        """Measured magnitudes of a layer's inputs, ``[in_ch, *kernel]``; ones if not measured."""
        found = (
            None if self.reconstruction is None else self.reconstruction.input_scales(layer.weight)
        )
        shape = layer.weight_shape[1:]
        return np.ones(shape) if found is None else found.reshape(shape)
