"""What a difference of two models is made of."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from acgraph.analysis.cost import Cost

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRef:
    """A node that only one of the models has."""

    name: str
    op_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A node that both models have under different names."""

    before: str
    after: str
    op_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retyped:
    """A node that has its name in both models and another operator in the second."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resized:
    """A layer whose matrix changed its size; pairs are before and after."""

    name: str
    op_type: str
    filters: Pair
    columns: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A layer that became several operators; columns are those that all parts store together."""

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
    """A constant that both models read at the same place.

    Attributes:
        name: In the first model.
        node: The first node that reads it.
        shape: Before and after.
        dtype: Before and after.
        max_abs_diff: The largest finite change of a value; None where shapes differ.
        not_finite: How many values changed from or to NaN or infinity.
    """

    name: str
    node: str
    shape: tuple[tuple[int, ...], tuple[int, ...]]
    dtype: tuple[str, str]
    max_abs_diff: float | None
    not_finite: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RewiredInput:
    """An input of a node that comes from somewhere else now."""

    node: str
    index: int
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueChange:
    """A named property of the whole model: an input, an output, metadata, an opset."""

    kind: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDiff:
    """What changed from one model to another. Empty (``is_empty``) where only names of nodes did.

    Attributes:
        added: Nodes of the second model alone, those of lowered layers excluded.
        removed: Nodes of the first model alone, lowered layers excluded.
        renamed: Nodes found again under another name.
        retyped: Nodes with another operator.
        resized: Layers with other numbers of filters or columns.
        lowered: Layers that became several operators.
        rewired: Inputs that come from somewhere else.
        attributes: Attributes of nodes that both have.
        constants: Weights and other constants at the same place, changed in shape, type or value.
        properties: Inputs, outputs, metadata and opsets.
        cost_before: Of the first model.
        cost_after: Of the second.
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

    @property
    def is_empty(self) -> bool:
        """True where the models are the same; names of nodes are no difference."""
        return not any(
            getattr(self, field.name)
            for field in dataclasses.fields(self)
            if not field.name.startswith("cost_") and field.name != "renamed"
        )

    def to_dict(self) -> dict[str, Any]:
        """Make plain data for JSON."""
        return {"is_empty": self.is_empty, **dataclasses.asdict(self)}
