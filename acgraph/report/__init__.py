"""The report of a run: ``report.json``, ``report.html`` and the summary in the terminal."""

from acgraph.pruning.rate import format_rate
from acgraph.report.diff_page import render_diff_page
from acgraph.report.graph_data import graph_data
from acgraph.report.inspect_page import render_inspect_page
from acgraph.report.page import render_page
from acgraph.report.schema import Measure, ModelInfo, Report, Target
from acgraph.report.schema_cost import (
    Int8,
    LatencyMs,
    OutputMetric,
    OutputTaskChoice,
    Rates,
    Side,
    Verification,
    rates_between,
)
from acgraph.report.schema_layers import Fence, LayerChange, LayerForm, Obstacle, RemovedUnits
from acgraph.report.schema_run import (
    AdmmUpdate,
    FrontierPoint,
    Round,
    SearchPoint,
    TrainingPass,
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
    "LayerForm",
    "Measure",
    "ModelInfo",
    "Obstacle",
    "OutputMetric",
    "OutputTaskChoice",
    "Rates",
    "RemovedUnits",
    "Report",
    "Round",
    "SearchPoint",
    "Side",
    "Target",
    "TrainingPass",
    "Verification",
    "format_rate",
    "graph_data",
    "int8_text",
    "measure_text",
    "rates_between",
    "render_diff_page",
    "render_inspect_page",
    "render_page",
    "render_summary",
    "verdict",
    "write_report",
]
