"""What is known of the tensors of a graph: the result of the walk in ``acgraph.ir.shapes``."""

import re
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from acgraph.diagnostics import Diagnostic, Location, counted
from acgraph.ir.model import Array

#: What onnx says before the reason: the kind of error, operator and node.
_ONNX_PREFIX = re.compile(r"^\[\w+\]\s*(\([^)]*\):?\s*)*")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the tensors of a concretised graph, by name.

    Attributes:
        shapes: Sizes; a tensor whose shape could not be found is absent.
        dtypes: onnx ``TensorProto.DataType`` numbers.
        values: Values of small tensors that do not depend on the data (weights excluded).
        dynamic: Names in ``values`` that hold only for the chosen input sizes.
        fixed_axes: For tensors whose shape depends on the input sizes: which axes do not.
        unknown: Tensors without a shape, in graph order.
        assumed: Where shapes were assumed, by tensor: which axes have a size that depends on one
            that is not known at all. What ``shapes`` says of them only stands for it.
        others: Those shapes with another number for what is not known.
        born: Tensors whose shape was assumed, because inference does not give it.
        failures: Nodes whose shapes could not be inferred though those of their inputs are known,
            with the error.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    dynamic: set[str] = field(default_factory=set)
    fixed_axes: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    assumed: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    others: dict[str, tuple[int, ...]] = field(default_factory=dict)
    born: frozenset[str] = frozenset()
    failures: list[Diagnostic] = field(default_factory=list)

    def remarks(self) -> tuple[str, ...]:
        """Say which shapes could not be inferred: what failed, and how many are missing."""
        lines = [str(failure) for failure in self.failures]
        missing = [*(name for name in self.shapes if name in self.born), *self.unknown]
        if missing:
            count = counted(len(missing), "tensor")
            lines.append(f"the shapes of {count} cannot be inferred, among them '{missing[0]}'")
        return tuple(lines)

    def remarks_beside(self, compact: "Facts") -> tuple[str, ...]:
        """Say the same of a model and of what it was cut to, each thing once."""
        own = self.remarks()
        return (*own, *(f"compact model: {x}" for x in compact.remarks() if x not in own))


def failure(node: gs.Node, error: Exception) -> Diagnostic:
    """Say that the shape inference of a node failed, and why, in one line."""
    lines = _ONNX_PREFIX.sub("", str(error).strip()).splitlines()
    reason = lines[0] if lines else type(error).__name__
    return Diagnostic(
        location=Location(node=node.name, op_type=node.op),
        message=f"its shape inference failed ({reason})",
    )
