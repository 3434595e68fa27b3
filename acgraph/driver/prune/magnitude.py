"""``prune``: one cut by magnitude or by calibration data, without training."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal

from acgraph.analysis.branches import without
from acgraph.analysis.cost import model_cost
from acgraph.analysis.layer_patterns import bound_layers
from acgraph.analysis.obstacles import obstacles
from acgraph.backends.ort.equivalence import EquivalenceResult, check_equivalence
from acgraph.backends.ort.layer_timing import timing_chooser
from acgraph.backends.ort.reach import branch_trials, runnable_inputs
from acgraph.backends.ort.session import SessionSettings
from acgraph.backends.ort.verdict import untouched
from acgraph.backends.select import training_backend
from acgraph.config import Runtime
from acgraph.config_fields import AUTO
from acgraph.driver.cost.compact import SmallestChooser
from acgraph.driver.inputs.reading import check_reading
from acgraph.driver.latency.alignment import measure_align
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.latency.runtime import session_settings
from acgraph.driver.prune.attempts import Cut, Job, Source, attempts, cut, uncut
from acgraph.driver.prune.branches import (
    MakeFeeds,
    cut_branches,
    put_back,
    together,
    unchecked,
)
from acgraph.driver.prune.calibration import Calibration
from acgraph.driver.prune.columns import ColumnRequest, NotLarger, for_original
from acgraph.driver.prune.measured import Measuring
from acgraph.driver.prune.result import PruneReport, PruneRequest
from acgraph.driver.prune.verdict import is_met, not_equivalent
from acgraph.driver.results.metadata import describe
from acgraph.ir import (
    Model,
    infer_facts,
    release_mapped,
    resolve_sizes,
    stored_size,
)
from acgraph.ir.branches import models_inside, put_branch
from acgraph.lowering.base import Chooser
from acgraph.lowering.patterns import check_pattern
from acgraph.pruning.cut_plan import CutPlan
from acgraph.pruning.importance import Importance
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
    importance: Importance | None = None,
    calibration: Calibration | None = None,
    target_rate: float | None = None,
    metric: Literal["params", "macs"] = "params",
) -> PruneReport:
    """Remove the coupled sets and columns of smallest magnitude, and check the result.

    A cut that would make the file larger is not made; ``notes`` of the result say so.

    Args:
        model: The model to cut, which is not changed, except that its input sizes are resolved.
        sparsity: Share of the coupled sets of every family to remove, in [0, 1).
        columns: Share of the columns of every layer to remove, in [0, 1).
        column_pattern: Which columns are removed together, one of
            ``acgraph.lowering.patterns.PATTERN_CHOICES``.
        column_multiple: Keep a multiple of this many channels, see ``project_columns``.
        align: Keep a multiple of this many coupled sets of each family that is cut; ``auto`` times
            a few layers to find a good multiple for this host.
        allow_inexact: Also cut across normalisation over channels; the compact and the masked model
            may then differ in their outputs.
        allow_slower: Use the smallest form of each layer with removed columns, however slow it is;
            nothing is timed.
        runtime: The runtime in which the forms of layers are timed, see ``session_settings``.
        chooser: Chooses the form of each layer with removed columns; by default the fastest one
            that is not larger than the dense layer. A chooser that is passed may take larger ones.
        keep: Patterns of layers that are left whole, see ``bound_layers``.
        layer_rate: Upper bounds on the rate of layers, by pattern.
        max_layer_rate: Upper bound on the rate of every layer.
        plan: The cut to repeat, in place of a choice by magnitude.
        importance: Ranks coupled sets in place of their magnitude, see ``scored_sets``.
        calibration: Data by which coupled sets are ranked, and to which layers are fitted.
        target_rate: Size before / size after, in place of ``sparsity``; needs data.
        metric: The quantity that this rate applies to.

    Returns:
        The compact and the masked model, with costs, fences and the equivalence check.

    Raises:
        UsageError: There is no such column pattern, a pattern matches no layer, or the plan does
            not fit the model.
        VerifyError: The compact model is not equivalent to the masked one.
    """
    start = time.perf_counter()
    check_pattern(column_pattern)
    if model.sizes is None:
        resolve_sizes(model)
    check_reading(model)
    bounds = bound_layers(
        model, keep, layer_rate, max_layer_rate, inside=dict(models_inside(model))
    )
    settings = session_settings(runtime)
    step = measure_align(timing_chooser(settings=settings)) if align == AUTO else align
    job = Job(
        request=PruneRequest(
            sparsity=sparsity, columns=columns, allow_inexact=allow_inexact,
            allow_slower=allow_slower, align=step, by_plan=plan is not None,
            target_rate=target_rate, metric=metric,
        ),
        columns=ColumnRequest(
            share=columns, pattern=column_pattern, multiple=column_multiple, align=step,
            chooser=chooser or _chooser(settings, allow_slower=allow_slower),
            is_timed=not allow_slower,
        ),
        is_forced=chooser is not None,
        plan=plan,
        importance=importance,
    )  # fmt: skip
    if calibration is not None:
        measuring = Measuring(training_backend(), calibration, job.request)
        job = replace(job, measure=measuring.cut)
    began = time.perf_counter()
    source = Source.of(model, bounds)
    analysed = time.perf_counter() - began
    result = _cut_and_check(source, job, None)
    source = replace(source, branches=without(source.branches, unchecked(result)))
    result = replace(
        result,
        obstacles=obstacles(source.dependency, source.branches, allow_inexact=allow_inexact),
        seconds=time.perf_counter() - start,
        cut_seconds=analysed + result.cut_seconds,
    )
    if is_met(result):
        return result
    return replace(result, rates_with=_rates_with(source, result, job))


def _cut_and_check(source: Source, job: Job, feeds: MakeFeeds | None) -> PruneReport:
    """Cut a model and its branches, and check each branch and the whole model.

    Args:
        source: The model.
        job: What to cut.
        feeds: Makes the inputs of a branch; None for the whole model, which takes random inputs.

    Raises:
        VerifyError: A compact model is not equivalent to the masked one.
        UncheckedError: The branch cannot be run on any of its inputs.
    """
    model, dependency = source.model, source.dependency
    before = model_cost(model)
    notes = []
    for attempt in attempts(source, job):
        made = cut(source, attempt)
        after = model_cost(made.model)
        if after.bytes <= before.bytes or attempt.is_forced:
            break
        notes.append(f"the {attempt.name} were not cut, because the file would be larger")
    sets = attempt.plan
    branches = cut_branches(
        source,
        feeds or cache(lambda: branch_trials(model)),
        lambda inner, path, own: _cut_and_check(inner, job.inside(path), cache(own)),
    )
    is_whole = (
        not sets.sets and after.params == before.params and not any(c.pattern for c in made.cuts)
    )
    if is_whole:
        made = replace(uncut(source), lowered=made.lowered, cuts=made.cuts)
    put_back(made, branches)
    facts = infer_facts(made.model, assume=True)
    if is_whole and not branches.is_cut:
        after, equivalence = before, untouched()
    else:
        after = model_cost(made.model, facts=facts)
        equivalence = _check(model, made, feeds, with_branches=branches.is_cut)
    inexact = [f.name for f in dependency.families if f.name in sets.sets and not f.is_exact]
    result = together(
        PruneReport(
            model=made.model,
            masked=made.masked,
            before=before,
            after=after,
            families=dependency.families,
            remarks=(
                *model.remarks,
                *dependency.facts.remarks_beside(facts),
                *_other_file(source, job.plan),
            ),
            fences=dependency.all_fences(),
            lowered=for_original(made.lowered, made.cuts, model),
            cuts=made.cuts,
            plan=sets,
            cut_plan=made.plan,
            inexact=inexact,
            verify=equivalence,
            request=job.request,
            obstacles=[],
            notes=tuple(notes),
            rates_with={},
            seconds=0.0,
            cut_seconds=made.seconds,
            measured=attempt.measured,
        ),
        branches,
    )
    equivalence = result.verify
    if not equivalence.passed and not (result.inexact and math.isfinite(equivalence.max_rel_error)):
        raise not_equivalent(equivalence, model)
    if result.after is before:
        return result
    rate = before.params / max(result.after.params, 1)
    describe(made.model, source=source.digest, rate=rate, error=equivalence.max_rel_error)
    return replace(result, after=model_cost(made.model, facts=facts))


def _other_file(source: Source, plan: CutPlan | None) -> tuple[str, ...]:
    if plan is None or plan.source_sha256 in ("", source.digest):
        return ()
    return ("the plan was made from another file, whose layers have the same sizes",)


def _check(
    model: Model, made: Cut, feeds: MakeFeeds | None, *, with_branches: bool
) -> EquivalenceResult:
    """Compare the compact model with the masked one; a branch on the inputs that it receives.

    A model with branches may fail on inputs that only one of them supports: such inputs are left
    out, unless it fails on all of them.
    """
    release_mapped(model)
    if feeds is None and with_branches:
        tried = runnable_inputs(model, branch_trials(model))[0]
    else:
        tried = [] if feeds is None else list(feeds())
    arrays = [each for _, each in tried]
    equivalence = check_equivalence(
        made.model, made.masked, seeds=0 if arrays else 3, inputs=arrays
    )
    release_mapped(model)
    return equivalence


def _rates_with(source: Source, result: PruneReport, job: Job) -> dict[str, float]:
    """Try options that may allow more to be cut; return the rate of params by option, if higher."""
    requested = result.request
    job = replace(job, measure=None)
    tries = {}
    if requested.sparsity and not requested.allow_inexact:
        tries["--allow-inexact"] = replace(
            job,
            request=replace(requested, allow_inexact=True),
            columns=replace(job.columns, share=0.0),
        )
    if job.columns.share and not requested.allow_slower:
        small = replace(job.columns, chooser=SmallestChooser("size"))
        tries["--allow-slower"] = replace(job, columns=small, is_forced=True)
    rates = {}
    for option, other in tries.items():
        params, _ = stored_size(_tried(source, other))
        if params and not is_little(requested.share, 1 - params / max(result.before.params, 1)):
            rates[option] = result.before.params / params
    return rates


def _tried(source: Source, job: Job) -> Model:
    """Cut a model and its branches without a check."""
    found = cut(source, next(attempts(source, job)))
    for opened, inner in source.inside():
        put_branch(found.model, opened, _tried(inner, job))
    return found.model


def _chooser(settings: SessionSettings, *, allow_slower: bool) -> Chooser:
    """Make a chooser that never takes a form with more bytes than the dense layer."""
    if allow_slower:
        return SmallestChooser("size")
    return NotLarger(make_chooser("latency", timing=True, settings=settings))
