"""The search space of a round: kept filters of each family, kept columns of each layer.

A point (kept counts) determines a plan for the hard mask, a constraint for ADMM, and a cost. Costs
are those of the written model: BatchNormalization is folded, and index tensors of gathered columns
are included.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import prod

import numpy as np

from acgraph.analysis.families import Family
from acgraph.analysis.labels import Ints
from acgraph.analysis.layers import Layer
from acgraph.config import CompressConfig
from acgraph.driver.cost.point import CostMetric, PointCost
from acgraph.driver.network import Network
from acgraph.driver.space.knobs import SearchKnobs
from acgraph.ir import Array
from acgraph.lowering.patterns import AUTO
from acgraph.pruning.importance import (
    FloatArray,
    Importance,
    column_norms,
    scored_sets,
    set_importance,
)
from acgraph.pruning.patterns import keep_at_least
from acgraph.pruning.plan import Bools, Plan, zeroed_elements
from acgraph.pruning.projection import (
    ColumnCut,
    Constraint,
    SetCut,
    norm_mask,
    set_mask,
)
from acgraph.pruning.ranking import top_mask
from acgraph.pruning.reconstruct import Elimination
from acgraph.search import Point

#: Loss of removing all units of a knob whose readers were not measured: larger than measured ones.
_UNKNOWN = 100.0


@dataclass(frozen=True)
class Space(SearchKnobs):
    """The search space of one graph, with the cost, the loss and the plan of each point.

    Attributes:
        importance: A function of the user that ranks filters, in place of the reconstruction or the
            magnitude; the search decides how many are removed.
    """

    importance: Importance | None = None
    _scores: dict[str, FloatArray | None] = field(default_factory=dict, repr=False, compare=False)

    def importances(self) -> list[FloatArray]:
        """Return the importance of each unit of each knob, comparable between knobs.

        With reconstruction, it is the share of the readers' output that is lost with the unit,
        divided by the params that are removed with it; otherwise it is the relative magnitude.
        """
        if self.reconstruction is not None:
            return [self._losses(index) for index in range(len(self.knobs))]
        found = [set_importance(family, self.weights) for family in self.families]
        for layer in self.column_layers:
            norms = column_norms(self.weights[layer.weight])[self.alive[layer.weight]]
            found.append(norms / max(float(norms.mean()), 1e-12))
        return found

    def _elimination(self, index: int) -> Elimination | None:
        """Return the ranking of the units of a knob; None if its readers were not measured."""
        if self.reconstruction is None:
            return None
        if index < len(self.families):
            return self.reconstruction.sets(self.families[index], self.weights)
        layer = self.column_layers[index - len(self.families)]
        return self.reconstruction.columns(layer.weight, self.weights)

    def _losses(self, index: int) -> FloatArray:
        """Return the loss of the readers' output for each unit, divided by its params."""
        knob = self.knobs[index]
        found = self._elimination(index)
        if found is None:  # not measured: as important as possible
            return np.full(knob.size, np.inf)
        steps = np.diff(found.loss, prepend=0.0)[-knob.size :]
        return np.maximum.accumulate(steps) * (knob.size / max(knob.weight, 1.0))

    def sensitivity(self, index: int, kept: int) -> float:
        """Return the share of the readers' output that is lost if only one knob is cut.

        Args:
            index: Index of the knob.
            kept: Its kept count.

        Raises:
            ValueError: No layer was measured.
        """
        if self.reconstruction is None:
            raise ValueError("no layer was measured")
        found = self._elimination(index)
        return (
            float(found.loss_of(kept))
            if found is not None
            else _UNKNOWN * (1.0 - kept / self.knobs[index].size)
        )

    def shares(self, point: Point) -> tuple[dict[str, float], dict[str, float]]:
        """Return the kept shares of a point, by family name and by weight name."""
        values = [kept / knob.size for kept, knob in zip(point, self.knobs, strict=True)]
        cut = len(self.families)
        return (
            {f.name: v for f, v in zip(self.families, values[:cut], strict=True)},
            {x.weight: v for x, v in zip(self.column_layers, values[cut:], strict=True)},
        )

    def stored_shares(self, point: Point) -> tuple[dict[str, float], dict[str, float]]:
        """Return the kept shares, with those of columns relative to all columns of the weight.

        Columns that earlier rounds removed count as removed.
        """
        of_family, of_columns = self.shares(point)
        for name, alive in self.alive.items():
            of_columns[name] = of_columns.get(name, 1.0) * float(alive.sum()) / alive.size
        return of_family, of_columns

    def cost(self, point: Point, metric: CostMetric) -> float:
        """Return the params or the MACs of the model that a point leads to."""
        count = self.counter.params if metric == "params" else self.counter.macs
        return count(*self.stored_shares(point))

    @cached_property
    def counter(self) -> PointCost:
        """Computes the cost of points."""
        return PointCost(self.dependency, self.families, self.layers)

    @cached_property
    def _members(self) -> dict[tuple[str, int], list[tuple[str, Ints]]]:
        """By constant and axis: the families that cut it, with the coupled set of each position."""
        found: dict[tuple[str, int], list[tuple[str, Ints]]] = {}
        for family in self.families:
            for member in family.members:
                found.setdefault((member.tensor, member.axis), []).append(
                    (family.name, member.sets)
                )
        return found

    def plan(self, point: Point, weights: Mapping[str, Array]) -> Plan:
        """Return the plan of a point.

        Args:
            point: The kept counts.
            weights: Current weights, by whose magnitude units are ranked unless they are ranked
                otherwise. Constants that are missing, because they are not trained, keep the values
                of the space.
        """
        weights = {**self.weights, **weights}
        sets = {}
        for family, kept in zip(self.families, point, strict=False):
            if kept < family.size:
                scores = self._ranks(family)
                if scores is None:
                    scores = set_importance(family, weights)
                sets[family.name] = ~top_mask(scores, kept)
        return Plan(sets=sets, columns=self._plan_columns(point, sets, weights))

    def masked_plan(self, point: Point, weights: Mapping[str, Array]) -> Plan:
        """Return the plan of a point with the ranking of ADMM's projection.

        Args:
            point: The kept counts.
            weights: Current weights, as in :meth:`plan`.
        """
        weights = {**self.weights, **weights}
        sets = {}
        for family, kept in zip(self.families, point, strict=False):
            if kept < family.size:
                scores = self._ranks(family)
                kept_sets = (
                    set_mask(family, weights, kept) if scores is None else top_mask(scores, kept)
                )
                sets[family.name] = ~kept_sets
        return Plan(sets=sets, columns=self._plan_columns(point, sets, weights))

    def zeroed(self, plan: Plan) -> dict[str, Bools]:
        """Return by constant: the elements that a plan sets to zero, ``bool`` in its shape."""
        families = {family.name: family for family in self.dependency.families}
        return zeroed_elements(families, plan, self.dependency.facts.shapes)

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
            least = self.bounded_columns(layer, count)
            kept = max(least, round(shares[layer.weight] * count))
            if kept >= count:
                continue
            pattern = self.patterns[layer.weight]
            norms = self._column_ranks(layer) if pattern == "free" else None
            if norms is None:
                norms = column_norms(weights[layer.weight][rows]) * self.input_scales(layer)
            alive_norms = np.where(alive, norms, 0.0)
            choose = partial(norm_mask, alive_norms, pattern=pattern, multiple=self.multiple)
            found = keep_at_least(choose, kept, least, count)
            columns[layer.weight] = alive & ~found
        return columns

    def _ranks(self, family: Family) -> FloatArray | None:
        """Return the scores of the coupled sets of a family; None to rank them by magnitude."""
        scores = self._own_scores(family)
        if scores is not None:
            return scores
        found = (
            None if self.reconstruction is None else self.reconstruction.sets(family, self.weights)
        )
        return None if found is None else found.scores

    def _own_scores(self, family: Family) -> FloatArray | None:
        if self.importance is None:
            return None
        if family.name not in self._scores:
            self._scores[family.name] = scored_sets(family, self.weights, self.importance)
        return self._scores[family.name]

    def _column_ranks(self, layer: Layer) -> FloatArray | None:
        found = (
            None
            if self.reconstruction is None
            else self.reconstruction.columns(layer.weight, self.weights)
        )
        return None if found is None else found.scores.reshape(layer.weight_shape[1:])

    def _left(self, layer: Layer, sets: Mapping[str, Bools]) -> tuple[Bools, Bools]:
        """Return which filters and which input channels of a layer are kept."""
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
            if kept < family.size and self._matrices(family)
        )
        columns = []
        for layer in self.column_layers:
            channels = sum(
                block.count * prod(of_family[f] for f in block.families)
                for block in self.counter.blocks(layer.weight, layer.channel_axis)
            )
            alive = int(self.alive[layer.weight].sum()) * channels / layer.weight_shape[1]
            least = self.bounded_columns(layer, math.floor(alive))
            kept = max(least, round(shares[layer.weight] * alive))
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
        """Return the weights that a constraint restricts, by name: those with Z and U in ADMM."""
        names = {cut.tensor for cut in constraint.columns}
        for cut in constraint.sets:
            names.update(self._matrices(cut.family))
        return sorted(names)

    def _matrices(self, family: Family) -> list[str]:
        """Return the weights of a family that ADMM trains: vectors are only cut."""
        return [
            m.tensor
            for m in family.members
            if m.role != "other" and self.weights[m.tensor].ndim > 1
        ]


def open_space(
    network: Network, config: CompressConfig, importance: Importance | None = None
) -> Space:
    """Return the search space of a graph.

    Args:
        network: The graph.
        config: The options, which bound the cut.
        importance: A function of the user that ranks filters.
    """
    pattern = config.columns.pattern or (AUTO if config.metric == "latency" else "free")
    return Space(
        dependency=network.dependency,
        weights=network.model.constants(),
        filters=config.filters,
        columns=config.cuts_columns,
        pattern=pattern,
        multiple=config.columns.multiple,
        align=config.step,
        allow_inexact=config.allow_inexact,
        importance=importance,
    )
