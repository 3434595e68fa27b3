"""The request to ``prune``, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from acgraph.analysis.cost import Cost
from acgraph.analysis.families import Family
from acgraph.analysis.obstacles import Obstacle
from acgraph.backends.ort.equivalence import EquivalenceResult
from acgraph.diagnostics import Diagnostic
from acgraph.driver.space.columns import LayerCut
from acgraph.driver.space.sequential import LayerFit
from acgraph.ir import Array, Model
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.pruning.cut_plan import CutPlan
from acgraph.pruning.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRequest:
    """The cut that was requested of ``prune``.

    Attributes:
        sparsity: Share of the coupled sets of every family, in [0, 1).
        columns: Share of the columns of every layer, in [0, 1).
        allow_inexact: Whether cuts across normalisation were allowed.
        allow_slower: Whether layers may be slower than the dense ones.
        align: The number of coupled sets whose multiple was to be kept.
        by_plan: Whether the cut was requested by a plan.
        target_rate: Size before / size after; None if shares were requested.
        metric: The quantity that this rate applies to.
    """

    sparsity: float
    columns: float
    allow_inexact: bool = False
    allow_slower: bool = False
    align: int = 1
    by_plan: bool = False
    target_rate: float | None = None
    metric: Literal["params", "macs"] = "params"

    @property
    def share(self) -> float:
        """The approximate share of the weights that this is; 0 for a plan."""
        if self.by_plan:
            return 0.0
        if self.target_rate is not None:
            return 1 - 1 / self.target_rate
        return 1 - (1 - self.sparsity) * (1 - self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Agreement of a cut network with the original on held-out examples.

    Attributes:
        examples: Number of held-out examples.
        magnitude: Agreement if as many coupled sets of each family are removed by magnitude.
        measured: Agreement after removing the sets chosen by the data, before refitting.
        refitted: Agreement after refitting.
    """

    examples: int
    magnitude: float
    measured: float
    refitted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCut:
    """A cut that was chosen by calibration data, with the refitted layers.

    Attributes:
        plan: The coupled sets to remove.
        weights: All weights after refitting, with removed parts set to zero.
        kept: Agreement with the original; None if nothing is cut.
        fits: Errors of the refitted layers, in order.
        left: The layers that were not refitted, and why.
        examples: Number of examples that the layers were fitted to.
    """

    plan: Plan
    weights: Mapping[str, Array] = field(default_factory=dict)
    kept: Kept | None = None
    fits: tuple[LayerFit, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    examples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """The result of ``prune``.

    Attributes:
        model: The compact model.
        masked: The input model with every removed filter and column set to zero.
        before: Cost of the input model.
        after: Cost of the compact model.
        remarks: Changes that the import made, and shapes that could not be inferred.
        families: All families of coupled sets of the input model.
        fences: The parts that could not be cut, with reasons.
        lowered: The compact form of each layer if columns were cut; ``remark`` says why not.
        cuts: The pattern of each layer's columns, if columns were cut.
        plan: The coupled sets that were removed.
        cut_plan: Everything that was removed, in terms of the input model.
        inexact: The families whose cut is not equivalent to masking.
        verify: The equivalence check of the compact and the masked model.
        request: What was requested.
        obstacles: The obstacles to larger cuts, by share of the weights, largest first.
        notes: Cuts that were not made, and why.
        rates_with: If almost nothing was cut: the rate of params that an option would reach.
        seconds: Total duration, including the equivalence check.
        cut_seconds: Duration of grouping and shrinking only.
        measured: The choice by calibration data; None without data.
    """

    model: Model
    masked: Model
    before: Cost
    after: Cost
    remarks: tuple[str, ...]
    families: tuple[Family, ...]
    fences: list[Diagnostic]
    lowered: list[LoweredLayer]
    cuts: list[LayerCut]
    plan: Plan
    cut_plan: CutPlan
    inexact: list[str]
    verify: EquivalenceResult
    request: PruneRequest
    obstacles: list[Obstacle]
    notes: tuple[str, ...]
    rates_with: Mapping[str, float]
    seconds: float
    cut_seconds: float
    measured: MeasuredCut | None = None

    @property
    def coupled_sets(self) -> int:
        """Number of coupled sets, including those that may not be cut."""
        return sum(family.size for family in self.families)

    @property
    def unknown_macs(self) -> list[str]:
        """Nodes of either model whose MACs are unknown, which leaves the rate of MACs unknown."""
        return list(dict.fromkeys([*self.before.unknown, *self.after.unknown]))

    def rate(self, key: str) -> float | None:
        """The ratio before / after of ``params``, ``macs`` or ``bytes``; None if unknown."""
        before, after = getattr(self.before, key), getattr(self.after, key)
        is_known = after and not (key == "macs" and self.unknown_macs)
        return before / after if is_known else None
