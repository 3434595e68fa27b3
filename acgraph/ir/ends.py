"""Complete the types and shapes of graph inputs and outputs that the file does not declare."""

import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.importers.onnx_importer import get_numpy_type, get_onnx_tensor_shape

from acgraph.ir.assume import Partial, shape_by_readers
from acgraph.ir.facts import Facts
from acgraph.ir.model import Model
from acgraph.ir.shapes import infer_facts

#: How a shape that was not declared was found.
_SOURCES = {"input": "from its consumers", "output": "by shape inference"}


def complete_ends(model: Model, graph: onnx.GraphProto) -> list[str]:
    """Complete the types and shapes of inputs and outputs, in place; return remarks on them.

    Args:
        model: The model as imported by onnx-graphsurgeon. The import loses the declaration of an
            output that ``value_info`` lists, too.
        graph: The graph that it was read from.
    """
    declared = {value.name: value for value in [*graph.input, *graph.output]}
    kinds = {name: value.type.WhichOneof("value") for name, value in declared.items()}
    for tensor in [*model.graph.inputs, *model.graph.outputs]:
        if isinstance(tensor, gs.Variable) and kinds[tensor.name] == "tensor_type":
            _declare(tensor, declared[tensor.name])
    remarks: list[str] = []
    for tensor in model.graph.inputs:
        if kinds[tensor.name] == "tensor_type":
            remarks += _set_shape(tensor, shape_by_readers(tensor), "input")
    open_outputs = [
        tensor
        for tensor in model.graph.outputs
        if isinstance(tensor, gs.Variable)
        and (tensor.shape is None or tensor.dtype is None)
        and kinds[tensor.name] in (None, "tensor_type")
    ]
    if open_outputs:
        facts = infer_facts(model, assume=True)
        for tensor in open_outputs:
            if tensor.dtype is None and tensor.name in facts.dtypes:
                tensor.dtype = dtype_of(facts.dtypes[tensor.name])
            remarks += _set_shape(tensor, _sizes(tensor.name, facts), "output")
    return remarks


def dtype_of(elem: int) -> object:
    """Return the numpy type of an ONNX type number, or the number where numpy has none."""
    kind: object = get_numpy_type(elem)
    return elem if kind is None else kind


def _declare(tensor: gs.Variable, declared: onnx.ValueInfoProto) -> None:
    kind = declared.type.tensor_type
    if kind.HasField("shape"):
        tensor.shape = get_onnx_tensor_shape(declared)
    if kind.elem_type:
        tensor.dtype = dtype_of(kind.elem_type)


def _set_shape(tensor: gs.Variable, shape: Partial | None, role: str) -> list[str]:
    """Declare a shape that was found, and return a remark on it."""
    if tensor.shape is not None:
        return []
    missing = f"{role} '{tensor.name}' has no shape in the file"
    if shape is None:
        return [f"{missing}, and none can be inferred"]
    tensor.shape = list(shape)
    text = ", ".join("?" if size is None else str(size) for size in shape)
    return [f"{missing}; ({text}) was found {_SOURCES[role]}"]


def _sizes(name: str, facts: Facts) -> Partial | None:
    """Return the sizes that are the same for every input, None for the others."""
    shape = facts.shapes.get(name)
    if shape is None:
        return None
    fixed = facts.fixed_axes.get(name, (True,) * len(shape))
    assumed = facts.assumed.get(name, (False,) * len(shape))
    return tuple(
        size if is_fixed and not is_assumed else None
        for size, is_fixed, is_assumed in zip(shape, fixed, assumed, strict=True)
    )
