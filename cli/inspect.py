"""``acgraph inspect``: layers, cost, coupled sets and fences of a model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acgraph.cli.runtime_options import (
    FormatOption,
    InputShapeOption,
    KeepOption,
    LayerRateOption,
    MaxLayerRateOption,
    OutputFormat,
    layer_bounds,
)
from acgraph.diagnostics import counted, printable

if TYPE_CHECKING:
    from rich.table import Table


def inspect(
    model: Annotated[str, typer.Argument(help="The model: an ONNX file, or - for standard input.")],
    why: Annotated[
        str | None,
        typer.Option(
            metavar="NODE",
            help="Name the layers that a node is coupled to, and explain why the node cannot be "
            "cut. NODE may also be the name of a graph output.",
        ),
    ] = None,
    keep: KeepOption = None,
    layer_rate: LayerRateOption = None,
    max_layer_rate: MaxLayerRateOption = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write an HTML page with the graph, the layers and the fences to this file.",
        ),
    ] = None,
    input_shape: InputShapeOption = None,
    output_format: FormatOption = OutputFormat.TEXT,
) -> None:
    """Show the layers of a model, their cost, what can be cut, and what cannot be cut and why."""
    from acgraph.api.inspect import inspect as examine

    rates, most = layer_bounds(layer_rate, max_layer_rate)
    result = examine(
        model, keep=keep, layer_rate=rates, max_layer_rate=most, input_shape=input_shape
    )
    if html is not None:
        from acgraph.ir import write_bytes

        write_bytes(result.to_html().encode(), html)
    if why is not None:
        lines = result.why(why)
        plain: Any = {"schema": 1, "node": why, "why": lines}
        if output_format is OutputFormat.TEXT:
            typer.echo("\n".join(map(printable, lines)))
            return
    else:
        plain = result.as_json()
    if output_format is OutputFormat.JSON:
        typer.echo(json.dumps(plain, indent=2))
        return
    _print(plain)


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
    console.print("fences:" if fences else "no fences: every layer can be cut")
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
        return "no: only one set"
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
