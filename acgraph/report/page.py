"""The report as a self-contained HTML page."""

from importlib import resources

import jinja2

from acgraph.diagnostics import counted
from acgraph.pruning.rate import format_rate
from acgraph.report.charts import layer_chart, residuals_chart, rounds_chart, search_chart
from acgraph.report.schema import Report
from acgraph.report.summary import rows
from acgraph.report.verdict import (
    format_error,
    format_percent,
    int8_text,
    metric_lines,
    paired_text,
    unknown_macs,
    verdict_parts,
)


def render_page(report: Report) -> str:
    """Render the page as HTML."""
    parts = verdict_parts(report)
    return render_template(
        "page.html.jinja",
        report=report,
        verdict=parts[0],
        details=", ".join(parts[1:]),
        good=report.is_met and report.verify.shows_equivalence,
        rows=list(rows(report)),
        int8="" if report.int8 is None else int8_text(report.int8),
        unknown=unknown_macs(report),
        paired=paired_text(report),
        metrics=metric_lines(report),
        layer_chart=layer_chart(report.layers),
        rounds_chart=rounds_chart(report),
        residuals_chart=residuals_chart(report),
        search_chart=search_chart(report),
        facts=[*sorted(report.host.items()), *sorted(report.versions.items())],
    )


def render_template(name: str, **values: object) -> str:
    """Render one of the templates in this folder; all values are escaped.

    Args:
        name: The file name of the template.
        values: The variables of the template.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(_source)
    )
    environment.filters.update(
        rate=format_rate,
        percent=format_percent,
        duration=format_duration,
        error=format_error,
        counted=counted,
    )
    return environment.get_template(name).render(**values) + "\n"


def _source(name: str) -> str:
    return resources.files("acgraph.report").joinpath(name).read_text("utf-8")


def format_duration(seconds: float) -> str:
    """Format a duration in seconds.

    >>> format_duration(95), format_duration(4000), format_duration(0.42)
    ('1 min 35 s', '1 h 6 min', '0.4 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
