"""The rows of the before/after table, and the table for a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from acgraph.diagnostics import counted, printable
from acgraph.pruning.rate import format_rate
from acgraph.report.schema import Report
from acgraph.report.schema_cost import LATENCY_NOISE, Int8, Side
from acgraph.report.verdict import (
    drop_points,
    format_bytes,
    format_error,
    format_percent,
    format_points,
    frontier_text,
    hint,
    int8_text,
    measure_text,
    metric_lines,
    paired_text,
    unknown_macs,
    verdict,
    verdict_level,
)

#: Largest number of fences that the terminal shows; the report lists all.
_SHOWN_FENCES = 5
#: Style of the verdict by its level.
_STYLES = {"good": "bold green", "warn": "bold yellow", "bad": "bold red"}
#: Suffix of the line with the errors, by whether the check passed and whether it is inconclusive.
_CHECK_SUFFIX = {
    (True, False): "",
    (True, True): " - inconclusive: no output depends on the inputs",
    (False, False): " - FAILED",
    (False, True): " - FAILED",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        label: Name of the cost or of the metric.
        before: Value of the original.
        after: Value of the result.
        change: Rate or difference between them.
        is_good: Whether the change is an improvement; None if that cannot be said.
        int8: Value of the quantised model; empty if there is none.
    """

    label: str
    before: str
    after: str
    change: str
    is_good: bool | None
    int8: str = ""


def rows(report: Report) -> Iterator[Row]:
    """Yield the rows for params, MACs, bytes, latency and accuracy, if they were measured."""
    before, after, rate, int8 = report.before, report.after, report.rate, report.int8
    yield _cost("params", f"{before.params:,}", f"{after.params:,}", rate.params)
    yield _cost("MACs", _macs(before), _macs(after), rate.macs)
    size = _cost("bytes", format_bytes(before.bytes), format_bytes(after.bytes), rate.bytes)
    yield size if int8 is None else replace(size, int8=format_bytes(int8.bytes))
    if rate.latency is not None:
        label = "latency, x86 server" if report.runtime == "ort" else "latency, phone"
        time = _cost(label, _ms(before), _ms(after), rate.latency, LATENCY_NOISE)
        yield time if int8 is None else replace(time, int8=_ms(int8))
    drop = drop_points(report)
    if drop is not None:
        shown = format_percent(before.accuracy), format_percent(after.accuracy)
        # Without --max-drop, it is not defined which drop is acceptable.
        is_good = None if report.target.max_drop is None else report.target.drop_met
        yield Row(
            measure_text(report), *shown, format_points(-drop), is_good,
            "" if int8 is None else format_percent(int8.accuracy),
        )  # fmt: skip


def _cost(label: str, before: str, after: str, rate: float | None, noise: float = 0.0) -> Row:
    if rate is None:
        return Row(label, before, after, "unknown", None)
    return Row(label, before, after, format_rate(rate), rate > 1 + noise)


def _macs(side: Side) -> str:
    return f"at least {side.macs:,}" if side.macs_unknown else f"{side.macs:,}"


def _ms(side: Side | Int8) -> str:
    return "-" if side.latency_ms is None else f"{side.latency_ms.p50:.3g} ms"


def render_summary(report: Report) -> RenderableType:
    """Render the summary for a terminal; its first line is the verdict."""
    # Printed with ``crop=False``, the verdict stays one line, which a script can read.
    style = _STYLES[verdict_level(report)]
    headline = Text(verdict(report), style=style, no_wrap=True, overflow="ignore")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    int8 = report.int8
    for name in ("before", "after", "rate", *(["int8"] if int8 is not None else [])):
        table.add_column(name, justify="right")
    for row in rows(report):
        style = {True: "green", False: "yellow", None: ""}[row.is_good]
        more = [row.int8] if int8 is not None else []
        table.add_row(row.label, row.before, row.after, Text(row.change, style=style), *more)
    check = report.verify
    shown = Text(
        (
            f"compact against masked: largest error {format_error(check.max_abs_error)} "
            f"absolute, {format_error(check.max_rel_error)} relative"
        )
        + _CHECK_SUFFIX[check.passed, check.vacuous],
        style="" if check.shows_equivalence else "bold red",
    )
    notes = [Text(f"  {note}", style="dim") for note in check.notes]
    quantised = [] if int8 is None else [Text(int8_text(int8))]
    paired = [Text(text, style="dim") for text in [paired_text(report)] if text]
    unknown = [Text(line, style="yellow") for line in [unknown_macs(report)] if line]
    metrics = [Text(printable(line)) for line in metric_lines(report)]
    warnings = [Text(f"warning: {line}", style="yellow") for line in report.warnings]
    tried = frontier_text(report)
    frontier = [Text("rates tried:"), *(Text(f"  {line}") for line in tried)] if tried else []
    below = (*notes, *frontier, *warnings, *_fence_lines(report))
    advice = [Text(printable(text), style="yellow") for text in [hint(report)] if text]
    return Group(
        headline,
        *advice,
        Text(),
        table,
        *metrics,
        *quantised,
        *paired,
        *unknown,
        Text(),
        shown,
        *below,
    )


def _fence_lines(report: Report) -> Iterator[Text]:
    if report.fences:
        count = len(report.fences)
        yield Text(f"{counted(count, 'fence')} (not cut):")
    for fence in report.fences[:_SHOWN_FENCES]:
        yield Text(printable(f"  {fence.node}: {fence.reason}"), style="dim")
    if len(report.fences) > _SHOWN_FENCES:
        yield Text("  ... report.html lists all of them", style="dim")
