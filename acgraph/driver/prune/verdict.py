"""The verdict of ``prune``: whether the requested cut was reached, why not, and a hint."""

import numpy as np

from acgraph.analysis.layers import layers
from acgraph.backends.ort.equivalence import EquivalenceResult
from acgraph.diagnostics import counted
from acgraph.driver.prune.result import PruneReport
from acgraph.errors import VerifyError
from acgraph.ir import Array, Model
from acgraph.pruning.rate import format_rate
from acgraph.report.shortfall import is_little, main_obstacle_text, remedy

#: If the file shrank by less than this share of the request, the summary includes the reason.
HALF = 0.5
_NAMES = {"params": "params", "macs": "MACs"}


def is_met(result: PruneReport) -> bool:
    """Return whether at least a tenth of the requested share was removed, of params, MACs or bytes.

    A target rate must be reached in full.
    """
    if result.request.target_rate is not None:
        rate = result.rate(result.request.metric)
        return rate is not None and rate >= result.request.target_rate
    rates = [rate for key in ("params", "macs", "bytes") if (rate := result.rate(key))]
    return not is_little(result.request.share, max(1 - 1 / rate for rate in rates))


def verdict(result: PruneReport) -> str:
    """Summarise in one line what was reached, and the reason if it is little."""
    requested = result.request
    wanted = [f"{100 * requested.sparsity:g} % of the coupled sets"] if requested.sparsity else []
    wanted += [f"{100 * requested.columns:g} % of the columns"] if requested.columns else []
    if requested.by_plan:
        wanted = ["what the plan lists"]
    if requested.target_rate is not None:
        rate = format_rate(requested.target_rate)
        wanted = [f"to {rate} fewer {_NAMES[requested.metric]}"]
    if not wanted:
        return "nothing was cut, because --sparsity and --columns are 0"
    rates = {name: result.rate(key) for key, name in _NAMES.items()}
    reached = [f"{format_rate(rate)} fewer {name}" for name, rate in rates.items() if rate]
    if result.measured is not None and result.measured.kept is not None:
        reached.append(f"{100 * result.measured.kept.refitted:.1f} % agreement with the original")
    aim = f"asked to cut {' and '.join(wanted)}"
    why = _why(result)
    reason = f". {why[0].upper()}{why[1:]}" if why else ""
    if is_met(result):
        smaller = 1 - result.after.bytes / max(result.before.bytes, 1)
        return f"{', '.join(reached)} ({aim}){reason if smaller < HALF * requested.share else ''}"
    if result.after.params >= result.before.params:
        return f"nothing could be cut ({aim}){reason}"
    rate = f"{reached[0]}: " if reached else ""
    return f"{rate}almost nothing could be cut ({aim}){reason}"


def _why(result: PruneReport) -> str:
    """Return the reason for a small rate; empty if none is known."""
    idle = [layer for layer in result.lowered if layer.remark]
    reasons = list(result.notes)
    obstacle = main_obstacle_text(result.obstacles)
    if obstacle and (result.request.sparsity or not result.lowered):
        reasons.append(obstacle)
    if result.request.columns and idle:
        reasons.append(
            f"{counted(len(idle), 'layer')} of {len(result.lowered)} kept all columns, for "
            f"example '{idle[0].name}': {idle[0].remark}"
        )
    if not reasons and result.request.align > 1:
        reasons.append(
            f"few layers have more than {result.request.align} filters, the multiple that --align "
            "keeps"
        )
    if not reasons and not result.plan.sets and not result.lowered:
        reasons.append("no layer can be cut")
    return "; ".join(reasons)


def hint(result: PruneReport) -> str:
    """Return a hint if almost nothing was cut; empty otherwise."""
    if is_met(result):
        return ""
    found = remedy(result.obstacles, result.rates_with)
    if found or result.request.columns or not layers(result.model):
        return found
    return "--columns 0.5 cuts the columns of layers whose channels must stay."


def not_equivalent(equivalence: EquivalenceResult, model: Model) -> VerifyError:
    """Return the error for a cut whose equivalence check failed.

    NaN in the weights makes every output NaN; this is no fault of the cut.
    """
    failure = f"the equivalence check failed: {equivalence.failures[0]}"
    values = model.constants()
    for node in model.graph.nodes:
        bad = next(
            (t.name for t in node.inputs if t.name in values and _has_nan(values[t.name])), ""
        )
        if bad:
            return VerifyError(
                f"{failure}, because the weight '{bad}' contains NaN",
                location=model.location(node),
                hint="nothing was written; export the model from an earlier checkpoint, whose "
                "weights are finite",
            )
    return VerifyError(
        failure,
        location=model.location(),
        hint="nothing was written; report this model's operators as a bug",
    )


def _has_nan(values: Array) -> bool:
    return values.dtype.kind == "f" and bool(np.isnan(values).any())
