"""Results as a small table and a picture, for notebooks."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from acgraph.analysis.cost import Cost, LayerCost
from acgraph.diagnostics import counted
from acgraph.report.charts import layer_chart
from acgraph.report.cost_rows import cost_rows
from acgraph.report.schema import Report
from acgraph.report.schema_layers import LayerChange
from acgraph.report.summary import Row, rows
from acgraph.report.verdict import verdict

#: Largest number of layers that a picture shows.
_SHOWN = 30
#: Colours that are readable on light and dark backgrounds.
_STYLE = Markup(
    "<style>.acgraph-result svg{max-width:46rem;display:block}"
    ".acgraph-result svg text{font:11px system-ui,sans-serif;fill:currentColor}"
    ".acgraph-result svg .was{fill:#9aa0a8;opacity:.55}.acgraph-result svg .now{fill:#3f8f79}"
    ".acgraph-result td,.acgraph-result th{text-align:right}"
    ".acgraph-result td:first-child{text-align:left}</style>"
)


def notebook_table(
    title: str, heads: Sequence[str], cells: Iterable[Sequence[str]], picture: Markup | None = None
) -> str:
    """Return a table under a title, with a picture below it, as HTML; all texts are escaped.

    Args:
        title: One line of text.
        heads: Heads of the columns.
        cells: The rows.
        picture: A chart as SVG.
    """
    line = Markup("<tr>{}</tr>")
    head = line.format(Markup().join(Markup("<th>{}</th>").format(text) for text in heads))
    body = Markup().join(
        line.format(Markup().join(Markup("<td>{}</td>").format(text) for text in row))
        for row in cells
    )
    whole = Markup(
        '<div class="acgraph-result">{}<p><b>{}</b></p><table>{}{}</table>{}</div>'
    ).format(_STYLE, title, head, body, picture or "")
    return str(whole)


def report_table(report: Report) -> str:
    """Return the result of a run: costs and accuracy, and the weights of the layers."""
    return _compared(verdict(report), rows(report), report.layers)


def cost_table(title: str, before: Cost, after: Cost, layers: Sequence[LayerChange] = ()) -> str:
    """Return the costs of two models.

    Args:
        title: One line of text.
        before: Cost of the first model.
        after: Cost of the second model.
        layers: Layers for the picture.
    """
    return _compared(title, cost_rows(before, after), layers)


def _compared(title: str, found: Iterable[Row], layers: Sequence[LayerChange]) -> str:
    cells = [(row.label, row.before, row.after, row.change) for row in found]
    heads = ("", "before", "after", "rate")
    return notebook_table(title, heads, cells, layer_chart(layers[:_SHOWN]))


def layer_table(title: str, layers: Sequence[LayerCost]) -> str:
    """Return the layers of a model, the largest first, and a picture of their weights."""
    largest = sorted(layers, key=lambda layer: -layer.params)[:_SHOWN]
    cells = [
        (
            layer.name, f"{layer.filters:,} × {layer.columns:,}", f"{layer.params:,}",
            "unknown" if layer.macs is None else f"{layer.macs:,}",
        )
        for layer in largest
    ]  # fmt: skip
    if len(layers) > _SHOWN:
        cells.append((f"and {counted(len(layers) - _SHOWN, 'more layer')}", "", "", ""))
    sizes = [
        LayerChange(
            name=layer.name,
            op_type=layer.op_type,
            filters=(layer.filters, layer.filters),
            columns=(layer.columns, layer.columns),
        )
        for layer in largest
    ]
    heads = ("layer", "filters × columns", "params", "MACs")
    return notebook_table(title, heads, cells, layer_chart(sizes))
