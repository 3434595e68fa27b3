"""Run two models on the same inputs, and find where their activations part."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx_graphsurgeon as gs

from acgraph.analysis.layers import layers
from acgraph.difference.types import GraphDiff
from acgraph.errors import UsageError
from acgraph.ir import Array, Model

if TYPE_CHECKING:
    from acgraph.backends.ort.session import Session

#: Activations part where the relative error exceeds this; smaller errors are rounding.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """One tensor that nodes of both models compute.

    Attributes:
        node: The node in the first model; the name of the tensor for a graph output.
        op_type: Its operator; ``output`` for a graph output.
        is_layer: Whether the node is a layer.
        shape: The shapes of the tensor in both models.
        max_abs_error: Largest absolute difference; None if the values cannot be compared.
        max_rel_error: The same divided by the largest magnitude in the first model.
        reason: Why the values cannot be compared; empty if they can.
    """

    node: str
    op_type: str
    is_layer: bool
    shape: tuple[tuple[int, ...], tuple[int, ...]]
    max_abs_error: float | None
    max_rel_error: float | None
    reason: str = ""

    @property
    def parts(self) -> bool:
        """Whether the values differ by more than rounding."""
        return self.max_rel_error is None or self.max_rel_error > TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDifference:
    """The activations of two models on the same random inputs.

    Attributes:
        seed: Seed of the inputs.
        activations: The tensors of paired nodes in graph order, then the graph outputs.
    """

    seed: int
    activations: tuple[Activation, ...]

    @property
    def first(self) -> Activation | None:
        """The first tensor whose values part; None if there is none."""
        return next((each for each in self.activations if each.parts), None)

    def lines(self) -> list[str]:
        """Describe the comparison: where values part first, and the error of layers and outputs."""
        first = self.first
        head = "no activation parts" if first is None else f"activations part at {first.node}"
        shown = [each for each in self.activations if each.is_layer or each.op_type == "output"]
        return [f"{head} (same random inputs, {len(self.activations)} tensors compared)"] + [
            f"  {each.node} ({each.op_type}): {_error(each)}" for each in shown
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        first = self.first
        return {
            "seed": self.seed,
            "tolerance": TOLERANCE,
            "first": None if first is None else first.node,
            "activations": [
                {
                    "node": each.node,
                    "op_type": each.op_type,
                    "shape": [list(shape) for shape in each.shape],
                    "max_abs_error": each.max_abs_error,
                    "max_rel_error": each.max_rel_error,
                    "reason": each.reason,
                }
                for each in self.activations
            ],
        }


def _error(each: Activation) -> str:
    if each.max_rel_error is None:
        return each.reason
    mark = " <- parts" if each.parts else ""
    return f"relative error {each.max_rel_error:.2g}{mark}"


def run_both(first: Model, second: Model, diff: GraphDiff, *, seed: int = 0) -> RunDifference:
    """Run two models on the same random inputs and compare the outputs of paired nodes.

    Args:
        first: The first model.
        second: The second model.
        diff: Their difference, which pairs the nodes.
        seed: Seed of the inputs.

    Raises:
        UsageError: The models have other inputs.
        BackendError: One of them cannot run.
    """
    # Here, because other differences do not need ONNX Runtime.
    from acgraph.backends.ort.inputs import random_inputs
    from acgraph.backends.ort.inside import with_outputs
    from acgraph.backends.ort.session import Session

    pairs = list(_pairs(first, second, diff))
    ours = Session(with_outputs(first, dict.fromkeys(p[1].name for p in pairs)))
    theirs = Session(with_outputs(second, dict.fromkeys(p[2].name for p in pairs)))
    feeds = random_inputs(ours, seed=seed)
    values = ours.run(feeds), theirs.run(_matched(feeds, ours, theirs))
    matrix = {layer.name for layer in layers(first)}
    found = [
        _compare(node.name, node.op, node.name in matrix, values[0][a.name], values[1][b.name])
        for node, a, b in pairs
        if a.name in values[0] and b.name in values[1]
    ]
    outputs = zip(first.graph.outputs, second.graph.outputs, strict=False)
    found += [
        _compare(a.name, "output", False, values[0][a.name], values[1][b.name])
        for a, b in outputs
        if a.name in values[0] and b.name in values[1]
    ]
    return RunDifference(seed=seed, activations=tuple(found))


def _matched(feeds: Mapping[str, Array], ours: "Session", theirs: "Session") -> dict[str, Array]:
    """Return the inputs by the names of the second model: the same names, or else the same order.

    Raises:
        UsageError: The models have other inputs.
    """
    names = [info.name for info in theirs.inputs]
    if set(names) == set(feeds):
        return dict(feeds)
    kinds = [[(info.kind, len(info.shape)) for info in side.inputs] for side in (ours, theirs)]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"the inputs of the models differ: {', '.join(feeds)} and {', '.join(names)}",
            hint="--run needs models with the same inputs",
        )
    return dict(zip(names, (feeds[info.name] for info in ours.inputs), strict=True))


def _pairs(
    first: Model, second: Model, diff: GraphDiff
) -> Iterator[tuple[gs.Node, gs.Tensor, gs.Tensor]]:
    """Yield each tensor of a paired node with its counterpart, and that of each lowered layer."""
    renamed = {change.before: change.after for change in diff.renamed}
    removed, lowered = ({x.name for x in found} for found in (diff.removed, diff.lowered))
    theirs = {node.name: node for node in second.graph.nodes}
    made = {t.name: t for node in second.graph.nodes for t in node.outputs if t.name}
    for node in first.graph.nodes:
        other = theirs.get(renamed.get(node.name, node.name))
        if node.name in lowered:
            yield from ((node, t, made[t.name]) for t in node.outputs if t.name in made)
        elif node.name not in removed and other is not None:
            yield from (
                (node, a, b)
                for a, b in zip(node.outputs, other.outputs, strict=False)
                if a.name and b.name
            )


def _compare(node: str, op_type: str, is_layer: bool, ours: Array, theirs: Array) -> Activation:
    from acgraph.backends.ort.compare import array_errors

    absolute, relative, reason = array_errors(theirs, ours)
    return Activation(
        node=node,
        op_type=op_type,
        is_layer=is_layer,
        shape=(ours.shape, theirs.shape),
        max_abs_error=absolute if math.isfinite(absolute) else None,
        max_rel_error=relative if math.isfinite(relative) else None,
        reason=reason,
    )
