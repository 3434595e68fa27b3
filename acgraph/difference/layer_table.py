"""The layers of two models side by side."""

from collections import Counter
from dataclasses import dataclass

from acgraph.analysis.layers import Layer, layers
from acgraph.diagnostics import counted
from acgraph.difference.types import GraphDiff
from acgraph.ir import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSide:
    """A layer in one of the models; a lowered one counts as one layer.

    Attributes:
        name: Its name in this model.
        op_type: Its operator, or the form that it was lowered to.
        filters: Rows of its matrix.
        columns: Columns of its matrix; for a lowered layer, the columns that all parts store.
    """

    name: str
    op_type: str
    filters: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPair:
    """A layer in both models.

    Attributes:
        before: The layer in the first model; None where it was added.
        after: The layer in the second model; None where it was removed.
        changes: Descriptions of the differences; empty where there are none.
    """

    before: LayerSide | None
    after: LayerSide | None
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name in the first model that has it."""
        side = self.before or self.after
        return side.name if side is not None else ""

    @property
    def new_name(self) -> str:
        """Name in the second model where it differs, else empty."""
        return self.after.name if self.after is not None and self.after.name != self.name else ""


def pair_layers(diff: GraphDiff, first: Model, second: Model) -> tuple[LayerPair, ...]:
    """Pair the layers of two models: those of the first in order, then those only in the second."""
    theirs = {layer.name: layer for layer in layers(second)}
    renamed = {change.before: change.after for change in diff.renamed}
    retyped = {change.name: change for change in diff.retyped}
    lowered = {change.name: change for change in diff.lowered}
    removed = {node.name for node in diff.removed}
    pairs = []
    for layer in layers(first):
        name, after = renamed.get(layer.name, layer.name), None
        if layer.name in lowered:
            made = lowered[layer.name]
            after = LayerSide(
                name=layer.name,
                op_type=f"{made.form} ({made.nodes} nodes)" if made.nodes > 1 else made.form,
                filters=made.filters[1],
                columns=made.columns[1],
            )
        elif name in theirs and layer.name not in removed:
            after = _side(theirs.pop(name))
        before = _side(layer)
        found = _sizes(before, after)
        if layer.name in lowered:
            found.append(f"lowered to {lowered[layer.name].form}")
        elif after is None and layer.name not in retyped:
            found = ["removed"]
        if layer.name in retyped:
            found.append(f"now {retyped[layer.name].after}")
        if name != layer.name:
            found.append("renamed")
        found += _details(diff, layer.name)
        pairs.append(LayerPair(before=before, after=after, changes=tuple(found)))
    added = {node.name for node in diff.added}
    pairs += [
        LayerPair(before=None, after=_side(layer), changes=("added",))
        for layer in theirs.values()
        if layer.name in added
    ]
    return tuple(pairs)


def _side(layer: Layer) -> LayerSide:
    return LayerSide(
        name=layer.name, op_type=layer.op_type, filters=layer.filters, columns=layer.columns
    )


def _sizes(before: LayerSide, after: LayerSide | None) -> list[str]:
    if after is None:
        return []
    pairs = (("filter", before.filters, after.filters), ("column", before.columns, after.columns))
    return [
        f"{counted(abs(old - new), what)} {'cut' if new < old else 'added'}"
        for what, old, new in pairs
        if old != new
    ]


def _details(diff: GraphDiff, name: str) -> list[str]:
    """Describe the changes of a layer other than its size."""
    found = [f"{change.attribute} changed" for change in diff.attributes if change.node == name]
    found += ["reads another node" for change in diff.rewired[:] if change.node == name][:1]
    same_shape = [c for c in diff.constants if c.node == name and c.shape[0] == c.shape[1]]
    return found + (["values changed"] if same_shape else [])


def count_operators(first: Model, second: Model) -> list[tuple[str, int, int]]:
    """Count the nodes of each operator in both models, in alphabetical order."""
    ours, theirs = (Counter(node.op for node in model.graph.nodes) for model in (first, second))
    return [(op, ours[op], theirs[op]) for op in sorted({*ours, *theirs})]
