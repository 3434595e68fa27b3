"""Facts of the tensors of a graph: the result of shape inference in ``acgraph.ir.shapes``."""

import re
from dataclasses import dataclass, field

import onnx
import onnx_graphsurgeon as gs

from acgraph.diagnostics import Diagnostic, Location, counted
from acgraph.ir.model import Array

#: Types of the tensors that networks compute with, as ``TensorProto.DataType`` numbers.
FLOAT_TYPES = frozenset(
    int(getattr(onnx.TensorProto, name)) for name in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
)
#: Constants of more bytes determine no shape; shape inference runs without their values.
SHAPE_DATA_BYTES = 1 << 13
#: Prefix of onnx's messages before the reason: kind of error, operator and node.
_ONNX_PREFIX = re.compile(r"^\[\w+\]\s*(\([^)]*\):?\s*)*")


@dataclass(frozen=True, slots=True)
class Facts:
    """Shapes, types and values of the tensors of a graph at concrete input sizes, by name.

    Attributes:
        shapes: Shapes; a tensor of unknown shape is absent.
        dtypes: ONNX ``TensorProto.DataType`` numbers.
        values: Values of small tensors that do not depend on the data (weights excluded).
        dynamic: Names in ``values`` whose value depends on the chosen input sizes.
        fixed_axes: For tensors whose shape depends on the input sizes: which axes do not.
        unknown: Tensors without a shape, in graph order.
        assumed: For tensors with assumed sizes: which axes depend on a placeholder, so that their
            size in ``shapes`` is not real.
        others: The shapes of the same tensors with another placeholder.
        uninferred: Tensors whose shape was assumed, because inference does not find it.
        failures: Nodes whose output shapes could not be inferred although their input shapes are
            known, with the error.
    """

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, int] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)
    dynamic: set[str] = field(default_factory=set)
    fixed_axes: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    assumed: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    others: dict[str, tuple[int, ...]] = field(default_factory=dict)
    uninferred: frozenset[str] = frozenset()
    failures: list[Diagnostic] = field(default_factory=list)

    def remarks(self) -> tuple[str, ...]:
        """Describe the failures of shape inference, and count the tensors of unknown shape."""
        lines = [str(failure) for failure in self.failures]
        missing = [*(name for name in self.shapes if name in self.uninferred), *self.unknown]
        if missing:
            count = counted(len(missing), "tensor")
            lines.append(f"the shapes of {count} cannot be inferred, among them '{missing[0]}'")
        return tuple(lines)

    def remarks_beside(self, compact: "Facts") -> tuple[str, ...]:
        """Describe the failures for a model and its compact form, each failure once."""
        own = self.remarks()
        return (*own, *(f"compact model: {x}" for x in compact.remarks() if x not in own))


def failure(node: gs.Node, error: Exception) -> Diagnostic:
    """Return a diagnostic of one line for a node whose shape inference failed."""
    lines = _ONNX_PREFIX.sub("", str(error).strip()).splitlines()
    reason = lines[0] if lines else type(error).__name__
    return Diagnostic(
        location=Location(node=node.name, op_type=node.op),
        message=f"its shape inference failed ({reason})",
    )
