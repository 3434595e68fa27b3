"""``prune``: one magnitude cut, without data and training."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from acgraph.analysis.cost import Cost, model_cost
from acgraph.analysis.dependency import analyse
from acgraph.analysis.layers import layers
from acgraph.backends.ort.law import LawResult, check_law
from acgraph.config import Runtime
from acgraph.diagnostics import Diagnostic
from acgraph.driver.chooser import make_chooser
from acgraph.driver.columns import LayerCut, zero_columns
from acgraph.driver.lower import compact
from acgraph.driver.reading import check_reading
from acgraph.driver.runtime import session_settings
from acgraph.driver.trace import Positions, compose, expand
from acgraph.errors import VerifyError
from acgraph.ir import Model, clone_model, infer_facts
from acgraph.lowering.base import Chooser
from acgraph.lowering.patterns import check_pattern
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.dead import dead_sets
from acgraph.pruning.plan import Plan
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import masked_model, shrink
from acgraph.pruning.tie import retie_vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """What a cut did.

    Attributes:
        model: The compact model.
        masked: The input model with every removed filter and column zeroed.
        before: Cost of the input.
        after: Cost of the compact model.
        remarks: What import had to change, and which shapes could not be found.
        fences: What could not be cut, with reasons.
        lowered: What became of each layer where columns were cut; ``remark`` says why one was not.
        cuts: The pattern of each layer's columns, where columns were cut.
        plan: What was removed.
        inexact: The families of it whose cut changes what the zeroed model computes.
        verify: The law: compact against masked.
        seconds: All of it, the law included.
        cut_seconds: Grouping and shrinking alone.
    """

    model: Model
    masked: Model
    before: Cost
    after: Cost
    remarks: tuple[str, ...]
    fences: list[Diagnostic]
    lowered: list[LoweredLayer]
    cuts: list[LayerCut]
    plan: Plan
    inexact: list[str]
    verify: LawResult
    seconds: float
    cut_seconds: float


def prune(
    model: Model,
    *,
    sparsity: float = 0.5,
    columns: float = 0.0,
    column_pattern: str = "free",
    column_multiple: int = 1,
    allow_inexact: bool = False,
    runtime: Runtime = "ort-mobile",
    chooser: Chooser | None = None,
) -> PruneResult:
    """Cut the coupled sets and columns of least magnitude; prove the result.

    Args:
        model: What to cut; it stays as it is.
        sparsity: Share of the coupled sets of every family that goes, in [0, 1).
        columns: Share of the columns of every layer that goes, in [0, 1).
        column_pattern: Which columns may stay together, one of
            ``acgraph.lowering.patterns.PATTERN_CHOICES``.
        column_multiple: Keep a multiple of so many channels, see ``project_columns``.
        allow_inexact: Cut across normalisations, too; where the plan does, the two models may
            differ in their numbers.
        runtime: What the forms of layers are timed as, see ``session_settings``.
        chooser: Picks the form of each layer with removed columns; times them by default.

    Raises:
        UsageError: there is no such pattern.
        VerifyError: the compact model does not compute what the masked one does.
    """
    start = time.perf_counter()
    check_pattern(column_pattern)
    check_reading(model)
    prepared = clone_model(model)
    copies = untie_constants(prepared)
    dependency = analyse(prepared)
    plan = magnitude_plan(dependency, prepared.constants(), sparsity, allow_inexact=allow_inexact)
    shrunk = shrink(dependency, plan)
    cut_seconds = time.perf_counter() - start
    small, masked = shrunk.model, masked_model(dependency, plan)
    lowered: list[LoweredLayer] = []
    cuts: list[LayerCut] = []
    if columns > 0:
        cuts = zero_columns(small, columns, pattern=column_pattern, multiple=column_multiple)
        small, kept = _drop_dead(small, shrunk.kept)
        masked = expand(masked, dependency, small.constants(), kept)
        if chooser is None:
            chooser = make_chooser("latency", timing=True, settings=session_settings(runtime))
        small, lowered = compact(small, chooser)
        lowered = _as_asked(lowered, cuts, model)
    retie_vectors(small, copies)
    retie_vectors(masked, copies)
    law = check_law(small, masked)
    inexact = [f.name for f in dependency.families if f.name in plan.sets and not f.is_exact]
    if not law.passed and not (inexact and math.isfinite(law.max_rel_error)):
        raise VerifyError(
            f"the law does not hold: {law.failures[0]}",
            location=model.location(),
            hint="nothing was written; please report the model's operators",
        )
    facts = infer_facts(small, assume=True)
    return PruneResult(
        model=small,
        masked=masked,
        before=model_cost(model),
        after=model_cost(small, facts=facts),
        remarks=(*model.remarks, *dependency.facts.remarks_beside(facts)),
        fences=dependency.all_fences(),
        lowered=lowered,
        cuts=cuts,
        plan=plan,
        inexact=inexact,
        verify=law,
        seconds=time.perf_counter() - start,
        cut_seconds=cut_seconds,
    )


def _drop_dead(model: Model, kept: Positions) -> tuple[Model, Positions]:
    """Delete the filters that nothing reads any more: a channel whose columns all went goes whole.

    Args:
        model: With removed columns zeroed.
        kept: Where its constants lay in the dense model.

    Returns:
        The smaller model, and where its constants lay.
    """
    while True:
        dependency = analyse(model)
        families = dependency.prunable(allow_inexact=False)
        dead = dead_sets(dependency, families, model.constants())
        if not dead:
            return model, kept
        shrunk = shrink(dependency, Plan(sets=dead))
        model, kept = shrunk.model, compose(kept, shrunk)


def _as_asked(
    lowered: Sequence[LoweredLayer], cuts: Sequence[LayerCut], original: Model
) -> list[LoweredLayer]:
    """State the columns of the input model, and why a layer's were not cut."""
    remarks = {cut.name: cut.remark for cut in cuts}
    before = {layer.name: layer.columns for layer in layers(original)}
    return [
        replace(
            layer,
            columns_before=before.get(layer.name, layer.columns_before),
            remark=remarks.get(layer.name) or layer.remark,
        )
        for layer in lowered
    ]
