"""What a rule is, and what the shrink tells it."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from acgraph.analysis.site import Site
from acgraph.ir import Array

Keep = npt.NDArray[np.bool_]


class Cut(Protocol):
    """What a cut removes around one node, for operators that carry sizes."""

    @property
    def node(self) -> gs.Node:
        """The node in the model that is being shrunk."""
        ...

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        ...

    def keep_in(self, i: int, axis: int) -> Keep | None:
        """Which positions of an axis of input ``i`` stay; None where all do."""
        ...

    def keep_out(self, j: int, axis: int) -> Keep | None:
        """Which positions of an axis of output ``j`` stay; None where all do."""
        ...

    def shape_in(self, i: int) -> tuple[int, ...]:
        """Sizes of input ``i`` before the cut."""
        ...

    def shape_out(self, j: int) -> tuple[int, ...]:
        """Sizes of output ``j`` before the cut."""
        ...

    def value(self, i: int) -> Array | None:
        """The value of input ``i`` before the cut where it is known for all input sizes."""
        ...

    def set_input(self, i: int, value: Array) -> None:
        """Give the node a constant of its own as input ``i``."""
        ...

    def patch_sizes(self, i: int, sizes: dict[int, int]) -> None:
        """Set entries of the vector of sizes at input ``i``, be it a constant or computed."""
        ...

    def scale_output(self, j: int, factor: float) -> None:
        """Multiply output ``j`` by a number."""
        ...


#: Says how the labels of the inputs of a node become labels of its outputs.
Rule = Callable[[Site], None]
#: Rewrites the sizes that a node carries.
Resize = Callable[[Cut], None]
