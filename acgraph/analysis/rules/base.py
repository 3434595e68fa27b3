"""The types of label rules and resize rules, and the protocol of a cut at one node."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from acgraph.analysis.site import Site
from acgraph.ir import Array

Keep = npt.NDArray[np.bool_]


class Cut(Protocol):
    """A cut at one node, for operators with sizes in their inputs or attributes."""

    @property
    def node(self) -> gs.Node:
        """The node in the model that is shrunk."""
        ...

    @property
    def opset(self) -> int:
        """The opset version of the default domain."""
        ...

    def keep_in(self, i: int, axis: int) -> Keep | None:
        """Return the kept positions of an axis of input ``i``; None where all are kept."""
        ...

    def keep_out(self, j: int, axis: int) -> Keep | None:
        """Return the kept positions of an axis of output ``j``; None where all are kept."""
        ...

    def shape_in(self, i: int) -> tuple[int, ...]:
        """Return the shape of input ``i`` before the cut."""
        ...

    def shape_out(self, j: int) -> tuple[int, ...]:
        """Return the shape of output ``j`` before the cut."""
        ...

    def value(self, i: int) -> Array | None:
        """Return the value of input ``i`` before the cut where it is known for all input sizes."""
        ...

    def set_input(self, i: int, value: Array) -> None:
        """Set input ``i`` to a new constant of this node."""
        ...

    def patch_sizes(self, i: int, sizes: dict[int, int]) -> None:
        """Set entries of the vector of sizes at input ``i``, constant or computed."""
        ...

    def scale_output(self, j: int, factor: float) -> None:
        """Multiply output ``j`` by a number."""
        ...


#: Propagates the labels of the inputs of a node to its outputs.
Rule = Callable[[Site], None]
#: Rewrites the sizes in the inputs and attributes of a node.
Resize = Callable[[Cut], None]
