"""The difference of two models as a self-contained HTML page."""

from acgraph.analysis.dependency import DependencyGraph
from acgraph.diagnostics import counted
from acgraph.difference import (
    Explained,
    GraphDiff,
    RunDifference,
    change_lines,
    count_operators,
    pair_layers,
)
from acgraph.difference.layer_table import LayerPair
from acgraph.ir import Model
from acgraph.pruning.rate import format_rate
from acgraph.report.charts import layer_chart
from acgraph.report.cost_rows import cost_rows
from acgraph.report.graph_data import graph_data
from acgraph.report.schema_layers import LayerChange
from acgraph.report.web import GRAPH_SCRIPTS, GRAPH_STYLES, render_template

#: Largest number of changes that the page lists; the JSON format lists all.
MAX_LINES = 500


def render_diff_page(
    diff: GraphDiff,
    first: Model,
    second: Model,
    *,
    before: str,
    after: str,
    dependency: DependencyGraph | None = None,
    run: RunDifference | None = None,
    explained: Explained | None = None,
) -> str:
    """Render the page.

    Args:
        diff: The changes from the first model to the second.
        first: The first model.
        second: The second model.
        before: The name of the first model.
        after: The name of the second model.
        dependency: The analysis of the first model, if its coupled sets are to be shown.
        run: The activations of both models, if they were run.
        explained: What the plan of the cut explains, if one was given.

    Returns:
        The page as HTML.
    """
    pairs = pair_layers(diff, first, second)
    lines = list(change_lines(diff))
    changes = [layer_change_of(pair) for pair in pairs if pair.changes]
    graph = graph_data(first, second, diff=diff, labels=(before, after), dependency=dependency)
    return render_template(
        "diff.html.jinja",
        scripts=GRAPH_SCRIPTS,
        styles=GRAPH_STYLES,
        data={"graph": graph},
        before=before,
        after=after,
        headline=_headline(diff, pairs),
        rows=list(cost_rows(diff.cost_before, diff.cost_after)),
        unknown=list(dict.fromkeys([*diff.cost_before.unknown, *diff.cost_after.unknown])),
        pairs=pairs,
        layer_chart=layer_chart(changes),
        operators=count_operators(first, second),
        run=run,
        explained=[] if explained is None else explained.lines(),
        lines=lines[:MAX_LINES],
        more=max(0, len(lines) - MAX_LINES),
    )


def summary_lines(diff: GraphDiff, first: Model, second: Model) -> list[str]:
    """Return the headline of the page, and a line for each cost that changed."""
    costs = [
        f"{row.label}: {row.before} -> {row.after}"
        + ("" if row.change in ("same", "-") else f" ({row.change})")
        for row in cost_rows(diff.cost_before, diff.cost_after)
        if row.before != row.after
    ]
    return [_headline(diff, pair_layers(diff, first, second)), *costs]


def _headline(diff: GraphDiff, pairs: tuple[LayerPair, ...]) -> str:
    if diff.is_empty:
        names = f"; {counted(len(diff.renamed), 'node')} renamed" if diff.renamed else ""
        return f"The models are the same{names}"
    changed = sum(bool(pair.changes) for pair in pairs)
    head = f"{changed} of {len(pairs)} layers changed"
    old, new = diff.cost_before.params, diff.cost_after.params
    if not new or old == new:
        return f"{head}, same number of params"
    return f"{head}, {format_rate(old / new)} fewer params" if old > new else f"{head}, more params"


def layer_change_of(pair: LayerPair) -> LayerChange:
    """Return a pair of layers as an entry of a report."""
    before, after = (
        (0, 0, "") if side is None else (side.filters, side.columns, side.op_type)
        for side in (pair.before, pair.after)
    )
    return LayerChange(
        name=pair.name,
        op_type=before[2] or after[2],
        filters=(before[0], after[0]),
        columns=(before[1], after[1]),
    )
