"""Assume the sizes that shape inference cannot find, so that inference continues behind them.

An operator of another domain, or a length that depends on the data, leaves a tensor without a
shape. Its sizes then come from the constants of its consumers (the weight of a Conv implies rank
and channels), else from the declarations in the file. An axis without either gets a *placeholder*:
a number with which inference continues. A second walk with another placeholder shows which sizes
depend on it; these are marked, and no decision relies on them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from acgraph.ir.facts import FLOAT_TYPES
from acgraph.ir.model import Array, constant_node_value
from acgraph.operators import Role, Trait, inputs_with, is_standard, operators_with

Partial = tuple[int | None, ...]
#: A rank or None, and ``(axis, size)`` pairs; an axis below 0 counts from the end.
_Expected = tuple[int | None, list[tuple[int, int]]]

#: Placeholders of the first and of the second walk; both can be halved several times.
PLACEHOLDERS = (96, 24)
#: Integer tensors of up to this many elements that depend on the data get assumed values.
MAX_ASSUMED_VALUES = 8
#: Inputs that list sizes one by one: an assumed entry leaves the others known.
SIZE_INPUTS = inputs_with(Role.SIZES, Role.COUNTS)
_INTEGERS = frozenset([onnx.TensorProto.INT32, onnx.TensorProto.INT64])
#: Operators whose output has the shape of input 0.
_SAME_SHAPE = operators_with(Trait.SAME_SHAPE)
#: How many such operators may lie between a tensor and the consumer that implies its shape.
_HOPS = 8


@dataclass(slots=True)
class Assumptions:
    """The assumptions of one walk.

    Attributes:
        placeholder: The size of an unknown axis.
        batch: The size of an unknown axis 0: the batch size of the model's inputs.
        symbols: Sizes of the symbolic axes of the inputs.
        uncertain_axes: By tensor: whether each axis may depend on a placeholder.
        uncertain_values: Names of values that may depend on a placeholder.
        assumed_values: Assumed values of small integer tensors that depend on the data.
        uninferred: Tensors whose shape was completed, because inference did not find it.
    """

    placeholder: int
    batch: int
    symbols: Mapping[str, int]
    uncertain_axes: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    uncertain_values: set[str] = field(default_factory=set)
    assumed_values: dict[str, Array] = field(default_factory=dict)
    uninferred: set[str] = field(default_factory=set)

    def reads_uncertain(self, node: gs.Node) -> bool:
        """Return whether an input of a node may depend on a placeholder."""
        return any(
            t.name in self.uncertain_axes
            or t.name in self.uncertain_values
            or t.name in self.assumed_values
            for t in node.inputs
        )

    def assumed_sizes(self, node: gs.Node) -> dict[str, Array]:
        """Return the assumed inputs of a node that determine the sizes of its outputs.

        Marks these outputs as ``uninferred``.
        """
        found = {
            t.name: self.assumed_values[t.name]
            for i, t in enumerate(node.inputs)
            if t.name in self.assumed_values and (node.op, i) in SIZE_INPUTS
        }
        if found and is_standard(node.domain):
            self.uninferred.update(t.name for t in node.outputs if t.name)
        return found

    def mark_axes(self, name: str, known: Partial | None, rank: int) -> None:
        """Mark the axes of a tensor whose size is unknown without the placeholders."""
        sizes = known if known is not None and len(known) == rank else (None,) * rank
        if None in sizes:
            self.uncertain_axes[name] = tuple(size is None for size in sizes)

    def mark_value(self, node: gs.Node, name: str) -> None:
        """Mark a value that may depend on a placeholder; a Shape of known sizes does not."""
        measured = self.uncertain_axes.get(node.inputs[0].name)
        if node.op == "Shape" and measured is not None:
            start, end = int(node.attrs.get("start", 0)), node.attrs.get("end")
            if not any(measured[start:end]):
                return
        self.uncertain_values.add(name)

    def certain_types(
        self, node: gs.Node, types: Mapping[str, onnx.TypeProto]
    ) -> dict[str, onnx.TypeProto]:
        """Return the types of a node's inputs without the sizes that may be placeholders."""
        found = {}
        for name in (t.name for t in node.inputs if t.name in types):
            found[name] = types[name]
            uncertain = self.uncertain_axes.get(name)
            if uncertain is not None:
                kind = types[name].tensor_type
                sizes = [d.dim_value for d in kind.shape.dim]
                certain = [None if u else size for size, u in zip(sizes, uncertain, strict=True)]
                found[name] = onnx.helper.make_tensor_type_proto(kind.elem_type, certain)
        return found

    def certain_values(self, node: gs.Node, values: Mapping[str, Array]) -> dict[str, Array]:
        """Return the values of a node's inputs that do not depend on a placeholder."""
        names = {t.name for t in node.inputs} - self.uncertain_values
        return {name: values[name] for name in names if name in values}

    def mark_open_inputs(self, inputs: Sequence[gs.Tensor]) -> None:
        """Mark the axes of a model's inputs whose size the file leaves open."""
        for tensor in inputs:
            axes = tuple(not (isinstance(s, int) and s > 0) for s in tensor.shape or ())
            if any(axes):
                self.uncertain_axes[tensor.name] = axes

    def assume_value(self, name: str, shape: Sequence[int], elem: int) -> None:
        """Assume the value of a small integer tensor that depends on the data."""
        sizes = int(np.prod(shape, dtype=np.int64))
        if (
            elem in _INTEGERS
            and 0 < sizes <= MAX_ASSUMED_VALUES
            and name not in self.uncertain_axes
        ):
            kind = onnx.helper.tensor_dtype_to_np_dtype(elem)
            self.assumed_values[name] = np.full(tuple(shape), self.placeholder, kind)

    def complete(self, tensor: gs.Tensor, inferred: Partial | None) -> tuple[int, ...] | None:
        """Return every size of a tensor: inferred, implied by its consumers, declared, or assumed.

        Args:
            tensor: The tensor.
            inferred: The inferred sizes; None where the rank is unknown.

        Returns:
            The sizes; None where the rank stays unknown. Axes with a placeholder are marked as
            uncertain.
        """
        rank, hints = _expected(tensor)
        declared = self._declared(tensor)
        if inferred is not None:
            rank = len(inferred)
        elif rank is None and declared is not None:
            rank = len(declared)
        if rank is None:
            return None
        self.uninferred.add(tensor.name)
        sizes = list(inferred if inferred is not None else (None,) * rank)
        for axis, size in hints:
            if -rank <= axis < rank and sizes[axis] is None:
                sizes[axis] = size
        if declared is not None and len(declared) == rank:
            sizes = [b if a is None else a for a, b in zip(sizes, declared, strict=True)]
        uncertain = tuple(size is None for size in sizes)
        if any(uncertain):
            self.uncertain_axes[tensor.name] = uncertain
        return tuple(
            (self.batch if axis == 0 and rank > 1 else self.placeholder) if size is None else size
            for axis, size in enumerate(sizes)
        )

    def _declared(self, tensor: gs.Tensor) -> Partial | None:
        if tensor.shape is None:
            return None
        return tuple(
            size if isinstance(size, int) and size > 0 else self.symbols.get(str(size))
            for size in tensor.shape
        )


