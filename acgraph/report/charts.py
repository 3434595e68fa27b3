"""Charts of the report as static SVG, without scripts or external resources."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from acgraph.diagnostics import counted
from acgraph.pruning.rate import format_rate
from acgraph.report.schema import LayerChange, Report

#: Width of a chart in SVG units; the page scales it.
WIDTH = 720
_LEFT, _RIGHT, _BAR, _STEP = 208, 190, 8, 21
_HEIGHT, _PAD = 200, 44
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
        middle = y + _BAR + 3
        parts.append(_text(0, middle, label, "start", "name", bar.label))
        parts.append(_rect(_LEFT, y + 3, span * bar.before / longest, "was"))
        parts.append(_rect(_LEFT, y + 3, span * bar.after / longest, "now"))
        end = _LEFT + span * max(bar.before, bar.after) / longest
        parts.append(_text(end + 8, middle, bar.note, "start"))
    return _svg(len(bars) * _STEP + 4, parts, "Number of weights of each layer before and after")


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


def search_chart(report: Report) -> Markup:
    """Draw the score of each evaluated candidate, and the best score so far as a line."""
    points = report.search
    if len(points) < 2:
        return Markup("")
    scores = [point.score for point in points]
    low, high = _range(scores)
    at = [_place(i, len(points), s, low, high) for i, s in enumerate(scores)]
    best = [_place(i, len(points), p.best, low, high) for i, p in enumerate(points)]
    dots = [Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2"/>').format(x, y) for x, y in at]
    edges = [i for i in range(1, len(points)) if points[i].round != points[i - 1].round]
    lines = [_line(best[a:b]) for a, b in pairwise([0, *edges, len(points)])]
    rules = [_rule(_place(i - 0.5, len(points), low, low, high)[0]) for i in edges]
    parts = [*rules, *dots, *lines, *_axis(low, high, counted(len(points), "evaluation"))]
    return _svg(_HEIGHT, parts, "Score of each evaluated candidate, and the best score so far")


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
    low, high = _range([*chosen, *(value for _, _, value in known)])
    count = len(chosen) + 2

    def mark(kind: str, index: int, label: str, value: float) -> Markup:
        x, y = _place(index, count, value, low, high)
        template = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>{}')
        name = _text(x, _HEIGHT - _PAD + 18, label, "middle")
        return template.format(kind, x, y, 3 if kind == "mark" else 4, name)

    rounds = [
        mark("mark", index, format_rate(entry.rate), value)
        for index, (entry, value) in enumerate(zip(report.rounds, chosen, strict=True), start=1)
    ]
    line = _line([_place(i, count, value, low, high) for i, value in enumerate(chosen, start=1)])
    parts = [line, *rounds, *(mark("end", *end) for end in known), *_axis(low, high, "", "{:.1%}")]
    return _svg(_HEIGHT, parts, f"{report.measure.capitalize()} after each round")


def residuals_chart(report: Report) -> Markup:
    """Draw the residuals of ADMM on a logarithmic scale: primal as a solid line, dual dashed."""
    updates = [(n, u) for n, entry in enumerate(report.rounds) for u in entry.admm]
    found = [value for _, u in updates for value in (u.primal, u.dual) if value > 0]
    if len(updates) < 2 or not found:
        return Markup("")
    floor = min(found)
    primal = [math.log10(max(u.primal, floor)) for _, u in updates]
    dual = [math.log10(max(u.dual, floor)) for _, u in updates]
    low, high = _range([*primal, *dual])
    count = len(updates)
    edges = [i for i in range(1, count) if updates[i][0] != updates[i - 1][0]]
    parts = [_rule(_place(i - 0.5, count, low, low, high)[0]) for i in edges]
    for a, b in pairwise([0, *edges, count]):
        for values, kind in ((primal, "best"), (dual, "best dual")):
            places = [_place(i, count, values[i], low, high) for i in range(a, b)]
            parts.append(_line(places, kind))
    parts.extend(_axis(low, high, counted(count, "update"), "1e{:.1f}"))
    return _svg(_HEIGHT, parts, "Residuals of ADMM after each update")


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or 0.01
    return low - margin, high + margin


def _place(index: float, count: int, value: float, low: float, high: float) -> tuple[float, float]:
    x = 64 + (WIDTH - 88) * index / max(count - 1, 1)
    y = 10 + (_HEIGHT - _PAD - 10) * (high - value) / (high - low)
    return x, y


def _axis(low: float, high: float, caption: str, number: str = "{:.4g}") -> list[Markup]:
    parts = [_text(WIDTH - 24, _HEIGHT - 10, caption, "end")] if caption else []
    for share in (0.0, 0.5, 1.0):
        value = low + (high - low) * share
        y = _place(0, 2, value, low, high)[1]
        parts.append(
            Markup('<line class="grid" x1="64" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                WIDTH - 24, y, y
            )
        )
        parts.append(_text(56, y + 4, number.format(value), "end"))
    return parts


def _line(points: Sequence[tuple[float, float]], kind: str = "best") -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def _rule(x: float) -> Markup:
    template = Markup('<line class="rule" x1="{0:.1f}" x2="{0:.1f}" y1="10" y2="{1}"/>')
    return template.format(x, _HEIGHT - _PAD)


def _rect(x: float, y: float, width: float, kind: str) -> Markup:
    template = Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.2f}" height="{}" rx="1.5"/>'
    )
    return template.format(kind, x, y, max(width, 0.75), _BAR)


def _text(
    x: float, y: float, text: str, anchor: str, kind: str = "note", title: str = ""
) -> Markup:
    tip = Markup("<title>{}</title>").format(title) if title and title != text else Markup("")
    template = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}{}</text>')
    return template.format(kind, x, y, anchor, tip, text)


def _svg(height: float, parts: Sequence[Markup], title: str) -> Markup:
    template = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return template.format(WIDTH, height, escape(title), Markup("").join(parts))
