"""What the user allows to be cut of a layer; kept with the model, whatever becomes of its graph."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBound:
    """How much of a layer must stay.

    Attributes:
        reason: Which option says so.
        is_whole: Nothing of its weights may be cut.
        axes: By input of the node: of every axis of the constant behind that input, how many
            positions must stay at least.
        columns: How many columns of the layer's matrix must stay at least; 0 for a node that is
            not a layer.
    """

    reason: str
    is_whole: bool
    axes: Mapping[int, tuple[int, ...]]
    columns: int
