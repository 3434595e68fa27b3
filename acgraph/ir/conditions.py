"""Find Ifs whose condition is the same for every input that the model accepts.

The condition may be a constant, or computed from constants and from sizes that the file fixes. A
condition on a size that the file leaves open counts as undecided, even where it has the same value
at every size that was tried: exporters often test whether a size is one.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnx.shape_inference
import onnx_graphsurgeon as gs

from acgraph.ir.facts import SHAPE_DATA_BYTES, Facts
from acgraph.ir.fold import evaluate_node
from acgraph.ir.model import Array, Model
from acgraph.ir.shapes import infer_facts, is_static
from acgraph.operators import Trait, is_standard, operators_with

THEN, ELSE = "then_branch", "else_branch"
Bools = npt.NDArray[np.bool_]
#: By tensor: which of its sizes are the same for every input.
_Fixed = Mapping[str, tuple[bool, ...]]

#: Operators that only move elements of input 0 (Concat: of all inputs) to one output.
_MOVES = operators_with(Trait.VIEW) | {"Concat", "Gather", "Slice"}


def decided_branches(model: Model, proto: onnx.ModelProto) -> dict[str, str]:
    """Find the Ifs of the top graph whose condition is the same for every input.

    Args:
        model: The model.
        proto: The proto that it was read from.

    Returns:
        Name of the attribute with the branch that is taken, by the first output of the If.
    """
    nodes = [
        node
        for node in model.graph.nodes
        if node.op == "If" and is_standard(node.domain) and node.outputs[0].name
    ]
    if not nodes:
        return {}
    facts = infer_facts(model)
    invariant = _Invariance(facts, _fixed_sizes(model, proto, facts), int(model.graph.opset))
    found = {}
    for node in nodes:
        value = facts.values.get(node.inputs[0].name)
        if value is not None and value.size == 1 and invariant.of(node.inputs[0]).all():
            found[node.outputs[0].name] = THEN if bool(value.reshape(())) else ELSE
    return found


def _fixed_sizes(model: Model, proto: onnx.ModelProto, facts: Facts) -> _Fixed:
    """Return which sizes are the same for every input: all for fixed inputs, else as inferred."""
    if is_static(model):
        return {name: (True,) * len(shape) for name, shape in facts.shapes.items()}
    inferred = onnx.shape_inference.infer_shapes(_without_weights(proto), data_prop=True).graph
    found = {t.name: (True,) * len(t.dims) for t in proto.graph.initializer}
    for value in [*inferred.value_info, *inferred.input, *inferred.output]:
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            found[value.name] = tuple(dim.HasField("dim_value") for dim in dims)
    return found


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a model without the bytes of its large constants."""
    copy = onnx.ModelProto(ir_version=proto.ir_version)
    copy.opset_import.extend(proto.opset_import)
    copy.graph.name = proto.graph.name
    for part in ("node", "input", "output", "value_info"):
        getattr(copy.graph, part).extend(getattr(proto.graph, part))
    for tensor in proto.graph.initializer:
        if len(tensor.raw_data) > SHAPE_DATA_BYTES:
            copy.graph.initializer.add(
                name=tensor.name, dims=tensor.dims, data_type=tensor.data_type
            )
        else:
            copy.graph.initializer.append(tensor)
    return copy


class _Invariance:
    """Determines which elements of small values are the same for every input."""

    def __init__(self, facts: Facts, fixed: _Fixed, opset: int) -> None:
        self._facts, self._fixed, self._opset = facts, fixed, opset
        self._known: dict[str, Bools] = {}

    def of(self, tensor: gs.Tensor) -> Bools:
        """Return a flag for every element; a scalar False where the value is unknown."""
        if tensor.name not in self._known:
            self._known[tensor.name] = self._find(tensor)
        return self._known[tensor.name]

    def _find(self, tensor: gs.Tensor) -> Bools:
        value = self._facts.values.get(tensor.name)
        if value is None:
            return np.zeros((), np.bool_)
        node = tensor.inputs[0] if tensor.inputs else None
        if isinstance(tensor, gs.Constant) or node is None or not node.inputs:
            return np.ones(value.shape, np.bool_)
        if node.op in ("Shape", "Size"):
            return self._measured(node, value)
        flags = [self.of(read) for read in node.inputs if read.name]
        moved = self._moved(node, flags) if node.op in _MOVES else None
        if moved is not None and moved.shape == value.shape:
            return moved
        return np.full(value.shape, all(flag.all() for flag in flags), np.bool_)

    def _measured(self, node: gs.Node, value: Array) -> Bools:
        flags = np.array(self._fixed.get(node.inputs[0].name, (False,)), np.bool_)
        if node.op == "Shape":
            flags = flags[int(node.attrs.get("start", 0)) : node.attrs.get("end")]
        else:
            flags = np.array(flags.all(), np.bool_)
        return flags if flags.shape == value.shape else np.zeros(value.shape, np.bool_)

    def _moved(self, node: gs.Node, flags: list[Bools]) -> Bools | None:
        """Apply the node to the flags; None where it is uncertain how it moves elements."""
        if node.op != "Concat" and not all(flag.all() for flag in flags[1:]):
            return None
        if node.op == "Cast":
            return flags[0]
        arrays: list[Array | None] = [
            self._facts.values[read.name] if read.name else None for read in node.inputs
        ]
        count = len(arrays) if node.op == "Concat" else 1
        arrays[:count] = [flag.astype(np.int64) for flag in flags[:count]]
        outputs = evaluate_node(node, arrays, self._opset, 1 << 16)
        return None if outputs is None else outputs[0].astype(np.bool_)
