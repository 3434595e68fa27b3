"""The rows of a table that compares the costs of two models."""

from collections.abc import Iterator

from acgraph.analysis.cost import Cost
from acgraph.pruning.rate import format_rate
from acgraph.report.summary import Row
from acgraph.report.verdict import format_bytes


def cost_rows(old: Cost, new: Cost) -> Iterator[Row]:
    """Yield the rows for params, MACs and bytes."""
    is_bound = bool(old.unknown or new.unknown)
    bound = ["at least " if cost.unknown else "" for cost in (old, new)]
    yield _row("params", f"{old.params:,}", f"{new.params:,}", old.params, new.params)
    macs = [f"{text}{cost.macs:,}" for text, cost in zip(bound, (old, new), strict=True)]
    if is_bound:
        yield Row("MACs", macs[0], macs[1], "unknown", None)
    else:
        yield _row("MACs", macs[0], macs[1], old.macs, new.macs)
    yield _row("bytes", format_bytes(old.bytes), format_bytes(new.bytes), old.bytes, new.bytes)


def _row(label: str, before: str, after: str, old: int, new: int) -> Row:
    if old == new:
        return Row(label, before, after, "same", None)
    return Row(label, before, after, format_rate(old / new) if new else "-", new < old)
