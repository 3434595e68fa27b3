"""``prune``: one magnitude cut, without data and training."""

import time
from dataclasses import dataclass

import numpy as np

from acgraph.analysis.cost import Cost, model_cost
from acgraph.analysis.dependency import analyse
from acgraph.analysis.layers import Layer, layers
from acgraph.backends.ort.law import LawResult, check_law
from acgraph.diagnostics import Diagnostic
from acgraph.driver.chooser import make_chooser
from acgraph.driver.lower import compact
from acgraph.driver.trace import expand
from acgraph.errors import VerifyError
from acgraph.ir import Array, Model, clone_model, infer_facts
from acgraph.lowering.base import Chooser
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.importance import column_norms
from acgraph.pruning.plan import Plan
from acgraph.pruning.projection import top_mask
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import masked_model, replace_constants, shrink
from acgraph.pruning.tie import retie_vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """What a cut did.

    Attributes:
        model: The compact model.
        masked: The input model with every removed filter and column zeroed.
        before: Cost of the input.
        after: Cost of the compact model.
        fences: What could not be cut, with reasons.
        lowered: What became of each layer with removed columns.
        plan: What was removed.
        verify: The law: compact against masked.
        seconds: All of it, the law included.
        cut_seconds: Grouping and shrinking alone.
    """

    model: Model
    masked: Model
    before: Cost
    after: Cost
    fences: list[Diagnostic]
    lowered: list[LoweredLayer]
    plan: Plan
    verify: LawResult
    seconds: float
    cut_seconds: float


def prune(
    model: Model,
    *,
    sparsity: float = 0.5,
    columns: float = 0.0,
    allow_inexact: bool = False,
    chooser: Chooser | None = None,
) -> PruneResult:
    """Cut the coupled sets and columns of least magnitude; prove the result.

    Args:
        model: What to cut; it stays as it is.
        sparsity: Share of the coupled sets of every family that goes, in [0, 1).
        columns: Share of the columns of every convolution that goes, in [0, 1).
        allow_inexact: Cut across normalisations, too; the law then need not hold.
        chooser: Picks the form of each layer with removed columns; times them by default.

    Raises:
        VerifyError: the compact model does not compute what the masked one does.
    """
    start = time.perf_counter()
    prepared = clone_model(model)
    copies = untie_constants(prepared)
    dependency = analyse(prepared)
    plan = magnitude_plan(dependency, prepared.constants(), sparsity, allow_inexact=allow_inexact)
    shrunk = shrink(dependency, plan)
    cut_seconds = time.perf_counter() - start
    small, masked = shrunk.model, masked_model(dependency, plan)
    lowered: list[LoweredLayer] = []
    if columns > 0:
        zero_columns(small, columns)
        masked = expand(masked, dependency, small.constants(), shrunk.kept)
        small, lowered = compact(small, chooser or make_chooser("latency", timing=True))
    retie_vectors(small, copies)
    retie_vectors(masked, copies)
    law = check_law(small, masked)
    if not law.passed and not allow_inexact:
        raise VerifyError(
            f"the law does not hold: relative error {law.max_rel_error:.1e}",
            location=model.location(),
            hint="nothing was written; please report the model's operators",
        )
    return PruneResult(
        model=small,
        masked=masked,
        before=model_cost(model),
        after=model_cost(small),
        fences=dependency.all_fences(),
        lowered=lowered,
        plan=plan,
        verify=law,
        seconds=time.perf_counter() - start,
        cut_seconds=cut_seconds,
    )


def zero_columns(model: Model, share: float) -> None:
    """Zero this share of the columns of every convolution, those of least norm, in place."""
    constants = model.constants()
    changed: dict[str, Array] = {}
    for layer in layers(model, infer_facts(model)):
        if _has_columns(layer):
            weight = constants[layer.weight]
            keep = top_mask(column_norms(weight), max(1, round((1 - share) * layer.columns)))
            changed[layer.weight] = np.where(keep[None], weight, 0).astype(weight.dtype)
    replace_constants(model, changed)


def _has_columns(layer: Layer) -> bool:
    return layer.op_type == "Conv" and layer.group == 1 and not layer.through and layer.columns > 1
