"""The layers, coupled sets and fences of one model as a self-contained HTML page."""

from collections.abc import Sequence

from acgraph.analysis.cost import Cost, LayerCost
from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.obstacles import shares_by_node
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Model
from acgraph.report.graph_data import graph_data
from acgraph.report.verdict import format_bytes
from acgraph.report.web import GRAPH_SCRIPTS, GRAPH_STYLES, render_template


def render_inspect_page(
    model: Model,
    dependency: DependencyGraph,
    *,
    cost: Cost,
    layers: Sequence[LayerCost],
    fences: Sequence[Diagnostic],
) -> str:
    """Render the page.

    Args:
        model: The model.
        dependency: Its analysis.
        cost: Its cost.
        layers: All layers with their costs.
        fences: The parts that cannot be cut.

    Returns:
        The page as HTML.
    """
    shares = shares_by_node(dependency)
    listed = [
        (where, fence.message, shares.get((where, fence.message), 0.0))
        for fence in fences
        for where in [fence.location.node or fence.location.value]
    ]
    return render_template(
        "inspect.html.jinja",
        scripts=GRAPH_SCRIPTS,
        styles=GRAPH_STYLES,
        data={"graph": graph_data(model, dependency=dependency)},
        source=model.source,
        nodes=len(model.graph.nodes),
        opset=model.graph.opset,
        cost=cost,
        size=format_bytes(cost.bytes),
        layers=layers,
        families=dependency.families,
        fences=sorted(listed, key=lambda fence: -fence[2]),
    )