def shape_by_readers(tensor: gs.Tensor) -> Partial | None:
    """Return the shape that the consumers of a tensor imply; None where none implies the rank."""
    rank, hints = _expected(tensor)
    if rank is None:
        return None
    sizes: list[int | None] = [None] * rank
    for axis, size in hints:
        if -rank <= axis < rank:
            sizes[axis] = size
    return tuple(sizes)


def _expected(tensor: gs.Tensor, hops: int = _HOPS) -> _Expected:
    """Return the rank and the sizes that the consumers of a tensor imply."""
    rank: int | None = None
    sizes = []
    for node, i in _readers(tensor, hops):
        own, found = (
            _expected_by_transpose(node, hops) if node.op == "Transpose" else _expected_by(node, i)
        )
        rank = own if rank is None else rank
        sizes.extend(found)
    return rank, sizes


def _expected_by_transpose(node: gs.Node, hops: int) -> _Expected:
    """Return the rank and sizes of the input of a Transpose that its consumers imply."""
    perm = node.attrs.get("perm")
    if perm is None or not hops:
        return None, []
    _, sizes = _expected(node.outputs[0], hops - 1)
    rank = len(perm)
    return rank, [(int(perm[axis]), size) for axis, size in sizes if -rank <= axis < rank]


def _readers(tensor: gs.Tensor, hops: int) -> Iterator[tuple[gs.Node, int]]:
    for node in tensor.outputs:
        if not is_standard(node.domain):
            continue
        if node.op in _SAME_SHAPE and hops and node.inputs[0] is tensor:
            yield from _readers(node.outputs[0], hops - 1)
            continue
        for i, read in enumerate(node.inputs):
            if read is tensor:
                yield node, i


