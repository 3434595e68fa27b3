"""Charts of what a run did: the points of its searches, and its training."""

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from acgraph.diagnostics import counted
from acgraph.report.schema import Report
from acgraph.report.schema_run import SearchPoint, TrainingPass
from acgraph.report.svg import (
    HEIGHT,
    PAD,
    axis,
    place,
    polyline,
    rule,
    svg,
    text,
    value_range,
)


def search_chart(report: Report) -> Markup:
    """Draw the score of each evaluated point in their order, and the best score so far as a line.

    A dashed line is the temperature of annealing, on a scale of its own.
    """
    points = report.search
    if len(points) < 2:
        return Markup("")
    count = len(points)
    low, high = value_range([point.score for point in points])
    best = [place(i, count, p.best, low, high) for i, p in enumerate(points)]
    edges = [i for i in range(1, count) if points[i].round != points[i - 1].round]
    parts = [rule(place(i - 0.5, count, low, low, high)[0]) for i in edges]
    hottest = max(point.temperature for point in points)
    for a, b in pairwise([0, *edges, count]):
        parts.append(polyline(best[a:b]))
        if hottest > 0:
            heat = [place(i, count, points[i].temperature, 0, hottest) for i in range(a, b)]
            parts.append(polyline(heat, "heat"))
    for index, point in enumerate(points):
        parts.append(_dot(*place(index, count, point.score, low, high), point))
    parts.extend(axis(low, high, counted(count, "evaluation")))
    return svg(HEIGHT, parts, "Score of each evaluated candidate, and the best score so far")


def cost_chart(report: Report) -> Markup:
    """Draw the evaluated points by their cost and their score; empty if all cost the same."""
    points = [point for point in report.search if point.cost is not None]
    costs = [point.cost for point in points if point.cost is not None]
    if len(points) < 2 or max(costs) - min(costs) < 1e-6:
        return Markup("")
    low, high = value_range([point.score for point in points])
    left, right = min(costs), max(costs)
    parts: list[Markup] = [*axis(low, high, "cost divided by the budget")]
    for share in (0.0, 0.5, 1.0):
        cost = left + (right - left) * share
        x = place(share, 2, low, low, high)[0]
        parts.append(text(x, HEIGHT - PAD + 18, f"{cost:.4g}", "middle"))
    for point, cost in zip(points, costs, strict=True):
        where = place((cost - left) / (right - left), 2, point.score, low, high)
        parts.append(_dot(*where, point))
    return svg(HEIGHT, parts, "Evaluated candidates by cost and score")


def _dot(x: float, y: float, point: SearchPoint) -> Markup:
    kind = "end" if point.chosen else "mark" if point.accepted else ""
    words = [f"score {point.score:.4g}"]
    if point.cost is not None:
        words.append(f"cost {point.cost:.4g} of the budget")
    if point.temperature > 0:
        words.append(f"temperature {point.temperature:.3g}")
    if point.accepted:
        words.append("accepted")
    if point.chosen:
        words.append("chosen")
    template = Markup(
        '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>round {}: {}</title></circle>'
    )
    radius = 5 if point.chosen else 3 if point.accepted else 2
    return template.format(kind, x, y, radius, point.round, ", ".join(words))


def training_chart(report: Report) -> Markup:
    """Draw the mean loss of each pass over the training data; vertical lines separate stages."""
    passes = [each for each in report.training if each.loss is not None]
    losses = [each.loss for each in passes if each.loss is not None]
    if len(passes) < 2:
        return Markup("")
    low, high = value_range(losses)
    at = _positions(passes)
    span = at[-1] or 1.0
    places = [place(x / span, 2, y, low, high) for x, y in zip(at, losses, strict=True)]
    edges = [i for i in range(1, len(passes)) if passes[i].stage != passes[i - 1].stage]
    parts: list[Markup] = [*axis(low, high, "")]
    for a, b in pairwise([0, *edges, len(passes)]):
        start = at[a - 1] if a else 0.0
        x = place(start / span, 2, low, low, high)[0]
        if a:
            parts.append(rule(x))
        parts.append(
            text(
                x + 4,
                HEIGHT - PAD + 16 + 14 * (edges.index(a) % 2 if a else 1),
                passes[a].stage,
                "start",
            )
        )
        parts.append(polyline(places[a:b]))
    for (x, y), each in zip(places, passes, strict=True):
        template = Markup(
            '<circle class="mark" cx="{:.1f}" cy="{:.1f}" r="2.5"><title>{}</title></circle>'
        )
        parts.append(
            template.format(
                x,
                y,
                f"{each.stage}, {counted(each.epoch, 'epoch', '.2g')}: loss {each.loss:.4g}, "
                f"learning rate {each.learning_rate:.3g}",
            )
        )
    return svg(HEIGHT, parts, "Mean loss of each pass over the training data")


def _positions(passes: Sequence[TrainingPass]) -> list[float]:
    """Return the epochs of the whole run after each pass."""
    found: list[float] = []
    before = 0.0
    for index, each in enumerate(passes):
        if index and each.stage != passes[index - 1].stage:
            before = found[-1]
        found.append(before + each.epoch)
    return found
