"""Read and replace the constants of a model; no other module replaces them.

A replaced constant keeps its rank and type. Operators distinguish a scalar from a vector of one
element: a Gather by a scalar removes the axis, and a Concat requires equal ranks. Constants whose
values are equal already are left untouched.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from acgraph.errors import PassError
from acgraph.ir.model import Array, Model, constant_node_value
from acgraph.ir.odd_values import array_bytes
from acgraph.ir.uses import captured_names


def in_c_order(value: Array) -> Array:
    """Return an array in C order with the same rank.

    ``np.ascontiguousarray`` would turn a scalar into a vector.

    >>> in_c_order(np.float32(1)).shape
    ()
    """
    return np.asarray(value, order="C")


def resolved_constant(tensor: gs.Tensor, *, transposed: bool = False) -> Array | None:
    """Return the value of a constant, looking through Constant and Identity nodes; else None.

    Args:
        tensor: The tensor.
        transposed: Also look through Transpose.
    """
    if isinstance(tensor, gs.Constant):
        return np.asarray(tensor.values)
    node = tensor.inputs[0] if len(tensor.inputs) == 1 else None
    if node is None or node.op == "Constant":
        return None if node is None else constant_node_value(node)
    is_turned = node.op == "Transpose" and transposed
    if node.op != "Identity" and not is_turned:
        return None
    value = resolved_constant(node.inputs[0], transposed=transposed)
    return np.transpose(value, node.attrs.get("perm")) if is_turned and value is not None else value


def replace_constants(model: Model, values: Mapping[str, Array]) -> None:
    """Replace the values of initializers and Constant nodes by name, in place.

    Constants that are byte-identical to the new values are left untouched. Names that are no
    constants of the top graph are ignored.

    Raises:
        PassError: A value differs in rank or type from the one that it replaces.
    """
    for node in model.graph.nodes:
        if node.op == "Constant" and not node.domain and node.outputs:
            _replace_node(model, node, values)
    for tensor in _initializers(model):
        new = values.get(tensor.name)
        if new is not None and _is_changed(model, tensor.name, tensor.values, new):
            tensor.values = in_c_order(new)


def _replace_node(model: Model, node: gs.Node, values: Mapping[str, Array]) -> None:
    name = node.outputs[0].name
    new, old = values.get(name), constant_node_value(node)
    if new is None or old is None or not _is_changed(model, name, old, new):
        return
    node.attrs.clear()
    node.attrs["value"] = gs.Constant(f"{node.name}/value", in_c_order(new))


def lift_constants(model: Model) -> None:
    """Turn Constant nodes into initializers, in place; the values keep their names.

    Nodes stay where a subgraph reads the value, where it is a graph output, or where it is not
    numeric.
    """
    fixed = captured_names(model.graph) | {tensor.name for tensor in model.graph.outputs}
    kept = []
    for node in model.graph.nodes:
        is_constant = node.op == "Constant" and not node.domain and len(node.outputs) == 1
        value = constant_node_value(node) if is_constant else None
        if value is None or node.outputs[0].name in fixed:
            kept.append(node)
            continue
        old = node.outputs[0]
        new = gs.Constant(old.name, in_c_order(value))
        for reader in list(old.outputs):
            for index, tensor in enumerate(reader.inputs):
                if tensor is old:
                    reader.inputs[index] = new
        node.outputs.clear()
        model.originals.pop(node.name, None)
    model.graph.nodes = kept


def _initializers(model: Model) -> Iterator[gs.Constant]:
    """Yield every constant tensor of the top graph once."""
    seen: set[int] = set()
    readers = [node.inputs for node in model.graph.nodes]
    for tensor in (tensor for tensors in [*readers, model.graph.outputs] for tensor in tensors):
        if isinstance(tensor, gs.Constant) and id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor


def _is_changed(model: Model, name: str, old: Array, new: Array) -> bool:
    """Return whether the values differ.

    Raises:
        PassError: The rank or the type differs.
    """
    if old.dtype != new.dtype or old.ndim != new.ndim:
        raise PassError(
            f"a constant of type {old.dtype} and rank {old.ndim} cannot be replaced by one of type "
            f"{new.dtype} and rank {new.ndim}",
            location=model.location(value=name),
            hint="this is a bug in acgraph: please report it",
        )
    return not is_same(old, new)


def is_same(first: Array, second: Array) -> bool:
    """Return whether two arrays have the same type, shape and bytes."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    if first.dtype.kind == "O":
        return array_bytes(first) == array_bytes(second)
    return np.array_equal(_raw(first), _raw(second))


def _raw(value: Array) -> npt.NDArray[np.uint8]:
    return in_c_order(value).reshape(-1).view(np.uint8)
