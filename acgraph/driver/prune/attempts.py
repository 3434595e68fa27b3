"""The attempts of ``prune``: cuts that are tried until the file does not become larger."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from acgraph.analysis.branches import NO_BRANCHES, Branches, analyse_branches
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.driver.cut_plan.apply import check_branches, cut_by_plan
from acgraph.driver.cut_plan.record import record_cut
from acgraph.driver.prune.columns import ColumnRequest, cut_columns
from acgraph.driver.prune.measured import reweighted
from acgraph.driver.prune.result import MeasuredCut, PruneRequest
from acgraph.driver.space.columns import LayerCut
from acgraph.ir import LayerBound, Model, clone_model
from acgraph.ir.branches import OpenBranch
from acgraph.ir.check import source_digest
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.cut_plan import CutPlan
from acgraph.pruning.importance import Importance
from acgraph.pruning.plan import Plan
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import masked_model, shrink
from acgraph.pruning.tie import retie_constants, write_once
from acgraph.version import __version__


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The model to cut, with its analysis.

    Attributes:
        model: The model as it was read.
        dependency: The dependency graph of the model with its constants untied.
        copies: The constants that untying created, each with the name of its origin.
        branches: What can be removed from the branches of If nodes.
        copies_of: The copies in each branch, including nested ones, by the analysed model.
        digest: SHA-256 of the file.
    """

    model: Model
    dependency: DependencyGraph
    copies: Mapping[str, str]
    branches: Branches = NO_BRANCHES
    copies_of: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def of(cls, model: Model, bounds: Mapping[str, LayerBound]) -> "Source":
        """Analyse a model and the branches in it.

        Args:
            model: The model.
            bounds: How much of each layer must be kept; the names of layers in branches begin
                with the path of the branch.
        """
        copies_of: dict[int, Mapping[str, str]] = {}

        def untied(model: Model, path: str) -> Model:
            prepared = clone_model(model)
            prepared.bounds = {
                name.removeprefix(path): bound
                for name, bound in bounds.items()
                if name.startswith(path)
            }
            copies_of[id(prepared)] = untie_constants(prepared)
            return prepared

        dependency = analyse(untied(model, ""))
        branches = analyse_branches(dependency, prepare=untied)
        copies = copies_of[id(dependency.model)]
        return cls(model, dependency, copies, branches, copies_of, source_digest(model))

    def inside(self) -> Iterator["tuple[OpenBranch, Source]"]:
        """Yield the branches, each with its model to cut."""
        for each in self.branches.found:
            copies = self.copies_of[id(each.graph.model)]
            opened = each.opened
            yield (
                opened,
                Source(opened.model, each.graph, copies, each.inner, self.copies_of, self.digest),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request to cut a model.

    Attributes:
        request: The request for coupled sets.
        columns: The request for columns.
        is_forced: Whether columns are cut even if the file becomes larger.
        plan: A plan to apply instead; None without one.
        importance: Ranks coupled sets; None ranks them by magnitude.
        measure: Chooses the cut of the main graph by calibration data; None without data.
    """

    request: PruneRequest
    columns: ColumnRequest
    is_forced: bool = False
    plan: CutPlan | None = None
    importance: Importance | None = None
    measure: Callable[[DependencyGraph], MeasuredCut] | None = None

    def inside(self, path: str) -> "Job":
        """Return the request for a branch."""
        if self.plan is None:
            return replace(self, measure=None)
        return replace(self, plan=self.plan.branches.get(path, CutPlan()))


@dataclass(frozen=True, slots=True)
class Cut:
    """The result of a cut.

    Attributes:
        model: The compact model.
        masked: The masked model: the original with zeros in place of what was removed.
        seconds: Duration of the shrinking.
        plan: The plan that repeats the cut.
        lowered: The compact form of each layer, if columns were cut.
        cuts: The pattern of each layer's columns, or the reason why they are kept.
    """

    model: Model
    masked: Model
    seconds: float
    plan: CutPlan
    lowered: list[LoweredLayer] = field(default_factory=list)
    cuts: list[LayerCut] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One cut to try: its name, and the coupled sets and columns to remove.

    With ``is_forced``, it is accepted even if the file becomes larger. ``applied`` is the result of
    a plan, if there is one; ``measured`` is the choice by calibration data.
    """

    name: str
    plan: Plan
    columns: ColumnRequest | None
    is_forced: bool
    applied: Cut | None = None
    measured: MeasuredCut | None = None


def attempts(source: Source, job: Job) -> Iterator[Attempt]:
    """Yield the cuts to try, until the file does not become larger.

    Raises:
        UsageError: The plan does not fit the model.
    """
    if job.plan is not None:
        yield _planned(source, job.plan)
        return
    if job.measure is not None:
        measured = job.measure(source.dependency)
        if measured.plan.sets:
            yield Attempt("coupled sets", measured.plan, None, is_forced=False, measured=measured)
        yield Attempt("", Plan(), None, is_forced=True)
        return
    plan = magnitude_plan(
        source.dependency,
        source.dependency.model.constants(),
        job.request.sparsity,
        allow_inexact=job.request.allow_inexact,
        align=job.request.align,
        importance=job.importance,
    )
    if job.columns.share > 0:
        yield Attempt("columns", plan, job.columns, job.is_forced)
    if plan.sets:
        yield Attempt("coupled sets", plan, None, is_forced=False)
    yield Attempt("", Plan(), None, is_forced=True)


def _planned(source: Source, plan: CutPlan) -> Attempt:
    """Return an attempt that applies a plan."""
    start = time.perf_counter()
    check_branches(plan, source.model, [opened for opened, _ in source.inside()])
    made = cut_by_plan(source.model, source.dependency, source.copies, plan)
    seconds = time.perf_counter() - start
    plan = plan.model_copy(update={"source_sha256": source.digest, "version": __version__})
    found = Cut(made.model, made.masked, seconds, plan, made.lowered)
    return Attempt("plan", Plan(sets=made.sets), None, is_forced=True, applied=found)


def uncut(source: Source) -> Cut:
    """Return the result of no cut: copies of the model."""
    plan = record_cut(source.dependency, source.copies, {}, source=source.digest)
    return Cut(clone_model(source.model), clone_model(source.model), 0.0, plan)


def cut(source: Source, attempt: Attempt) -> Cut:
    """Cut a copy of a model, but not its branches."""
    if attempt.applied is not None:
        return attempt.applied
    start = time.perf_counter()
    if not attempt.name:
        return uncut(source)
    dependency = source.dependency
    if attempt.measured is not None:
        dependency = reweighted(dependency, attempt.measured.weights)
    shrunk = shrink(dependency, attempt.plan)
    seconds = time.perf_counter() - start
    if attempt.columns is not None:
        found = cut_columns(shrunk, attempt.columns)
        plan = record_cut(
            dependency, source.copies, found.kept, found.weights, found.lowered, source.digest
        )
        # Write the result of applying the plan, so that the plan reproduces it.
        made = cut_by_plan(source.model, dependency, source.copies, plan)
        return Cut(made.model, made.masked, seconds, plan, found.lowered, found.cuts)
    small, masked = shrunk.model, masked_model(dependency, attempt.plan)
    write_once(small, source.copies)
    retie_constants(masked, source.copies)
    plan = record_cut(dependency, source.copies, shrunk.kept, source=source.digest)
    return Cut(small, masked, seconds, plan)
