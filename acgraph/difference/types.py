"""The types of a difference of two models."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from acgraph.analysis.cost import Cost

Pair = tuple[int, int]
#: Fields of a difference that are no changes of what a model computes.
_NO_CHANGES = frozenset({"renamed", "cost_before", "cost_after", "node_costs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRef:
    """A node that only one of the models has."""

    name: str
    op_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A node with different names in the models."""

    before: str
    after: str
    op_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retyped:
    """A node with another operator in the second model."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resized:
    """A layer with another matrix size; pairs are before and after."""

    name: str
    op_type: str
    filters: Pair
    columns: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A layer that was lowered; the columns after are those that all parts store together."""

    name: str
    op_type: str
    form: str
    nodes: int
    filters: Pair
    columns: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeChange:
    """An attribute of a node; absent values are None."""

    node: str
    attribute: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantChange:
    """A constant of both models that changed.

    Attributes:
        name: Name in the first model.
        node: The first node that reads it.
        shape: Shapes before and after.
        dtype: Types before and after.
        max_abs_diff: The largest finite change of a value; None where shapes differ.
        not_finite: Number of values that changed from or to NaN or infinity.
    """

    name: str
    node: str
    shape: tuple[tuple[int, ...], tuple[int, ...]]
    dtype: tuple[str, str]
    max_abs_diff: float | None
    not_finite: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RewiredInput:
    """An input of a node with another source."""

    node: str
    index: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """A changed property of the whole model: an input, an output, metadata, an opset."""

    kind: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCost:
    """The cost of a node; pairs are before and after, and 0 where a model does not have the node.

    Attributes:
        before: Its name in the first model; None if it was added.
        after: Its name in the second model; None if it was removed. A lowered layer keeps its name,
            and its cost is that of all its parts.
        op_type: Its operator in the first model that has it.
        macs: Multiply-accumulates; None where they are unknown.
        params: Elements of the constants that it reads or contains. A constant that several nodes
            read counts for each.
        bytes: Bytes of the same constants.
    """

    before: str | None
    after: str | None
    op_type: str
    macs: tuple[int | None, int | None]
    params: Pair
    bytes: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDiff:
    """The differences of two models; empty (``is_empty``) where only node names differ.

    Attributes:
        added: Nodes of the second model alone, except parts of lowered layers.
        removed: Nodes of the first model alone, except lowered layers.
        renamed: Nodes with another name.
        retyped: Nodes with another operator.
        resized: Layers with other numbers of filters or columns.
        lowered: Lowered layers.
        rewired: Inputs with another source.
        attributes: Changed attributes of nodes in both models.
        constants: Weights and other constants that changed in shape, type or value.
        properties: Changed inputs, outputs, metadata and opsets.
        cost_before: Cost of the first model.
        cost_after: Cost of the second model.
        node_costs: Cost of each node of either model, those of the first model first.
    """

    added: tuple[NodeRef, ...] = ()
    removed: tuple[NodeRef, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    retyped: tuple[Retyped, ...] = ()
    resized: tuple[Resized, ...] = ()
    lowered: tuple[Lowered, ...] = ()
    rewired: tuple[RewiredInput, ...] = ()
    attributes: tuple[AttributeChange, ...] = ()
    constants: tuple[ConstantChange, ...] = ()
    properties: tuple[ValueChange, ...] = ()
    cost_before: Cost
    cost_after: Cost
    node_costs: tuple[NodeCost, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True where the models are the same except for the names of nodes."""
        return not any(
            getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in _NO_CHANGES
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"is_empty": self.is_empty, **dataclasses.asdict(self)}
