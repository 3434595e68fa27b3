"""The space that a round searches: kept filters per family, kept columns per layer.

A point (kept counts) becomes a plan for the hard mask, a constraint for ADMM, and a cost for the
budget. Costs are those of the model as it will be written: BatchNormalization folded, index
tensors of gathered columns included.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.analysis.families import Family
from acgraph.analysis.labels import Ints
from acgraph.analysis.layers import Layer, layers
from acgraph.config import CompressConfig
from acgraph.driver.columns import LayerReader
from acgraph.driver.mending import Mender
from acgraph.driver.space_cost import (
    Block,
    CostMetric,
    Term,
    blocks_of,
    folded_norms,
    members_by_axis,
)
from acgraph.driver.worth import most_columns
from acgraph.ir import Array, Model
from acgraph.lowering.patterns import AUTO
from acgraph.pruning.importance import FloatArray, column_norms, set_importance
from acgraph.pruning.patterns import pattern_step
from acgraph.pruning.plan import Bools, Plan
from acgraph.pruning.projection import (
    ColumnCut,
    Constraint,
    SetCut,
    norm_mask,
    set_mask,
    top_mask,
)
from acgraph.pruning.reconstruct import Elimination
from acgraph.pruning.select import choose_families
from acgraph.search import Knob, Point

#: A family keeps at least this share, a layer at least this share of its columns: below, rounds
#: disconnect what later rounds could still use.
MIN_SHARE = 0.1
#: Layers with fewer weights than this share of all keep their columns: nothing to gain.
SMALL_LAYER = 0.005
#: Loss of cutting all of what no measured layer reads: dearer than anything measured.
_UNKNOWN = 100.0


@dataclass(frozen=True)
class Space:
    """What can be chosen in one graph.

    Attributes:
        dependency: Of the graph as it is now.
        weights: Its constants; columns that are zero in them are gone already.
        filters: Whether filters are searched.
        columns: Whether columns are.
        pattern: Which columns of a layer may stay together, see ``acgraph.lowering.patterns``.
        multiple: The pattern's granularity.
        align: Keep a multiple of so many filters.
        allow_inexact: Families that training may cut though the cut is not exact.
        thrifty: Leave the columns of a layer whole, or cut them so far that the layer is faster
            for it, by estimate; layers that never are keep them.
        mender: Ranks filters and columns by what their readers lose; magnitude where None.
    """

    dependency: DependencyGraph
    weights: Mapping[str, Array]
    filters: bool = True
    columns: bool = True
    pattern: str = "free"
    multiple: int = 1
    align: int = 1
    allow_inexact: bool = False
    thrifty: bool = False
    mender: Mender | None = None

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
        return [x for x in self._columned if x.weight not in self._most_columns
                or self._most_columns[x.weight] >= _least_columns(x.columns)]  # fmt: skip

    @cached_property
    def _most_columns(self) -> dict[str, int]:
        """By weight of a layer that is whole: how many columns it may keep once it is cut."""
        if not self.thrifty:
            return {}
        pattern = "free" if self.pattern == AUTO else self.pattern
        reader = LayerReader.of(self.dependency.model, self.dependency.facts)
        return most_columns(reader, self._columned, pattern=pattern, multiple=self.multiple)

    @cached_property
    def _columned(self) -> list[Layer]:
        """The layers whose columns can be cut: convolutions whose kernel is not a point."""
        if not self.columns:
            return []
        total = sum(layer.size for layer in self.layers)
        return [
            layer
            for layer in self.layers
            if layer.op_type == "Conv"
            and layer.group == 1
            and prod(layer.kernel) > 1
            and not layer.through
            and layer.size >= SMALL_LAYER * total
            and self.weights[layer.weight].any()
        ]

    @cached_property
    def alive(self) -> dict[str, Bools]:
        """By weight: ``bool [in_ch, *kernel]``, the columns that are not zero yet."""
        return {
            layer.weight: np.abs(self.weights[layer.weight]).max(axis=0) > 0
            for layer in self.column_layers
        }

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """One knob per family, then one per layer with columns."""
        found = []
        for family in self.families:
            behind = sum(self.weights[m.tensor].size for m in family.members if m.role != "other")
            least = max(1, int(np.ceil(MIN_SHARE * family.size)))
            step = min(self.align, family.size)  # of fewer, all stay
            found.append(
                Knob(name=f"filters {family.name}", kind="filters", size=family.size,
                     min_keep=least, weight=float(behind), step=step)
            )  # fmt: skip
        return (*found, *map(self._column_knob, self.column_layers))

    def _column_knob(self, layer: Layer) -> Knob:
        alive = self.alive[layer.weight]
        size = int(alive.sum())
        most = self._most_columns.get(layer.weight)
        knob = Knob(
            name=f"columns {layer.name}",
            kind="columns",
            size=size,
            min_keep=_least_columns(size),
            weight=float(layer.size),
            step=pattern_step(alive, self.patterns[layer.weight], self.multiple),
        )
        return knob if most is None else replace(knob, most=max(most, knob.floor))

    @cached_property
    def patterns(self) -> dict[str, str]:
        """By weight: the pattern of its columns; ``auto`` decides by a cut to half of them."""
        if self.pattern != AUTO:
            return dict.fromkeys(self.alive, self.pattern)
        reader = LayerReader.of(self.dependency.model, self.dependency.facts)
        return {
            layer.weight: reader.best_pattern(
                layer,
                max(1, int(self.alive[layer.weight].sum()) // 2),
                multiple=self.multiple,
                scales=self._input_scales(layer),
            )
            for layer in self.column_layers
        }

    def _input_scales(self, layer: Layer) -> FloatArray:
        """How large what a column reads is, where it is measured; else 1 for all."""
        found = None if self.mender is None else self.mender.input_scales(layer.weight)
        shape = layer.weight_shape[1:]
        return np.ones(shape) if found is None else found.reshape(shape)

    def importances(self) -> list[FloatArray]:
        """Return how much each unit of each knob matters, comparable between knobs.

        Where readers are measured: the share of their output that is lost with the unit, by the
        params that go with it; else its magnitude.
        """
        if self.mender is not None:
            return [self._losses(index) for index in range(len(self.knobs))]
        found = [set_importance(family, self.weights) for family in self.families]
        for layer in self.column_layers:
            norms = column_norms(self.weights[layer.weight])[self.alive[layer.weight]]
            found.append(norms / max(float(norms.mean()), 1e-12))
        return found

    def _elimination(self, index: int) -> Elimination | None:
        """Return how the units of a knob go, where its readers are measured."""
        if self.mender is None:
            return None
        if index < len(self.families):
            return self.mender.sets(self.families[index], self.weights)
        layer = self.column_layers[index - len(self.families)]
        return self.mender.columns(layer.weight, self.weights)

    def _losses(self, index: int) -> FloatArray:
        """What the output of the readers loses with each unit alive, by the params of a unit."""
        knob = self.knobs[index]
        found = self._elimination(index)
        if found is None:  # nothing is known: as dear as what is dearest
            return np.full(knob.size, np.inf)
        steps = np.diff(found.loss, prepend=0.0)[-knob.size :]
        return np.maximum.accumulate(steps) * (knob.size / max(knob.weight, 1.0))

    def sensitivity(self, index: int, kept: int) -> float:
        """Share of the readers' output that is lost with a knob cut to so many units, alone.

        Raises:
            ValueError: no layer is measured.
        """
        if self.mender is None:
            raise ValueError("no layer is measured")
        found = self._elimination(index)
        return (
            float(found.loss_of(kept))
            if found is not None
            else _UNKNOWN * (1.0 - kept / self.knobs[index].size)
        )

    def shares(self, point: Point) -> tuple[dict[str, float], dict[str, float]]:
        """Return kept shares, by family name and by weight name."""
        values = [kept / knob.size for kept, knob in zip(point, self.knobs, strict=True)]
        cut = len(self.families)
        return (
            {f.name: v for f, v in zip(self.families, values[:cut], strict=True)},
            {x.weight: v for x, v in zip(self.column_layers, values[cut:], strict=True)},
        )

    def cost(self, point: Point, metric: CostMetric) -> float:
        """Return params or MACs of the model that a point leads to."""
        of_family, of_columns = self.shares(point)
        for name, alive in self.alive.items():
            of_columns[name] *= float(alive.sum()) / alive.size
        return sum(term.cost(of_family, of_columns, metric) for term in self.terms)

    @cached_property
    def terms(self) -> list[Term]:
        """The constants that cost."""
        by_weight = {layer.weight: layer for layer in self.layers}
        skipped, biases = folded_norms(self.dependency.model)
        terms = []
        for name, value in self.weights.items():
            if name in skipped:
                continue
            axes = tuple(self._blocks(name, axis) for axis in range(value.ndim))
            layer = by_weight.get(name)
            positions = 1
            if layer is not None and layer.output_shape is not None:
                positions = prod(layer.output_shape) // max(layer.filters, 1)
            terms.append(Term(name, axes, layer, positions))
        terms.extend(Term(norm, (self._blocks(norm, 0),), None, 1) for norm in biases)
        return terms

    def _blocks(self, tensor: str, axis: int) -> tuple[Block, ...]:
        size = self.dependency.facts.shapes[tensor][axis]
        return blocks_of(size, self._members.get((tensor, axis), ()))

    @cached_property
    def _members(self) -> dict[tuple[str, int], list[tuple[str, Ints]]]:
        return members_by_axis(self.families)

    def plan(self, point: Point, weights: Mapping[str, Array]) -> Plan:
        """Return what a point removes, judged by the magnitudes of these weights."""
        sets = {}
        for family, kept in zip(self.families, point, strict=False):
            if kept < family.size:
                scores = self._ranks(family)
                if scores is None:
                    scores = set_importance(family, weights)
                sets[family.name] = ~top_mask(scores, kept)
        return Plan(sets=sets, columns=self._plan_columns(point, sets, weights))

    def masked_plan(self, point: Point, weights: Mapping[str, Array]) -> Plan:
        """Return what a point removes, judged as the projection of ADMM does."""
        sets = {}
        for family, kept in zip(self.families, point, strict=False):
            if kept < family.size:
                scores = self._ranks(family)
                kept_sets = (
                    set_mask(family, weights, kept) if scores is None else top_mask(scores, kept)
                )
                sets[family.name] = ~kept_sets
        return Plan(sets=sets, columns=self._plan_columns(point, sets, weights))

    def _plan_columns(
        self, point: Point, sets: Mapping[str, Bools], weights: Mapping[str, Array]
    ) -> dict[str, Bools]:
        columns = {}
        _, shares = self.shares(point)
        for layer in self.column_layers:
            rows, channels = self._left(layer, sets)
            alive = self.alive[layer.weight].copy()
            alive[~channels] = False
            count = int(alive.sum())
            kept = max(1, round(shares[layer.weight] * count))
            if kept >= count:
                continue
            pattern = self.patterns[layer.weight]
            norms = self._column_ranks(layer) if pattern == "free" else None
            if norms is None:
                norms = column_norms(weights[layer.weight][rows]) * self._input_scales(layer)
            found = norm_mask(np.where(alive, norms, 0.0), kept, pattern, self.multiple)
            columns[layer.weight] = alive & ~found
        return columns

    def _ranks(self, family: Family) -> FloatArray | None:
        found = None if self.mender is None else self.mender.sets(family, self.weights)
        return None if found is None else found.scores

    def _column_ranks(self, layer: Layer) -> FloatArray | None:
        found = None if self.mender is None else self.mender.columns(layer.weight, self.weights)
        return None if found is None else found.scores.reshape(layer.weight_shape[1:])

    def _left(self, layer: Layer, sets: Mapping[str, Bools]) -> tuple[Bools, Bools]:
        """Return which filters and which input channels of a layer stay."""
        found = []
        for axis in (layer.filter_axis, layer.channel_axis):
            left = np.ones(layer.weight_shape[axis], bool)
            for family, own in self._members.get((layer.weight, axis), ()):
                if family in sets:
                    left &= ~((own >= 0) & sets[family][own])
            found.append(left)
        return found[0], found[1]

    def constraint(self, point: Point) -> Constraint:
        """Return the set that ADMM projects onto."""
        _, shares = self.shares(point)
        of_family, _ = self.shares(point)
        cuts = tuple(
            SetCut(family=family, keep=kept)
            for family, kept in zip(self.families, point, strict=False)
            if kept < family.size
        )
        columns = []
        for layer in self.column_layers:
            channels = sum(
                block.count * prod(of_family[f] for f in block.families)
                for block in self._blocks(layer.weight, layer.channel_axis)
            )
            alive = int(self.alive[layer.weight].sum()) * channels / layer.weight_shape[1]
            kept = max(1, round(shares[layer.weight] * alive))
            if kept < self.alive[layer.weight].size:
                columns.append(
                    ColumnCut(
                        tensor=layer.weight,
                        keep=kept,
                        pattern=self.patterns[layer.weight],
                        multiple=self.multiple,
                    )
                )
        return Constraint(sets=cuts, columns=tuple(columns), order="filters-first")

    def constrained(self, constraint: Constraint) -> list[str]:
        """Name the weights that a constraint restricts: those with Z and U in ADMM."""
        names = {cut.tensor for cut in constraint.columns}
        for cut in constraint.sets:
            names.update(
                m.tensor
                for m in cut.family.members
                if m.role != "other" and self.weights[m.tensor].ndim > 1
            )
        return sorted(names)


def _least_columns(size: int) -> int:
    return max(1, int(np.ceil(MIN_SHARE * size)))


def open_space(model: Model, config: CompressConfig) -> Space:
    """Return what a configuration lets be chosen in a graph."""
    pattern = config.columns.pattern or (AUTO if config.metric == "latency" else "free")
    return Space(
        dependency=analyse(model),
        weights=model.constants(),
        filters=config.filters,
        columns=config.columns.enabled,
        pattern=pattern,
        multiple=config.columns.multiple,
        align=config.align,
        allow_inexact=config.allow_inexact,
    )
