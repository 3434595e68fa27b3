"""The output of ``acgraph prune`` as text."""

from typing import TYPE_CHECKING

from acgraph.diagnostics import counted, listed, printable

if TYPE_CHECKING:
    from acgraph.driver.prune.result import PruneReport
    from acgraph.report import Int8

#: Largest number of layers that a line names.
_SHOWN = 3


def prune_text(result: "PruneReport", int8: "Int8 | None") -> str:
    """Format the result of a prune as text."""
    from acgraph.driver.prune.verdict import hint, verdict
    from acgraph.driver.results.outcome import verification
    from acgraph.report import format_rate, int8_text
    from acgraph.report.verdict import format_error

    lines = [line for line in (verdict(result), hint(result)) if line]
    for label, key in (("params", "params"), ("MACs", "macs"), ("bytes", "bytes")):
        before, after = getattr(result.before, key), getattr(result.after, key)
        rate = result.rate(key)
        shown = "  (rate unknown)" if rate is None else f"  ({format_rate(rate)})"
        lines.append(f"{label}: {before:,} -> {after:,}{shown}")
    if unknown := result.unknown_macs:
        lines.append(
            f"MACs are a lower bound, because those of {counted(len(unknown), 'node')} are "
            f"unknown: {', '.join(unknown[:5])}"
        )
    lines += [f"remark: {remark}" for remark in result.remarks]
    check = verification(result.verify)
    word = (
        "passed"
        if check.passed
        else f"failed (inexact cuts, as allowed: {', '.join(result.inexact)})"
    )
    if check.passed and check.vacuous:
        word = "passed, but inconclusive: no output depends on the inputs"
    error = format_error(check.max_rel_error)
    lines.append(f"equivalence check {word}: relative error {error}")
    lines += [f"  {note}" for note in check.notes]
    if int8 is not None:
        lines.append(int8_text(int8))
    if result.lowered:
        forms = sorted({x.form for x in result.lowered})
        counts = [f"{sum(x.form == form for x in result.lowered)} {form}" for form in forms]
        lines.append(f"lowered: {', '.join(counts)}")
        lines += _columns_kept(result)
    if result.fences:
        count = len(result.fences)
        lines.append(f"{counted(count, 'fence')}; acgraph inspect lists them")
    lines += _fitted(result)
    lines.append(f"{result.seconds:.2f} s")
    return "\n".join(map(printable, lines))


def _fitted(result: "PruneReport") -> list[str]:
    """Return lines about the agreement after the cut, and about the layers that were not fitted."""
    found = result.measured
    if found is None or found.kept is None:
        return [
            "the model was not trained: fine-tune it before use, or use acgraph compress, which "
            "prunes and fine-tunes"
        ]
    kept = found.kept
    lines = [
        f"agreement with the original on {counted(kept.examples, 'other example')}: "
        f"{100 * kept.refitted:.1f} % with its layers fitted to "
        f"{counted(found.examples, 'example')}; {100 * kept.measured:.1f} % without the fit; "
        f"{100 * kept.magnitude:.1f} % if cut by magnitude"
    ]
    names: dict[str, list[str]] = {}
    for name, reason in found.left.items():
        names.setdefault(reason, []).append(name)
    lines += [f"not fitted: {listed(layers, _SHOWN)}: {why}" for why, layers in names.items()]
    return [*lines, "the model was not trained: acgraph compress also fine-tunes"]


def _columns_kept(result: "PruneReport") -> list[str]:
    """Return a line for each reason why layers kept their columns."""
    names: dict[str, list[str]] = {}
    for layer in result.lowered:
        if layer.remark:
            names.setdefault(layer.remark, []).append(layer.name)
    return [f"columns kept: {listed(found, _SHOWN)}: {reason}" for reason, found in names.items()]
