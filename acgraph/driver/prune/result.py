"""What ``prune`` was asked for, and what it did."""

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
    """What ``prune`` was asked to cut.

    Attributes:
        sparsity: Share of the coupled sets of every family, in [0, 1).
        columns: Share of the columns of every layer, in [0, 1).
        allow_inexact: Whether cuts across normalisation were allowed.
        allow_slower: Whether layers may take more time than the dense ones.
        align: A multiple of so many coupled sets was to be kept.
        by_plan: Whether a plan said what to cut.
        target_rate: How much smaller the model is to be, in place of shares; None where shares say
            it.
        metric: What that rate is of.
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
        """About what share of the weights that is; 0 where a plan says what to cut."""
        if self.by_plan:
            return 0.0
        if self.target_rate is not None:
            return 1 - 1 / self.target_rate
        return 1 - (1 - self.sparsity) * (1 - self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How far a cut network agrees with the original on examples that nothing was fitted to.

    Attributes:
        examples: How many these are.
        magnitude: With as many coupled sets removed of each family, those of least magnitude.
        measured: With those removed that the data says.
        refitted: The same once the layers are fitted.
    """

    examples: int
    magnitude: float
    measured: float
    refitted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCut:
    """What data says is to be cut, and how the layers are fitted then.

    Attributes:
        plan: Which coupled sets go.
        weights: All weights then, removed parts zero.
        kept: How much of the outputs that keeps; None where nothing is cut.
        fits: How well the fitted layers do, in order.
        left: The layers that were not fitted, and why.
        examples: How many the layers were fitted to.
    """

    plan: Plan
    weights: Mapping[str, Array] = field(default_factory=dict)
    kept: Kept | None = None
    fits: tuple[LayerFit, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    examples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What a cut did.

    Attributes:
        model: The compact model.
        masked: The input model with every removed filter and column zeroed.
        before: Cost of the input.
        after: Cost of the compact model.
        remarks: What import had to change, and which shapes could not be found.
        families: All coupled sets of the input.
        fences: What could not be cut, with reasons.
        lowered: What became of each layer where columns were cut; ``remark`` says why one was not.
        cuts: The pattern of each layer's columns, where columns were cut.
        plan: Which coupled sets were removed by magnitude.
        cut_plan: All that was removed, in terms of the input model.
        inexact: The families of it whose cut changes what the zeroed model computes.
        verify: The equivalence check of the compact and the masked model.
        request: What was asked for.
        holding: What keeps weights from being cut, that which holds most first.
        notes: Cuts that were not made, and why.
        rates_with: Where hardly anything was cut: by option, the rate of params with it.
        seconds: All of it, the equivalence check included.
        cut_seconds: Grouping and shrinking alone.
        measured: What data said; None where none was given.
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
    holding: list[Obstacle]
    notes: tuple[str, ...]
    rates_with: Mapping[str, float]
    seconds: float
    cut_seconds: float
    measured: MeasuredCut | None = None

    @property
    def coupled_sets(self) -> int:
        """How many there are, those that may not be cut included."""
        return sum(family.size for family in self.families)

    @property
    def unknown_macs(self) -> list[str]:
        """Nodes of either model whose MACs are unknown, so that no rate of MACs is."""
        return list(dict.fromkeys([*self.before.unknown, *self.after.unknown]))

    def rate(self, key: str) -> float | None:
        """Before / after of ``params``, ``macs`` or ``bytes``; None where it is unknown."""
        before, after = getattr(self.before, key), getattr(self.after, key)
        is_known = after and not (key == "macs" and self.unknown_macs)
        return before / after if is_known else None
