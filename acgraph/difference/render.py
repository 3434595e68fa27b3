"""Print a difference as text or as JSON."""

import json
from collections.abc import Iterator, Sequence

from acgraph.diagnostics import counted, printable
from acgraph.difference.activations import RunDifference
from acgraph.difference.explained import Explained
from acgraph.difference.types import (
    AttributeChange,
    ConstantChange,
    GraphDiff,
    Lowered,
    Resized,
    ValueChange,
)
from acgraph.pruning.rate import format_rate

#: Largest number of entries of one kind in the text; JSON contains all.
_SHOWN = 200


def json_from_diff(
    diff: GraphDiff, run: RunDifference | None = None, explained: Explained | None = None
) -> str:
    """Return a difference as one JSON object.

    Args:
        diff: The difference.
        run: The activations of both models, if they were run; the key is ``run``.
        explained: What a plan explains, if one was given; the key is ``plan``.
    """
    values = {"schema": 1, **diff.to_dict()}
    if run is not None:
        values["run"] = run.to_dict()
    if explained is not None:
        values["plan"] = explained.to_dict()
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def text_from_diff(diff: GraphDiff, before: str, after: str) -> str:
    """Return a difference as text, one change per line, grouped by kind; empty where none.

    Args:
        diff: The difference.
        before: Name of the first model.
        after: Name of the second model.
    """
    if diff.is_empty and not diff.renamed:
        return ""
    lines = [printable(f"--- {before}"), printable(f"+++ {after}")]
    if diff.is_empty:
        lines.append(f"the models are the same; {counted(len(diff.renamed), 'node')} renamed")
    for section in _sections(diff):
        lines += map(printable, section[:_SHOWN])
        if len(section) > _SHOWN:
            lines.append(f"... and {len(section) - _SHOWN} more of this kind")
    return "\n".join([*lines, *(() if diff.is_empty else _cost(diff))]) + "\n"


def change_lines(diff: GraphDiff) -> Iterator[str]:
    """Yield one line per change, grouped by kind, without the cost."""
    for section in _sections(diff):
        yield from map(printable, section)


def _sections(diff: GraphDiff) -> Iterator[Sequence[str]]:
    yield [_property(change) for change in diff.properties]
    yield [_resized(change) for change in diff.resized]
    yield [_lowered(change) for change in diff.lowered]
    yield [f"- {x.name} ({x.op_type})" for x in diff.removed]
    yield [f"+ {x.name} ({x.op_type})" for x in diff.added]
    yield [f"renamed: {x.before} -> {x.after} ({x.op_type})" for x in diff.renamed]
    yield [f"operator of {x.name}: {x.before} -> {x.after}" for x in diff.retyped]
    yield [f"input {x.index} of {x.node}: {x.before} -> {x.after}" for x in diff.rewired]
    yield [_attribute(change) for change in diff.attributes]
    yield [_constant(change) for change in diff.constants]


def _attribute(change: AttributeChange) -> str:
    name = f"attribute {change.attribute} of {change.node}"
    values = [_or_none(value) for value in (change.before, change.after)]
    if any("\n" in value for value in values):
        return f"{name}: {' -> '.join(value.splitlines()[0] for value in values)}, changed inside"
    return f"{name}: {' -> '.join(values)}"


def _property(change: ValueChange) -> str:
    return f"{change.kind} {change.name}: {_or_none(change.before)} -> {_or_none(change.after)}"


def _resized(change: Resized) -> str:
    return f"layer {change.name}: {size_changes(change)}"


def _lowered(change: Lowered) -> str:
    nodes = counted(change.nodes, "node")
    text = f"lowered: {change.name}: {change.op_type} -> {change.form} form ({nodes})"
    sizes = size_changes(change)
    return f"{text}, {sizes}" if sizes else text


def size_changes(change: Resized | Lowered) -> str:
    """Return the changed numbers of filters and columns: ``filters 8 -> 6, columns 9 -> 4``."""
    return ", ".join(
        f"{what} {pair[0]} -> {pair[1]}"
        for what, pair in (("filters", change.filters), ("columns", change.columns))
        if pair[0] != pair[1]
    )


def _constant(change: ConstantChange) -> str:
    parts = []
    if change.shape[0] != change.shape[1]:
        parts.append(f"{list(change.shape[0])} -> {list(change.shape[1])}")
    if change.dtype[0] != change.dtype[1]:
        parts.append(f"{change.dtype[0]} -> {change.dtype[1]}")
    if change.max_abs_diff is not None:
        parts.append(f"values differ by up to {change.max_abs_diff:.3g}")
    if change.not_finite:
        parts.append(f"{change.not_finite} from or to NaN or infinity")
    return f"constant {change.name} of {change.node}: {', '.join(parts) or 'values differ'}"


def _or_none(text: str | None) -> str:
    return "none" if text is None else text


def _cost(diff: GraphDiff) -> Iterator[str]:
    before, after = diff.cost_before, diff.cost_after
    for name in ("params", "macs", "bytes"):
        old, new = getattr(before, name), getattr(after, name)
        label = {"macs": "MACs"}.get(name, name)
        is_bound = name == "macs" and bool(before.unknown or after.unknown)
        rate = f" ({format_rate(old / new)})" if new and not is_bound else ""
        if old != new:
            yield f"{label}: {old:,} -> {new:,}" + (" (lower bounds)" if is_bound else rate)
    names = list(dict.fromkeys([*before.unknown, *after.unknown]))
    if names:
        yield f"the MACs of {counted(len(names), 'node')} are unknown: {', '.join(names[:5])}"
