"""``prune``: one magnitude cut, without data and training."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from acgraph import __version__
from acgraph.analysis.cost import model_cost
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.analysis.layer_patterns import bound_layers
from acgraph.analysis.obstacles import obstacles
from acgraph.backends.ort.law import check_law
from acgraph.backends.ort.layer_timing import timing_chooser
from acgraph.backends.ort.session import SessionSettings
from acgraph.backends.ort.verdict import untouched
from acgraph.config import Runtime
from acgraph.config_fields import AUTO
from acgraph.driver.cost.compact import SmallestChooser
from acgraph.driver.cut_plan.apply import cut_by_plan
from acgraph.driver.cut_plan.record import record_cut
from acgraph.driver.inputs.reading import check_reading
from acgraph.driver.latency.alignment import learn_align
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.latency.runtime import session_settings
from acgraph.driver.prune.columns import ColumnRequest, NotLarger, as_asked, cut_columns
from acgraph.driver.prune.result import PruneRequest, PruneResult
from acgraph.driver.prune.verdict import is_met
from acgraph.driver.results.metadata import describe
from acgraph.driver.space.columns import LayerCut
from acgraph.errors import VerifyError
from acgraph.ir import (
    Model,
    clone_model,
    infer_facts,
    release_mapped,
    settle_sizes,
    stored_size,
)
from acgraph.ir.check import source_digest
from acgraph.lowering.base import Chooser
from acgraph.lowering.patterns import check_pattern
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.cut_plan import CutPlan
from acgraph.pruning.plan import Plan
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import masked_model, shrink
from acgraph.pruning.tie import retie_constants, write_once
from acgraph.report.shortfall import is_little


def prune(
    model: Model,
    *,
    sparsity: float = 0.5,
    columns: float = 0.0,
    column_pattern: str = "free",
    column_multiple: int = 1,
    align: int | Literal["auto"] = 1,
    allow_inexact: bool = False,
    allow_slower: bool = False,
    runtime: Runtime = "ort-mobile",
    chooser: Chooser | None = None,
    keep: Sequence[str] = (),
    layer_rate: Mapping[str, float] | None = None,
    max_layer_rate: float | None = None,
    plan: CutPlan | None = None,
) -> PruneResult:
    """Cut the coupled sets and columns of least magnitude; prove the result.

    A cut that would make the file larger is not made; ``notes`` of the result say so.

    Args:
        model: What to cut; it stays as it is. Sizes of its inputs are settled where they are not.
        sparsity: Share of the coupled sets of every family that goes, in [0, 1).
        columns: Share of the columns of every layer that goes, in [0, 1).
        column_pattern: Which columns may stay together, one of
            ``acgraph.lowering.patterns.PATTERN_CHOICES``.
        column_multiple: Keep a multiple of so many channels, see ``project_columns``.
        align: Keep a multiple of so many coupled sets of each family that is cut; ``auto`` times a
            few layers to find which multiple is worth it on this host.
        allow_inexact: Cut across normalisations, too; where the plan does, the two models may
            differ in their numbers.
        allow_slower: Take the smallest form of each layer with removed columns, whatever time it
            takes; nothing is timed.
        runtime: What the forms of layers are timed as, see ``session_settings``.
        chooser: Picks the form of each layer with removed columns; by default the fastest that is
            no larger than the dense layer. What another one picks is taken, larger or not.
        keep: Patterns of layers that stay whole, see ``bound_layers``.
        layer_rate: By pattern: how far layers may be cut.
        max_layer_rate: How far any layer may be cut.
        plan: What to cut, instead of what is of least magnitude.

    Raises:
        UsageError: there is no such column pattern, a pattern matches no layer, or the plan does
            not fit the model.
        VerifyError: the compact model does not compute what the masked one does.
    """
    start = time.perf_counter()
    check_pattern(column_pattern)
    if model.sizes is None:
        settle_sizes(model)
    check_reading(model)
    bounds = bound_layers(model, keep, layer_rate, max_layer_rate)
    prepared = clone_model(model)
    prepared.bounds = bounds
    copies = untie_constants(prepared)
    dependency = analyse(prepared)
    analysed = time.perf_counter()
    before = model_cost(model)
    settings = session_settings(runtime)
    step = learn_align(timing_chooser(settings=settings)) if align == AUTO else align
    asked = PruneRequest(
        sparsity=sparsity, columns=columns, allow_inexact=allow_inexact,
        allow_slower=allow_slower, align=step, by_plan=plan is not None,
    )  # fmt: skip
    source = _Source(model, dependency, copies, source_digest(model))
    wanted = ColumnRequest(
        share=columns, pattern=column_pattern, multiple=column_multiple, align=step,
        chooser=chooser or _chooser(settings, allow_slower=allow_slower),
        is_timed=not allow_slower,
    )  # fmt: skip
    notes = []
    attempts = _attempts(_plan(source, asked), wanted, is_given=chooser is not None)
    for attempt in attempts if plan is None else [_planned(source, plan)]:
        cut = _cut(source, attempt)
        facts = infer_facts(cut.model, assume=True)
        after = model_cost(cut.model, facts=facts)
        if after.bytes <= before.bytes or attempt.is_given:
            break
        notes.append(f"the {attempt.name} are not cut: the file would be larger")
    sets = attempt.plan
    if not sets.sets and after.params == before.params and not any(c.pattern for c in cut.cuts):
        cut = replace(_whole(source), lowered=cut.lowered, cuts=cut.cuts)
        facts, after, law = infer_facts(cut.model, assume=True), before, untouched()
    else:
        release_mapped(model)
        law = check_law(cut.model, cut.masked)
        release_mapped(model)
        rate = before.params / max(after.params, 1)
        describe(cut.model, source=source.digest, rate=rate, error=law.max_rel_error)
        after = model_cost(cut.model, facts=facts)
    inexact = [f.name for f in dependency.families if f.name in sets.sets and not f.is_exact]
    if not law.passed and not (inexact and math.isfinite(law.max_rel_error)):
        raise VerifyError(
            f"the law does not hold: {law.failures[0]}",
            location=model.location(),
            hint="nothing was written; please report the model's operators",
        )
    result = PruneResult(
        model=cut.model,
        masked=cut.masked,
        before=before,
        after=after,
        families=dependency.families,
        remarks=(
            *model.remarks,
            *dependency.facts.remarks_beside(facts),
            *_other_file(source, plan),
        ),
        fences=dependency.all_fences(),
        lowered=as_asked(cut.lowered, cut.cuts, model),
        cuts=cut.cuts,
        plan=sets,
        cut_plan=cut.plan,
        inexact=inexact,
        verify=law,
        request=asked,
        holding=obstacles(dependency, allow_inexact=allow_inexact),
        notes=tuple(notes),
        rates_with={},
        seconds=time.perf_counter() - start,
        cut_seconds=analysed - start + cut.seconds,
    )
    if is_met(result):
        return result
    return replace(result, rates_with=_rates_with(source, result, wanted))


def _plan(source: "_Source", asked: PruneRequest) -> Plan:
    return magnitude_plan(
        source.dependency,
        source.dependency.model.constants(),
        asked.sparsity,
        allow_inexact=asked.allow_inexact,
        align=asked.align,
    )


def _rates_with(source: "_Source", result: PruneResult, wanted: ColumnRequest) -> dict[str, float]:
    """Try what would cut more; return the rate of params by option, of those that do."""
    asked = result.request
    tries = {}
    if asked.sparsity and not asked.allow_inexact:
        more = replace(asked, allow_inexact=True)
        tries["--allow-inexact"] = _Attempt("coupled sets", _plan(source, more), None, True)
    if wanted.share and not asked.allow_slower:
        small = replace(wanted, chooser=SmallestChooser("size"))
        tries["--allow-slower"] = _Attempt("columns", result.plan, small, True)
    rates = {}
    for option, attempt in tries.items():
        params, _ = stored_size(_cut(source, attempt).model)
        if not is_little(asked.share, 1 - params / max(result.before.params, 1)):
            rates[option] = result.before.params / params
    return rates


@dataclass(frozen=True, slots=True)
class _Source:
    """What is cut.

    Attributes:
        model: As it was read.
        dependency: Of the model with its constants untied.
        copies: The constants that untying made, with their origins.
        digest: SHA-256 of the file.
    """

    model: Model
    dependency: DependencyGraph
    copies: dict[str, str]
    digest: str


@dataclass(frozen=True, slots=True)
class _Cut:
    model: Model
    masked: Model
    seconds: float
    plan: CutPlan
    lowered: list[LoweredLayer] = field(default_factory=list)
    cuts: list[LayerCut] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One cut to try: what it is called, which coupled sets go, and which columns.

    ``is_given`` says that it is taken however large the file becomes. ``applied`` is what a plan
    made of the model, where one was given.
    """

    name: str
    plan: Plan
    columns: ColumnRequest | None
    is_given: bool
    applied: _Cut | None = None


