"""``acgraph inspect``: layers, cost, coupled sets and fences of a model."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgraph.cli.runtime_options import FormatOption, InputShapeOption, OutputFormat, read_sized
from acgraph.diagnostics import counted, printable
from acgraph.errors import UsageError

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs
    from rich.table import Table

    from acgraph.analysis.branches import Branches
    from acgraph.analysis.dependency import DependencyGraph
    from acgraph.analysis.families import Family


def inspect(
    model: Annotated[str, typer.Argument(help="An ONNX file, - for standard input.")],
    why: Annotated[
        str | None,
        typer.Option(
            metavar="NODE",
            help="Explain what couples and fences a node, or why a graph output is kept.",
        ),
    ] = None,
    input_shape: InputShapeOption = None,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Show the layers of a model, what they cost, what can be cut, and what cannot and why."""
    from acgraph.analysis.branches import analyse_branches
    from acgraph.analysis.dependency import analyse

    loaded = read_sized(model, input_shape)
    graph = analyse(loaded)
    branches = analyse_branches(graph)
    if why is not None:
        lines = _explain(graph, branches, why)
        plain: Any = {"node": why, "why": lines}
        if output_format is OutputFormat.TEXT:
            typer.echo("\n".join(map(printable, lines)))
            return
    else:
        plain = _plain(graph, branches)
    if output_format is OutputFormat.JSON:
        typer.echo(json.dumps(plain, indent=2))
        return
    _print(plain)


def _explain(graph: "DependencyGraph", branches: "Branches", node: str) -> list[str]:
    import difflib

    model = graph.model
    for each in branches.found:
        if node.startswith(f"{each.path}/"):
            return _explain(each.graph, each.inner, node.removeprefix(f"{each.path}/"))
    names = [n.name for n in model.graph.nodes]
    outputs = {value.name: value for value in model.graph.outputs}
    if node not in names and node in outputs:
        return _explain_output(graph, outputs[node])
    if node not in names:
        near = difflib.get_close_matches(node, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "acgraph inspect MODEL lists the layers"
        raise UsageError(f"no node is named '{node}'", hint=hint)
    return graph.why(node)


def _explain_output(graph: "DependencyGraph", output: "gs.Tensor") -> list[str]:
    """Say why an output is fenced, and what the node that makes it is coupled to."""
    fences = [f.message for f in graph.all_fences() if f.location.value == output.name]
    lines = [f"{output.name}: {message}" for message in fences]
    if not lines:
        lines = [f"{output.name}: a graph output that no fence names"]
    for node in output.inputs:
        lines += [f"made by {node.name} ({node.op}):", *graph.why(node.name)]
    return lines


def _plain(graph: "DependencyGraph", branches: "Branches") -> dict[str, Any]:
    from acgraph.analysis.branches import all_families, all_fences, all_layers
    from acgraph.analysis.cost import model_cost
    from acgraph.ir import input_sizes

    model = graph.model
    cost = model_cost(model, facts=graph.facts)
    return {
        "model": {
            "path": model.source,
            "opset": model.graph.opset,
            "nodes": len(model.graph.nodes),
            "inputs": {name: list(shape) for name, shape in input_sizes(model).shapes.items()},
            "remarks": [*model.remarks, *graph.facts.remarks()],
        },
        "cost": {
            "params": cost.params,
            "macs": cost.macs,
            "bytes": cost.bytes,
            "unknown": list(cost.unknown),
        },
        "layers": [
            {
                "name": layer.name,
                "op_type": layer.op_type,
                "filters": layer.filters,
                "columns": layer.columns,
                "params": layer.params,
                "macs": layer.macs,
            }
            for layer in all_layers(graph, branches)
        ],
        "families": [_family(family) for family in all_families(graph, branches)],
        "fences": [
            {"node": fence.location.node or fence.location.value, "reason": fence.message}
            for fence in all_fences(graph, branches)
        ],
    }


def _family(family: "Family") -> dict[str, Any]:
    return {
        "name": family.name,
        "coupled_sets": family.size,
        "prunable": family.is_prunable,
        "exact": family.is_exact,
        "cuts": [
            {"tensor": member.tensor, "axis": member.axis, "role": member.role}
            for member in family.members
        ],
        "fences": [str(fence) for fence in family.fences],
        "inexact": [str(reason) for reason in family.inexact],
        "rivals": list(family.rivals),
    }


def _print(plain: dict[str, Any]) -> None:
    from acgraph.cli.console import stdout_console

    console = stdout_console()
    model, cost = plain["model"], plain["cost"]
    nodes = f"{counted(model['nodes'], 'node')}, opset {model['opset']}"
    console.print(printable(f"{model['path']}: {nodes}"), markup=False, highlight=False)
    bound = "at least " if cost["unknown"] else ""
    console.print(
        f"{cost['params']:,} params, {bound}{cost['macs']:,} MACs, {cost['bytes']:,} bytes\n",
        highlight=False,
    )
    console.print(_layer_table(plain["layers"]), "")
    console.print(_family_table(plain["families"]), "")
    for remark in model["remarks"]:
        console.print(printable(f"remark: {remark}"), markup=False, highlight=False)
    fences = plain["fences"]
    console.print("fences:" if fences else "no fences: everything can be cut")
    for fence in fences:
        line = printable(f"  {fence['node']}: {fence['reason']}")
        console.print(line, markup=False, highlight=False)


def _layer_table(layers: list[dict[str, Any]]) -> "Table":
    table = _table("layer", "operator", "filters", "columns", "params", "MACs")
    for layer in layers:
        macs = "?" if layer["macs"] is None else f"{layer['macs']:,}"
        numbers = (f"{layer[key]:,}" for key in ("filters", "columns", "params"))
        table.add_row(_plain_text(layer["name"]), _plain_text(layer["op_type"]), *numbers, macs)
    return table


def _family_table(families: list[dict[str, Any]]) -> "Table":
    table = _table("coupled sets of", "made by", "number", "axes cut", "can be cut")
    table.columns[1].justify = "left"
    for family in families:
        made = [cut["tensor"] for cut in family["cuts"] if cut["role"] == "filter"]
        table.add_row(
            _plain_text(family["name"]),
            _plain_text(made[0] if made else ""),
            f"{family['coupled_sets']:,}",
            str(len(family["cuts"])),
            _state(family),
        )
    return table


def _state(family: dict[str, Any]) -> str:
    if family["fences"]:
        return "no: fenced"
    if not family["prunable"]:
        return "no: only one"
    return "yes" if family["exact"] else "inexactly"


def _plain_text(text: str) -> Any:
    from rich.text import Text

    return Text(printable(text), overflow="fold")


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < 2 else "right")
    return table
