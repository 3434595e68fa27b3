"""Branches of If nodes in ``prune``: each is cut and checked on its own, then put back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from acgraph.analysis.branches import moved, moved_family
from acgraph.backends.ort.equivalence import EquivalenceResult, OutputEquivalence
from acgraph.backends.ort.evidence import Feeds
from acgraph.backends.ort.reach import branch_inputs, runnable_inputs
from acgraph.diagnostics import Diagnostic
from acgraph.driver.prune.attempts import Cut, Source
from acgraph.driver.prune.result import PruneReport
from acgraph.ir.branches import OpenBranch, put_branch
from acgraph.pruning.cut_plan import CutPlan
from acgraph.pruning.plan import Plan

#: Reason for not cutting a branch; the error of the runtime follows.
UNCHECKED = "the branch cannot be run on the inputs that reach it, so its cut could not be checked"
#: Makes the inputs that a model is compared on; called only if something was cut.
MakeFeeds = Callable[[], Sequence[Feeds]]


class UncheckedError(Exception):
    """A branch cannot be run on any of its inputs; the text gives the reason."""


@dataclass(frozen=True, slots=True)
class BranchCuts:
    """The cuts of the branches of a model.

    Attributes:
        results: The result for each branch that could be cut and checked.
        fences: The reason for each branch that could not.
    """

    results: tuple[tuple[OpenBranch, PruneReport], ...] = ()
    fences: tuple[Diagnostic, ...] = ()

    @property
    def is_cut(self) -> bool:
        """Whether anything was removed."""
        return any(is_cut(result) for _, result in self.results)


def is_cut(result: PruneReport) -> bool:
    """Return whether anything was removed from a model."""
    return not result.cut_plan.cuts_nothing


def feeds_of(source: Source, opened: OpenBranch, outer: MakeFeeds) -> MakeFeeds:
    """Return a function that computes the inputs of a branch from those of the outer model.

    The function raises ``UncheckedError`` if the branch can be run on none of them.
    """

    def make() -> Sequence[Feeds]:
        names = [tensor.name for tensor in opened.model.graph.inputs]
        found, reason = runnable_inputs(
            opened.model, branch_inputs(source.model, names, outer(), opened.shared)
        )
        if not found:
            raise UncheckedError(reason or "no input that was tried reaches the branch")
        return found

    return make


def cut_branches(
    source: Source,
    feeds: MakeFeeds,
    cut_one: Callable[[Source, str, MakeFeeds], PruneReport],
) -> BranchCuts:
    """Cut the branches of a model.

    Args:
        source: The outer model.
        feeds: Makes its inputs.
        cut_one: Cuts the model of a branch, and takes the path of the branch; may raise
            ``UncheckedError``.
    """
    results, fences = [], []
    for opened, inner in source.inside():
        try:
            own = feeds_of(source, opened, feeds)
            results.append((opened, cut_one(inner, opened.branch.path, own)))
        except UncheckedError as error:
            fences.append(
                Diagnostic(
                    location=source.model.location(value=opened.branch.path),
                    message=f"{UNCHECKED}: {error}",
                )
            )
    return BranchCuts(tuple(results), tuple(fences))


def unchecked(result: PruneReport) -> dict[str, Diagnostic]:
    """Return the fences of branches whose cuts could not be checked, by the path of the branch."""
    return {f.location.value: f for f in result.fences if f.message.startswith(UNCHECKED)}


def put_back(cut: Cut, branches: BranchCuts) -> None:
    """Insert the cut branches into the compact and the masked model, in place."""
    for opened, result in branches.results:
        if is_cut(result):
            put_branch(cut.model, opened, result.model)
            put_branch(cut.masked, opened, result.masked)


def together(result: PruneReport, branches: BranchCuts) -> PruneReport:
    """Merge the report on the outer model with those on its branches."""
    if branches.is_cut and not is_cut(result):  # only the checks of the branches are meaningful
        result = replace(result, verify=replace(result.verify, vacuous=False))
    for opened, inner in branches.results:
        result = _joined(result, inner, opened.branch.path)
    return replace(result, fences=[*result.fences, *branches.fences])


def _joined(result: PruneReport, inner: PruneReport, path: str) -> PruneReport:
    source = result.model.source

    def named(text: str) -> str:
        return f"{path}/{text}"

    sets = {named(name): gone for name, gone in inner.plan.sets.items()}
    return replace(
        result,
        families=(*result.families, *(moved_family(f, path, source) for f in inner.families)),
        remarks=(*result.remarks, *(f"{path}: {remark}" for remark in inner.remarks)),
        fences=[*result.fences, *(moved(note, path, source) for note in inner.fences)],
        lowered=[*result.lowered, *(replace(x, name=named(x.name)) for x in inner.lowered)],
        cuts=[*result.cuts, *(replace(c, name=named(c.name)) for c in inner.cuts)],
        cut_plan=_planned(result.cut_plan, inner.cut_plan, path),
        plan=Plan(sets={**result.plan.sets, **sets}, columns=result.plan.columns),
        inexact=[*result.inexact, *map(named, inner.inexact)],
        notes=(*result.notes, *(f"{path}: {note}" for note in inner.notes)),
        verify=_both(result.verify, inner.verify, path) if is_cut(inner) else result.verify,
    )


def _planned(plan: CutPlan, inner: CutPlan, path: str) -> CutPlan:
    if inner.cuts_nothing:
        return plan
    return plan.model_copy(update={"branches": {**plan.branches, path: inner}})


def _both(equivalence: EquivalenceResult, inner: EquivalenceResult, path: str) -> EquivalenceResult:
    """Merge the check of a model with that of a branch, which the model may not have executed."""

    def named(found: Sequence[OutputEquivalence]) -> Iterator[OutputEquivalence]:
        return (replace(each, name=f"{path}/{each.name}") for each in found)

    note = f"{path}, checked on its own: relative error {inner.max_rel_error:.1e}"
    return replace(
        equivalence,
        max_abs_error=max(equivalence.max_abs_error, inner.max_abs_error),
        max_rel_error=max(equivalence.max_rel_error, inner.max_rel_error),
        passed=equivalence.passed and inner.passed,
        vacuous=equivalence.vacuous or inner.vacuous,
        per_output=(*equivalence.per_output, *named(inner.per_output)),
        inside=(*equivalence.inside, *named(inner.inside)),
        notes=(*equivalence.notes, note, *(f"{path}: {text}" for text in inner.notes)),
    )