def _attempts(plan: Plan, columns: ColumnRequest, *, is_given: bool) -> Iterator[_Attempt]:
    """Yield what to try, until the file does not become larger."""
    if columns.share > 0:
        yield _Attempt("columns", plan, columns, is_given)
    if plan.sets:
        yield _Attempt("coupled sets", plan, None, is_given=False)
    yield _Attempt("", Plan(), None, is_given=True)


def _planned(source: _Source, plan: CutPlan) -> _Attempt:
    """Cut by a plan."""
    start = time.perf_counter()
    made = cut_by_plan(source.model, source.dependency, source.copies, plan)
    seconds = time.perf_counter() - start
    plan = plan.model_copy(update={"source_sha256": source.digest, "version": __version__})
    cut = _Cut(made.model, made.masked, seconds, plan, made.lowered)
    return _Attempt("plan", Plan(sets=made.sets), None, is_given=True, applied=cut)


def _other_file(source: _Source, plan: CutPlan | None) -> tuple[str, ...]:
    if plan is None or plan.source_sha256 in ("", source.digest):
        return ()
    return ("the plan was made of another file, whose layers have the same sizes",)


def _cut(source: _Source, attempt: _Attempt) -> _Cut:
    """Cut a copy of a model."""
    if attempt.applied is not None:
        return attempt.applied
    start = time.perf_counter()
    if not attempt.name:
        return _whole(source)
    dependency = source.dependency
    shrunk = shrink(dependency, attempt.plan)
    seconds = time.perf_counter() - start
    if attempt.columns is not None:
        found = cut_columns(shrunk, attempt.columns)
        plan = record_cut(
            dependency, source.copies, found.kept, found.weights, found.lowered, source.digest
        )
        # What is written is what the plan makes, so that the plan repeats it.
        made = cut_by_plan(source.model, dependency, source.copies, plan)
        return _Cut(made.model, made.masked, seconds, plan, found.lowered, found.cuts)
    small, masked = shrunk.model, masked_model(dependency, attempt.plan)
    write_once(small, source.copies)
    retie_constants(masked, source.copies)
    plan = record_cut(dependency, source.copies, shrunk.kept, source=source.digest)
    return _Cut(small, masked, seconds, plan)


def _whole(source: _Source) -> _Cut:
    """Cut nothing."""
    plan = record_cut(source.dependency, source.copies, {}, source=source.digest)
    return _Cut(clone_model(source.model), clone_model(source.model), 0.0, plan)


def _chooser(settings: SessionSettings, *, allow_slower: bool) -> Chooser:
    """Make what picks the form of a layer: never one that takes more bytes than the dense layer."""
    if allow_slower:
        return SmallestChooser("size")
    return NotLarger(make_chooser("latency", timing=True, settings=settings))
