"""The report as a self-contained HTML page."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from markupsafe import Markup

from acgraph.diagnostics import counted
from acgraph.report.charts import residuals_chart, rounds_chart
from acgraph.report.run_charts import cost_chart, search_chart, training_chart
from acgraph.report.schema import Report
from acgraph.report.schema_layers import LayerChange
from acgraph.report.summary import rows
from acgraph.report.verdict import (
    int8_text,
    judged_parts,
    metric_lines,
    paired_text,
    unknown_macs,
    verdict_level,
)
from acgraph.report.web import GRAPH_SCRIPTS, GRAPH_STYLES, render_template

#: Width and height of the picture of a layer's weights, in SVG units.
_BAR_WIDTH, _BAR_HEIGHT = 120, 16


#: The id and the title of each section, and whether a page has it.
_SECTIONS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("check", "Equivalence check", lambda _: True),
    ("layers", "Layers", lambda values: bool(values["bars"])),
    ("graphs", "Graph", lambda values: bool(values["graph"])),
    ("masks", "Masks", lambda values: bool(values["masks"])),
    ("rounds", "Rounds", lambda values: bool(values["report"].rounds)),
    ("training", "Training", lambda values: bool(values["training_chart"])),
    ("rates", "Rates tried", lambda values: bool(values["report"].frontier)),
    ("admm", "ADMM", lambda values: bool(values["residuals_chart"])),
    ("search", "Search", lambda values: bool(values["search_chart"])),
    ("forms", "Forms", lambda values: bool(values["formed"])),
    ("fences", "Fences", lambda _: True),
    ("again", "Run it again", lambda values: bool(values["options"])),
    ("about", "About this run", lambda _: True),
)


@dataclass(frozen=True, slots=True)
class _Weights:
    """The numbers of weights of a layer: their picture, the kept share, and the times in µs."""

    picture: Markup
    kept: float
    times: tuple[float, float] | None


def render_page(report: Report, graph: Mapping[str, Any] | None = None) -> str:
    """Render the page as HTML.

    Args:
        report: The report.
        graph: The graphs of the original and the compact model, from ``graph_data``.
    """
    masks = list(_masks(report))
    values = _values(report)
    values.update(masks=masks, whole=len(report.layers) - len(masks), graph=graph)
    data = {"masks": masks} if masks else {}
    return render_template(
        "page.html.jinja",
        scripts=(*(("masks.js",) if masks else ()), *(GRAPH_SCRIPTS if graph else ())),
        styles=GRAPH_STYLES if graph else (),
        data=data if graph is None else {**data, "graph": graph},
        sections=[(name, label) for name, label, shown in _SECTIONS if shown(values)],
        **values,
    )


def _values(report: Report) -> dict[str, Any]:
    """Return the variables of the template."""
    layers = report.layers
    has_macs, is_timed, is_fitted = (
        any(getattr(layer, name) is not None for layer in layers)
        for name in ("macs", "latency_ms", "fit_error")
    )
    heads = ["layer", "form", "weights"]
    heads += ["before", "after"] * (2 + has_macs + is_timed + is_fitted)
    hottest = max((point.temperature for point in report.search), default=0.0)
    return {
        "report": report,
        "parts": judged_parts(report),
        "level": verdict_level(report),
        "rows": list(rows(report)),
        "int8": "" if report.int8 is None else int8_text(report.int8),
        "unknown": unknown_macs(report),
        "paired": paired_text(report),
        "metrics": metric_lines(report),
        "heads": heads,
        "counted_macs": has_macs,
        "timed": is_timed,
        "fitted": is_fitted,
        "bars": list(_bars(layers)),
        "rounds_chart": rounds_chart(report),
        "residuals_chart": residuals_chart(report),
        "training_chart": training_chart(report),
        "search_chart": search_chart(report),
        "cost_chart": cost_chart(report),
        "is_annealed": hottest > 0,
        "hottest": hottest,
        "formed": [layer for layer in layers if layer.forms],
        "form_times": any(f.latency_ms is not None for layer in layers for f in layer.forms),
        "options": _options(report),
        "command": f"acgraph compress {shlex.quote(report.model.path)} --config run.yaml -o out",
        "facts": [*sorted(report.host.items()), *sorted(report.versions.items())],
    }


def _options(report: Report) -> str:
    """Return the options of the run as a configuration file, without the model."""
    values = {name: value for name, value in report.options.items() if name != "model"}
    return yaml.safe_dump(values, sort_keys=False).strip() if values else ""


def _bars(layers: tuple[LayerChange, ...]) -> Iterator[tuple[LayerChange, _Weights]]:
    """Draw the numbers of weights of each layer before and after, on a common scale."""
    longest = max((max(_weights(layer)) for layer in layers), default=0) or 1
    template = Markup(
        '<svg class="weights" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{:,} weights before, {:,} after">'
        '<rect class="was" x="0" y="1" width="{:.2f}" height="6"/>'
        '<rect class="now" x="0" y="9" width="{:.2f}" height="6"/></svg>'
    )
    for layer in layers:
        before, after = _weights(layer)
        widths = (max(_BAR_WIDTH * count / longest, 0.75) for count in (before, after))
        times = layer.latency_ms
        yield (
            layer,
            _Weights(
                template.format(_BAR_WIDTH, _BAR_HEIGHT, before, after, *widths),
                after / before if before else 1.0,
                None if times is None else (1000 * times[0], 1000 * times[1]),
            ),
        )


def _weights(layer: LayerChange) -> tuple[int, int]:
    return layer.filters[0] * layer.columns[0], layer.filters[1] * layer.columns[1]


def _masks(report: Report) -> Iterator[dict[str, object]]:
    """Yield the masks of the layers of which something was removed, for the script."""
    for layer in report.layers:
        gone = layer.removed
        if gone is None or not (gone.filters or gone.columns):
            continue
        kept = [
            size - _count(removed)
            for size, removed in (
                (layer.filters[0], gone.filters),
                (layer.columns[0], gone.columns),
            )
        ]
        yield {
            "name": layer.name,
            "text": f"{kept[0]:,} of {counted(layer.filters[0], 'filter')}, "
            f"{kept[1]:,} of {counted(layer.columns[0], 'column')}",
            "filters": layer.filters[0],
            "columns": layer.columns[0],
            "kernel": list(gone.kernel),
            "goneFilters": gone.filters,
            "goneColumns": gone.columns,
        }


def _count(ranges: str) -> int:
    """Count the numbers in ranges: ``0-3 7`` are 5."""
    found = (run.partition("-") for run in ranges.split())
    return sum(int(last or first) - int(first) + 1 for first, _, last in found)
