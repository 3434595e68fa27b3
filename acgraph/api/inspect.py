"""``acgraph.inspect``: the layers, cost, coupled sets and fences of a model."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from acgraph.analysis.branches import (
    Branches,
    all_families,
    all_fences,
    all_layers,
    analyse_branches,
)
from acgraph.analysis.cost import Cost, LayerCost, model_cost
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.analysis.families import Family
from acgraph.analysis.layer_patterns import bound_layers
from acgraph.api.call import checked
from acgraph.api.types import ModelLike, RateLike, ShapesLike, read_rate, resolve_input_sizes
from acgraph.diagnostics import Diagnostic, counted
from acgraph.errors import UsageError
from acgraph.ir import Model, input_sizes
from acgraph.ir.branches import models_inside
from acgraph.ir.load import load_model
from acgraph.report import render_inspect_page
from acgraph.report.notebook import layer_table


@dataclass(frozen=True, repr=False)
class InspectResult:
    """The layers of a model, their cost, and which of them can be cut.

    Attributes:
        model: The model, with the sizes of its inputs resolved.
        cost: Parameters, MACs and bytes.
        layers: All layers with their costs.
        dependency: The coupled sets of the graph, in families, and the fences that keep them.
        branches: The same for the branches of If nodes.
    """

    model: Model
    cost: Cost
    layers: Sequence[LayerCost]
    dependency: DependencyGraph
    branches: Branches

    @property
    def families(self) -> Sequence[Family]:
        """The families: coupled sets on the same axes form a family."""
        return all_families(self.dependency, self.branches)

    @property
    def fences(self) -> Sequence[Diagnostic]:
        """The parts that cannot be cut, each with its node and the reason."""
        return all_fences(self.dependency, self.branches)

    def why(self, node: str) -> list[str]:
        """Explain what a node is coupled to and why it is fenced, or why a graph output is kept.

        Args:
            node: The name of a node or of a graph output.

        Returns:
            Lines of text.

        Raises:
            UsageError: There is no such node.
        """
        return _why(self.dependency, self.branches, node)

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values, as ``acgraph inspect --format json`` prints them."""
        model, cost = self.model, self.cost
        return {
            "schema": 1,
            "model": {
                "path": model.source,
                "opset": model.graph.opset,
                "nodes": len(model.graph.nodes),
                "inputs": {name: list(shape) for name, shape in input_sizes(model).shapes.items()},
                "remarks": [*model.remarks, *self.dependency.facts.remarks()],
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
                for layer in self.layers
            ],
            "families": [_family(family) for family in self.families],
            "fences": [
                {"node": fence.location.node or fence.location.value, "reason": fence.message}
                for fence in self.fences
            ],
        }

    def to_html(self) -> str:
        """Return an HTML page with the graph, the layers and the fences."""
        return render_inspect_page(
            self.model,
            self.dependency,
            cost=self.cost,
            layers=self.layers,
            fences=self.fences,
        )

    def _repr_html_(self) -> str:
        return layer_table(repr(self), self.layers)

    def __repr__(self) -> str:
        free = sum(family.is_prunable for family in self.families)
        return (
            f"InspectResult({counted(len(self.layers), 'layer')}, {self.cost.params:,} params, "
            f"{free} of {len(self.families)} families can be cut, "
            f"{counted(len(self.fences), 'fence')})"
        )


@checked
def inspect(
    model: ModelLike,
    *,
    keep: str | Sequence[str] | None = None,
    layer_rate: Mapping[str, RateLike] | None = None,
    max_layer_rate: RateLike | None = None,
    input_shape: ShapesLike | None = None,
) -> InspectResult:
    """List the layers of a model and their cost, what can be cut, and why the rest cannot.

    Args:
        model: A path, bytes, an ``onnx.ModelProto`` or an ``acgraph.Model``, which is not changed.
        keep: Patterns of layers to leave whole, as for ``acgraph.prune``.
        layer_rate: Upper bounds on the rate of layers, by pattern.
        max_layer_rate: Upper bound on the rate of every layer.
        input_shape: Shapes by input name, for inputs with dynamic dimensions.

    Returns:
        Layers, costs, coupled sets and fences.

    Raises:
        ImportModelError: The model is not valid.
        UsageError: A shape contradicts the model, or a pattern matches no layer.
    """
    found = load_model(model)
    resolve_input_sizes(found, input_shape)
    rates = {pattern: read_rate(rate).value for pattern, rate in (layer_rate or {}).items()}
    most = None if max_layer_rate is None else read_rate(max_layer_rate).value
    patterns = [keep] if isinstance(keep, str) else keep or ()
    found.bounds = bound_layers(found, patterns, rates, most, inside=dict(models_inside(found)))
    graph = analyse(found)
    branches = analyse_branches(graph)
    return InspectResult(
        model=found,
        cost=model_cost(found, facts=graph.facts),
        layers=all_layers(graph, branches),
        dependency=graph,
        branches=branches,
    )


def _why(graph: DependencyGraph, branches: Branches, node: str) -> list[str]:
    for each in branches.found:
        if node.startswith(f"{each.path}/"):
            return _why(each.graph, each.inner, node.removeprefix(f"{each.path}/"))
    names = [n.name for n in graph.model.graph.nodes]
    outputs = {value.name: value for value in graph.model.graph.outputs}
    if node in names:
        return graph.why(node)
    if node in outputs:
        return _why_output(graph, outputs[node])
    near = difflib.get_close_matches(node, names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "acgraph inspect MODEL lists the layers"
    raise UsageError(f"no node is named '{node}'", hint=hint)


def _why_output(graph: DependencyGraph, output: gs.Tensor) -> list[str]:
    """Explain why an output is fenced, and what the node that computes it is coupled to."""
    fences = [f.message for f in graph.all_fences() if f.location.value == output.name]
    lines = [f"{output.name}: {message}" for message in fences]
    if not lines:
        lines = [f"{output.name}: a graph output, which no fence affects"]
    for node in output.inputs:
        lines += [f"made by {node.name} ({node.op}):", *graph.why(node.name)]
    return lines


def _family(family: Family) -> dict[str, Any]:
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
