"""Primitives of the charts: static SVG, without scripts or external resources."""

from collections.abc import Sequence

from markupsafe import Markup, escape

#: Width of a chart in SVG units; the page scales it.
WIDTH = 720
#: Height of a chart over time, the space below it for labels, and the height of a bar.
HEIGHT, PAD, BAR = 200, 44, 8


def value_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of a chart's values, with a margin."""
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or 0.01
    return low - margin, high + margin


def place(index: float, count: int, value: float, low: float, high: float) -> tuple[float, float]:
    """Return the coordinates of a value in a chart."""
    x = 64 + (WIDTH - 88) * index / max(count - 1, 1)
    y = 10 + (HEIGHT - PAD - 10) * (high - value) / (high - low)
    return x, y


def axis(low: float, high: float, caption: str, number: str = "{:.4g}") -> list[Markup]:
    """Draw the grid lines with their values, and a caption."""
    parts = [text(WIDTH - 24, HEIGHT - 10, caption, "end")] if caption else []
    for share in (0.0, 0.5, 1.0):
        value = low + (high - low) * share
        y = place(0, 2, value, low, high)[1]
        parts.append(
            Markup('<line class="grid" x1="64" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                WIDTH - 24, y, y
            )
        )
        parts.append(text(56, y + 4, number.format(value), "end"))
    return parts


def polyline(points: Sequence[tuple[float, float]], kind: str = "best") -> Markup:
    """Draw a line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def rule(x: float) -> Markup:
    """Draw a vertical line."""
    template = Markup('<line class="rule" x1="{0:.1f}" x2="{0:.1f}" y1="10" y2="{1}"/>')
    return template.format(x, HEIGHT - PAD)


def rect(x: float, y: float, width: float, kind: str) -> Markup:
    """Draw a horizontal bar."""
    template = Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.2f}" height="{}" rx="1.5"/>'
    )
    return template.format(kind, x, y, max(width, 0.75), BAR)


def text(x: float, y: float, text: str, anchor: str, kind: str = "note", title: str = "") -> Markup:
    """Draw a text, with a tooltip where it was shortened."""
    tip = Markup("<title>{}</title>").format(title) if title and title != text else Markup("")
    template = Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}{}</text>')
    return template.format(kind, x, y, anchor, tip, text)


def svg(height: float, parts: Sequence[Markup], title: str) -> Markup:
    """Return a chart; ``title`` is its text alternative."""
    template = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return template.format(WIDTH, height, escape(title), Markup("").join(parts))
