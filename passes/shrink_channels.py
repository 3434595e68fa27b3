"""Remove channels, heads and other coupled sets: dead ones, and those of least magnitude.

::

    %a = Conv(%x, float32[8, 3, 3, 3])         %a = Conv(%x, float32[6, 3, 3, 3])
    %b = Relu(%a)                        ->    %b = Relu(%a)
    %y = Conv(%b, float32[4, 8, 1, 1])         %y = Conv(%b, float32[4, 6, 1, 1])

Where ``sparsity`` is 0, the function stays the same: a model with zeroed filters and columns
becomes the equivalent small model.
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
    """Remove dead coupled sets, and a share of the others by magnitude.

    With the default options, a second run changes nothing. With a ``sparsity``, a second run cuts
    that share again.

    Attributes:
        sparsity: Share of the coupled sets of every family that is cut, those of least magnitude,
            in [0, 1); 0 removes only dead sets, which keeps the function.
        allow_inexact: Also make inexact cuts by magnitude, such as those across normalisations.
        min_keep: Least number of coupled sets that each family keeps.
    """

    name: ClassVar[str] = "shrink-channels"
    sparsity: float = 0.0
    allow_inexact: bool = False
    min_keep: int = 1

    def requires(self, model: Model, context: PassContext) -> None:
        """Check the ranges of the options."""
        if not 0 <= self.sparsity < 1:
            raise PreconditionError(
                f"sparsity={self.sparsity:g} is out of range", hint="at least 0 and below 1"
            )
        if self.min_keep < 1:
            raise PreconditionError(
                f"min-keep={self.min_keep} would allow empty layers", hint="at least 1"
            )

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Remove dead sets, cut by magnitude, and remove the sets that are dead after the cut."""
        work = clone_model(model)
        copies = untie_constants(work)
        dependency = analyse(work)
        remarks = tuple(dependency.all_fences())
        dependency, dead = self._without_dead(dependency)
        cut = 0
        if self.sparsity > 0:
            dependency, cut = self._cut_by_magnitude(dependency)
            dependency, more = self._without_dead(dependency)
            dead += more
        if dead + cut:
            write_once(dependency.model, copies)
            _replace(model, dependency.model)
        return PassResult(
            modified=dead + cut > 0,
            statistics={"dead sets removed": dead, "sets cut by magnitude": cut},
            remarks=remarks,
        )

    def _without_dead(self, dependency: DependencyGraph) -> tuple[DependencyGraph, int]:
        """Remove dead sets until there are none: each removal may make others dead."""
        total = 0
        while True:
            families = choose_families(dependency.prunable())
            dead = dead_sets(dependency, families, dependency.model.constants())
            min_keep = {family.name: max(self.min_keep, family.min_keep) for family in families}
            sets = {name: _limited(flags, min_keep[name]) for name, flags in dead.items()}
            removed = _count(sets)
            if not removed:
                return dependency, total
            total += removed
            dependency = analyse(shrink(dependency, Plan(sets=sets)).model)

    def _cut_by_magnitude(self, dependency: DependencyGraph) -> tuple[DependencyGraph, int]:
        plan = magnitude_plan(
            dependency,
            dependency.model.constants(),
            self.sparsity,
            allow_inexact=self.allow_inexact,
            min_keep=self.min_keep,
        )
        removed = _count(plan.sets)
        return (analyse(shrink(dependency, plan).model) if removed else dependency), removed


def _limited(removed: Bools, min_keep: int) -> Bools:
    """Keep the first removed sets where fewer than ``min_keep`` would stay."""
    missing = min_keep - int((~removed).sum())
    if missing <= 0:
        return removed
    limited = removed.copy()
    limited[np.flatnonzero(removed)[:missing]] = False
    return limited


def _count(sets: Mapping[str, Bools]) -> int:
    return sum(int(removed.sum()) for removed in sets.values())


def _replace(model: Model, other: Model) -> None:
    """Replace the graph of a model by that of another one; its source and metadata stay."""
    model.graph = other.graph
    model.originals = other.originals
    model.captured = other.captured
