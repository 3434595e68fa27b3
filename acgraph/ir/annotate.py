"""Infer symbolic shapes with onnx, and write them onto the variables of a graph."""

import onnx
import onnx.shape_inference
import onnx_graphsurgeon as gs

from acgraph.ir.ends import dtype_of
from acgraph.ir.facts import SHAPE_DATA_BYTES, Facts
from acgraph.ir.model import Model
from acgraph.ir.onnx_io import proto_from_model
from acgraph.ir.shapes import infer_facts, is_static

Size = int | str | None
#: A numpy type (an ONNX type number where numpy has none) and sizes: known, symbolic, or None.
Annotation = tuple[object, tuple[Size, ...]]


def symbolic_shapes(model: Model) -> dict[str, Annotation]:
    """Infer the types and shapes of the tensors of the top graph; symbolic sizes keep their names.

    Where every input has a fixed shape, ``infer_facts`` completes the shapes that onnx cannot
    infer.
    """
    found = _from_onnx(model)
    if is_static(model):
        found.update(_from_facts(infer_facts(model), found))
    return found


def _from_onnx(model: Model) -> dict[str, Annotation]:
    proto = proto_from_model(model)
    for tensor in proto.graph.initializer:
        if len(tensor.raw_data) > SHAPE_DATA_BYTES:
            tensor.ClearField("raw_data")
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    return {
        value.name: (dtype_of(value.type.tensor_type.elem_type), _sizes(value))
        for value in inferred.graph.value_info
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")
    }


def _sizes(value: onnx.ValueInfoProto) -> tuple[Size, ...]:
    return tuple(_size(dim) for dim in value.type.tensor_type.shape.dim)


def _size(dim: onnx.TensorShapeProto.Dimension) -> Size:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    # Names that onnx generates differ between runs of the pass.
    return None if not dim.dim_param or dim.dim_param.startswith("unk__") else dim.dim_param


def _from_facts(facts: Facts, known: dict[str, Annotation]) -> dict[str, Annotation]:
    return {
        name: (dtype_of(facts.dtypes[name]), shape)
        for name, shape in facts.shapes.items()
        if name not in known or None in known[name][1]
    }


def annotate(tensor: gs.Tensor, annotation: Annotation) -> bool:
    """Write a type and shape onto a variable; return whether that changed it."""
    dtype, shape = annotation
    kept = tensor.dtype if tensor.dtype is not None else dtype
    if tensor.dtype is not None and tensor.shape is not None:
        old = tuple(None if size == "" else size for size in tensor.shape)
        if old == shape or len(old) != len(shape):
            return False
        # A number replaces a name or nothing, and a name replaces nothing; never the reverse.
        shape = tuple(_better(a, b) for a, b in zip(old, shape, strict=True))
        if old == shape:
            return False
    tensor.dtype, tensor.shape = kept, shape
    return True


def _better(old: Size, new: Size) -> Size:
    return new if old is None or isinstance(new, int) else old
