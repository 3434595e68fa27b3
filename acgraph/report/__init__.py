"""The report of a run: ``report.json``, ``report.html`` and the summary in the terminal."""

from acgraph.pruning.rate import format_rate
from acgraph.report.diff_page import render_diff_page
from acgraph.report.page import render_page
from acgraph.report.schema import (
    AdmmUpdate,
    Fence,
    FrontierPoint,
    Int8,
    LatencyMs,
    LayerChange,
    Measure,
    ModelInfo,
    Obstacle,
    OutputMetric,
    OutputTaskChoice,
    Rates,
    Report,
    Round,
    SearchPoint,
    Side,
    Target,
    Verification,
    rates_between,
)
from acgraph.report.summary import render_summary
from acgraph.report.verdict import int8_text, measure_text, verdict
from acgraph.report.write import write_report

__all__ = [
    "AdmmUpdate",
    "Fence",
    "FrontierPoint",
    "Int8",
    "LatencyMs",
    "LayerChange",
    "Measure",
    "ModelInfo",
    "Obstacle",
    "OutputMetric",
    "OutputTaskChoice",
    "Rates",
    "Report",
    "Round",
    "SearchPoint",
    "Side",
    "Target",
    "Verification",
    "format_rate",
    "int8_text",
    "measure_text",
    "rates_between",
    "render_diff_page",
    "render_page",
    "render_summary",
    "verdict",
    "write_report",
]
