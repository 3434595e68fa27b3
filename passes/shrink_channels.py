"""Delete channels, heads and other coupled sets: those that do nothing, and the least ones.

::

    %a = Conv(%x, float32[8, 3, 3, 3])         %a = Conv(%x, float32[6, 3, 3, 3])
    %b = Relu(%a)                        ->    %b = Relu(%a)
    %y = Conv(%b, float32[4, 8, 1, 1])         %y = Conv(%b, float32[4, 6, 1, 1])

Where ``sparsity`` is 0 the function stays the same: a model with zeroed filters and columns
becomes the small one that computes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.errors import PreconditionError
from acgraph.ir import Model, clone_model
from acgraph.passes.untie_constants import untie_constants
from acgraph.passmanager.base import Pass, PassContext, PassResult
from acgraph.pruning.dead import dead_sets
from acgraph.pruning.plan import Bools, Plan
from acgraph.pruning.select import choose_families, magnitude_plan
from acgraph.pruning.shrink import shrink
from acgraph.pruning.tie import write_once


@dataclass(frozen=True)
class ShrinkChannels(Pass):
    """Delete coupled sets that do nothing, and a share of the others by magnitude.

    With the default options a second run finds nothing. A second run with a ``sparsity`` cuts
    that share of what the first one left.

    Attributes:
        sparsity: Share of the coupled sets of every family that goes, those of least magnitude,
            in [0, 1); 0 removes only dead ones, which keeps the function.
        allow_inexact: Cut by magnitude across normalisations, too.
        min_keep: How many coupled sets of a family stay at the least.
    """

    name: ClassVar[str] = "shrink-channels"
    sparsity: float = 0.0
    allow_inexact: bool = False
    min_keep: int = 1

    def requires(self, model: Model, context: PassContext) -> None:
        """Refuse options that would leave nothing."""
        if not 0 <= self.sparsity < 1:
            raise PreconditionError(
                f"sparsity={self.sparsity:g} is not a share", hint="at least 0 and below 1"
            )
        if self.min_keep < 1:
            raise PreconditionError(f"min-keep={self.min_keep} leaves nothing", hint="at least 1")

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Remove the dead, cut, and remove what the cut made dead."""
        work = clone_model(model)
        copies = untie_constants(work)
        dependency = analyse(work)
        remarks = tuple(dependency.all_fences())
        dependency, dead = self._without_dead(dependency)
        least = 0
        if self.sparsity > 0:
            dependency, least = self._without_least(dependency)
            dependency, more = self._without_dead(dependency)
            dead += more
        if dead + least:
            write_once(dependency.model, copies)
            _replace(model, dependency.model)
        return PassResult(
            modified=dead + least > 0,
            statistics={"dead sets removed": dead, "sets cut by magnitude": least},
            remarks=remarks,
        )

    def _without_dead(self, dependency: DependencyGraph) -> tuple[DependencyGraph, int]:
        """Remove dead sets until there are none: one that goes may have fed the last reader."""
        total = 0
        while True:
            families = choose_families(dependency.prunable())
            dead = dead_sets(dependency, families, dependency.model.constants())
            least = {family.name: max(self.min_keep, family.min_keep) for family in families}
            sets = {name: _limited(gone, least[name]) for name, gone in dead.items()}
            removed = _count(sets)
            if not removed:
                return dependency, total
            total += removed
            dependency = analyse(shrink(dependency, Plan(sets=sets)).model)

    def _without_least(self, dependency: DependencyGraph) -> tuple[DependencyGraph, int]:
        plan = magnitude_plan(
            dependency,
            dependency.model.constants(),
            self.sparsity,
            allow_inexact=self.allow_inexact,
            min_keep=self.min_keep,
        )
        removed = _count(plan.sets)
        return (analyse(shrink(dependency, plan).model) if removed else dependency), removed


def _limited(gone: Bools, min_keep: int) -> Bools:
    """Let the first of what goes stay where too little would be left."""
    missing = min_keep - int((~gone).sum())
    if missing <= 0:
        return gone
    limited = gone.copy()
    limited[np.flatnonzero(gone)[:missing]] = False
    return limited


def _count(sets: Mapping[str, Bools]) -> int:
    return sum(int(gone.sum()) for gone in sets.values())


def _replace(model: Model, other: Model) -> None:
    """Give a model the contents of another one; its name and metadata stay."""
    model.graph = other.graph
    model.originals = other.originals
    model.captured = other.captured
