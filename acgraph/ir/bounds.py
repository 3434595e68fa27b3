"""How much of a layer the user allows to be cut. Stored with the model, not in its graph."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBound:
    """How much of a layer must be kept.

    Attributes:
        reason: The option that sets the bound.
        is_whole: Whether nothing of its weights may be cut.
        axes: Least number of kept positions of each axis of a constant, by the index of the node
            input that reads it.
        columns: Least number of kept columns of the layer's matrix; 0 where the node is not a
            layer.
    """

    reason: str
    is_whole: bool
    axes: Mapping[int, tuple[int, ...]]
    columns: int
