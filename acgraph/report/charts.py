"""Charts of the report as static SVG, without scripts or external resources."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from acgraph.diagnostics import counted
from acgraph.pruning.rate import format_rate
from acgraph.report.schema import Report
from acgraph.report.schema_layers import LayerChange
from acgraph.report.svg import (
    BAR,
    HEIGHT,
    PAD,
    WIDTH,
    axis,
    place,
    polyline,
    rect,
    rule,
    svg,
    text,
    value_range,
)

_LEFT, _RIGHT, _STEP = 208, 190, 21
#: Largest number of bars; further layers are summed up in one bar.
MAX_LAYERS = 120


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    note: str
    before: int
    after: int


def layer_chart(layers: Sequence[LayerChange]) -> Markup:
    """Draw a pair of bars for each layer: its numbers of weights before and after."""
    bars = [_bar(layer) for layer in layers[:MAX_LAYERS]]
    rest = layers[MAX_LAYERS:]
    if rest:
        before, after = (sum(_weights(layer, i) for layer in rest) for i in (0, 1))
        bars.append(_Bar(counted(len(rest), "more layer"), "", before, after))
    if not bars:
        return Markup("")
    longest = max(max(bar.before, bar.after) for bar in bars) or 1
    span = WIDTH - _LEFT - _RIGHT
    parts = []
    labels = _labels([bar.label for bar in bars])
    for index, (bar, label) in enumerate(zip(bars, labels, strict=True)):
        y = index * _STEP
        middle = y + BAR + 3
        parts.append(text(0, middle, label, "start", "name", bar.label))
        parts.append(rect(_LEFT, y + 3, span * bar.before / longest, "was"))
        parts.append(rect(_LEFT, y + 3, span * bar.after / longest, "now"))
        end = _LEFT + span * max(bar.before, bar.after) / longest
        parts.append(text(end + 8, middle, bar.note, "start"))
    return svg(len(bars) * _STEP + 4, parts, "Number of weights of each layer before and after")


def _weights(layer: LayerChange, side: int) -> int:
    return layer.filters[side] * layer.columns[side]


def _bar(layer: LayerChange) -> _Bar:
    filters, columns = (_change(pair) for pair in (layer.filters, layer.columns))
    note = f"{filters}  ×  {columns}"
    if layer.lowering != "dense":
        note += f" · {layer.lowering}"
    return _Bar(layer.name, note, _weights(layer, 0), _weights(layer, 1))


def _change(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]} → {pair[1]}"


def _labels(names: Sequence[str], length: int = 30) -> list[str]:
    """Shorten names to distinct labels.

    The position at which names are shortened moves to the right until the labels are distinct. If
    they never are, they are numbered.
    """
    for head in range(length - 1):
        labels = [_shorten(name, head, length) for name in names]
        if len(set(labels)) == len(set(names)):
            return labels
    return [f"{number} {_shorten(name, 0, length - 4)}" for number, name in enumerate(names, 1)]


def _shorten(name: str, head: int, length: int) -> str:
    return name if len(name) <= length else f"{name[:head]}…{name[head + 1 - length :]}"


def rounds_chart(report: Report) -> Markup:
    """Draw the accuracy, or the agreement, after each round.

    Values of rounds are on the selection split, and are joined by a line. Values of the original
    and of the result are on the report split, and are drawn as separate hollow marks.
    """
    chosen = [entry.accuracy for entry in report.rounds if entry.accuracy is not None]
    if len(chosen) < 2 or len(chosen) != len(report.rounds):
        return Markup("")
    ends = [(0, "original", report.before.accuracy)]
    ends.append((len(chosen) + 1, "result", report.after.accuracy))
    known = [(index, label, value) for index, label, value in ends if value is not None]
    low, high = value_range([*chosen, *(value for _, _, value in known)])
    count = len(chosen) + 2

    def mark(kind: str, index: int, label: str, value: float) -> Markup:
        x, y = place(index, count, value, low, high)
        template = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>{}')
        name = text(x, HEIGHT - PAD + 18, label, "middle")
        return template.format(kind, x, y, 3 if kind == "mark" else 4, name)

    rounds = [
        mark("mark", index, format_rate(entry.rate), value)
        for index, (entry, value) in enumerate(zip(report.rounds, chosen, strict=True), start=1)
    ]
    line = polyline([place(i, count, value, low, high) for i, value in enumerate(chosen, start=1)])
    parts = [line, *rounds, *(mark("end", *end) for end in known), *axis(low, high, "", "{:.1%}")]
    return svg(HEIGHT, parts, f"{report.measure.capitalize()} after each round")


def residuals_chart(report: Report) -> Markup:
    """Draw the residuals of ADMM on a logarithmic scale: primal as a solid line, dual dashed."""
    updates = [(n, u) for n, entry in enumerate(report.rounds) for u in entry.admm]
    found = [value for _, u in updates for value in (u.primal, u.dual) if value > 0]
    if len(updates) < 2 or not found:
        return Markup("")
    floor = min(found)
    primal = [math.log10(max(u.primal, floor)) for _, u in updates]
    dual = [math.log10(max(u.dual, floor)) for _, u in updates]
    low, high = value_range([*primal, *dual])
    count = len(updates)
    edges = [i for i in range(1, count) if updates[i][0] != updates[i - 1][0]]
    parts = [rule(place(i - 0.5, count, low, low, high)[0]) for i in edges]
    for a, b in pairwise([0, *edges, count]):
        for values, kind in ((primal, "best"), (dual, "best dual")):
            places = [place(i, count, values[i], low, high) for i in range(a, b)]
            parts.append(polyline(places, kind))
    parts.extend(axis(low, high, counted(count, "update"), "1e{:.1f}"))
    return svg(HEIGHT, parts, "Residuals of ADMM after each update")