def _expected_by(node: gs.Node, i: int) -> _Expected:
    """Return the rank and sizes that the constants of a node imply for its input ``i``."""
    if node.op == "MatMul" and i == 1:
        left = _shape_of(node, 0)
        return None, [(-2, left[-1])] if left is not None and len(left) > 1 else []
    weight = _shape_of(node, 1)
    if i != 0 or weight is None:
        return None, []
    rank = len(weight)
    if node.op == "Conv" and rank > 2:
        return rank, [(1, weight[1] * int(node.attrs.get("group", 1)))]
    if node.op == "ConvTranspose" and rank > 2:
        return rank, [(1, weight[0])]
    if node.op == "Gemm" and rank == 2:
        axis = 0 if node.attrs.get("transA", 0) else 1
        return 2, [(axis, weight[1 if node.attrs.get("transB", 0) else 0])]
    if node.op == "MatMul" and rank > 1:
        return None, [(-1, weight[-2])]
    if node.op in ("BatchNormalization", "InstanceNormalization"):
        return None, [(1, weight[0])]
    if node.op == "LayerNormalization" and weight and weight[-1] > 1:
        return None, [(-1, weight[-1])]
    if node.op in ("LSTM", "GRU", "RNN") and rank == 3:
        return 3, [(2, weight[2])]
    return None, []


def _shape_of(node: gs.Node, i: int) -> tuple[int, ...] | None:
    """Return the shape of an input that is a constant, None for any other."""
    tensor = node.inputs[i] if i < len(node.inputs) else None
    if isinstance(tensor, gs.Constant):
        return tuple(int(size) for size in tensor.shape)
    if tensor is None or not tensor.inputs or tensor.inputs[0].op != "Constant":
        return None
    value = constant_node_value(tensor.inputs[0])
    return None if value is None else value.shape


def sizes_of(kind: onnx.TypeProto | None) -> Partial | None:
    """Return the sizes of a type, None for each that is unknown."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in dims
    )


def float_elem(tensor: gs.Tensor) -> int:
    """Return the ONNX type number of a tensor, else that of weights beside it, else float32."""
    if tensor.dtype is not None:
        return elem_of(tensor)
    met = [t for node in tensor.outputs for t in node.inputs if isinstance(t, gs.Constant)]
    kinds = [elem for elem in map(elem_of, met) if elem in FLOAT_TYPES]
    return kinds[0] if kinds else int(onnx.TensorProto.FLOAT)


def elem_of(tensor: gs.Tensor) -> int:
    """Return the ONNX type number of a tensor."""
    dtype = tensor.dtype
    if isinstance(dtype, int):
        return dtype
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
