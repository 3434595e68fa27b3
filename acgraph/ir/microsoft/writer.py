"""Builder of the nodes that replace one node."""

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir.microsoft.known import dtype_of
from acgraph.ir.names import fresh


class Writer:
    """Builds the nodes that replace one node.

    Args:
        node: The node that is replaced.
        opset: Opset version of the default domain.
        taken: The names of nodes and tensors in use; new ones are added.
        returned: The names of the graph's outputs.
    """

    def __init__(
        self, node: gs.Node, opset: int, taken: set[str], returned: Collection[str] = ()
    ) -> None:
        self.node = node
        self.opset = opset
        self.attrs = dict(node.attrs)
        self._taken = taken
        self._returned = returned
        self._nodes: list[gs.Node] = []
        self._ends: dict[int, gs.Tensor] = {}

    def input(self, i: int) -> gs.Tensor | None:
        """Return input ``i``; None where it is absent."""
        found = i < len(self.node.inputs) and bool(self.node.inputs[i].name)
        return self.node.inputs[i] if found else None

    def is_used(self, j: int) -> bool:
        """Return whether output ``j`` is read."""
        tensor = self.node.outputs[j] if j < len(self.node.outputs) else None
        return tensor is not None and bool(tensor.outputs or tensor.name in self._returned)

    def op(
        self, op: str, *inputs: gs.Tensor | None, outputs: int = 1, main: bool = False, **attrs: Any
    ) -> Any:
        """Write a node; return its output, or a list of them.

        Args:
            op: A standard operator.
            *inputs: Its inputs, None for absent ones.
            outputs: Number of its outputs.
            main: Give the node the name of the replaced one.
            **attrs: Its attributes.
        """
        read = list(inputs)
        while read and read[-1] is None:
            read.pop()
        name = self.node.name if main else self._fresh(f"{self.node.name}/{op}")
        made = [gs.Variable(self._fresh(f"{name}:out{j}")) for j in range(outputs)]
        self._nodes.append(
            gs.Node(
                op,
                name=name,
                attrs=attrs,
                inputs=[gs.Variable.empty() if t is None else t for t in read],
                outputs=made,
            )
        )
        return made[0] if outputs == 1 else made

    def const(self, value: Any, dtype: Any = np.int64) -> gs.Constant:
        """Create a constant."""
        return gs.Constant(self._fresh(f"{self.node.name}/const"), np.asarray(value, dtype))

    def number(self, value: float, like: gs.Tensor) -> gs.Constant:
        """Create a scalar with the float type of a tensor."""
        return self.const(value, dtype_of(like))

    def end(self, j: int, tensor: gs.Tensor) -> None:
        """Set the tensor that becomes output ``j``."""
        if self.is_used(j):
            self._ends[j] = tensor

    def close(self) -> list[gs.Node]:
        """Connect the new nodes in place of the old one, and return them."""
        outputs = list(self.node.outputs)
        self.node.inputs.clear()
        self.node.outputs.clear()
        for j, tensor in self._ends.items():
            producer = tensor.inputs[0]
            place = next(k for k, made in enumerate(producer.outputs) if made is tensor)
            producer.outputs[place] = outputs[j]
            for node in self._nodes:
                for i, read in enumerate(node.inputs):
                    if read is tensor:
                        node.inputs[i] = outputs[j]
        return self._nodes

    def _fresh(self, stem: str) -> str:
        return fresh(stem, self._taken)
