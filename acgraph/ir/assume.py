"""Sizes that shape inference cannot find, without giving up what lies behind them.

An operator of another domain, or a length that depends on the data, leaves a tensor without a
shape. What the constants of its readers say is taken first (a Conv's weight knows rank and
channels), then what the file declares, and an axis of which nothing is known gets a *stand-in*: a
number for the walk to go on with. Which sizes depend on stand-ins is found by walking twice, with
different ones; such sizes are never taken for the truth.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from acgraph.ir.model import Array, constant_node_value
from acgraph.operators import Role, Trait, inputs_with, is_standard, operators_with

Partial = tuple[int | None, ...]
#: A rank, None where nothing says, and sizes by axis; an axis below 0 counts from the end.
_Hints = tuple[int | None, list[tuple[int, int]]]

#: Stand-ins of the first and of the second walk; networks that halve sizes five times take both.
STAND_INS = (96, 24)
#: Integers that depend on the data get values, too, where there are no more of them than this.
MAX_SUPPOSED = 8
#: Inputs that state sizes one by one: a supposed entry leaves the others known.
STATES_SIZES = inputs_with(Role.SIZES, Role.COUNTS)
_FLOATS = frozenset([1, 10, 11, 16])  # FLOAT, FLOAT16, DOUBLE, BFLOAT16
_INTEGERS = frozenset([onnx.TensorProto.INT32, onnx.TensorProto.INT64])
#: Operators whose output has the shape of input 0.
_SAME_SHAPE = operators_with(Trait.SAME_SHAPE)
#: How many such operators a reader may be away.
_HOPS = 8


@dataclass(slots=True)
class Assumptions:
    """What one walk assumed.

    Attributes:
        stand_in: The size of an axis of which nothing is known.
        batch: The size of axis 0 of which nothing is known: the batch of the model's inputs.
        symbols: Sizes of the named axes of the inputs.
        doubtful: By tensor: whether each axis may depend on a stand-in.
        doubted: Names of values that may.
        supposed: Values that stand for small integers that depend on the data.
        born: Tensors whose shape inference did not give.
    """

    stand_in: int
    batch: int
    symbols: Mapping[str, int]
    doubtful: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)
    supposed: dict[str, Array] = field(default_factory=dict)
    born: set[str] = field(default_factory=set)

    def touches(self, node: gs.Node) -> bool:
        """Return whether a node reads something that may depend on a stand-in."""
        return any(
            t.name in self.doubtful or t.name in self.doubted or t.name in self.supposed
            for t in node.inputs
        )

    def stated(self, node: gs.Node) -> dict[str, Array]:
        """Return the supposed sizes that a node gives its outputs, which are then ``born``."""
        found = {
            t.name: self.supposed[t.name]
            for i, t in enumerate(node.inputs)
            if t.name in self.supposed and (node.op, i) in STATES_SIZES
        }
        if found and is_standard(node.domain):
            self.born.update(t.name for t in node.outputs if t.name)
        return found

    def doubt(self, name: str, known: Partial | None, rank: int) -> None:
        """Note which sizes of a tensor are not known without the stand-ins."""
        sizes = known if known is not None and len(known) == rank else (None,) * rank
        if None in sizes:
            self.doubtful[name] = tuple(size is None for size in sizes)

    def doubt_value(self, node: gs.Node, name: str) -> None:
        """Note that a value may depend on a stand-in: sizes that are known do not."""
        measured = self.doubtful.get(node.inputs[0].name)
        if node.op == "Shape" and measured is not None:
            start, end = int(node.attrs.get("start", 0)), node.attrs.get("end")
            if not any(measured[start:end]):
                return
        self.doubted.add(name)

    def sure_types(
        self, node: gs.Node, types: Mapping[str, onnx.TypeProto]
    ) -> dict[str, onnx.TypeProto]:
        """Return the types of a node's inputs without the sizes that may be stand-ins."""
        found = {}
        for name in (t.name for t in node.inputs if t.name in types):
            found[name] = types[name]
            doubt = self.doubtful.get(name)
            if doubt is not None:
                kind = types[name].tensor_type
                sizes = [d.dim_value for d in kind.shape.dim]
                sure = [None if d else size for size, d in zip(sizes, doubt, strict=True)]
                found[name] = onnx.helper.make_tensor_type_proto(kind.elem_type, sure)
        return found

    def sure_values(self, node: gs.Node, values: Mapping[str, Array]) -> dict[str, Array]:
        """Return the values of a node's inputs that do not depend on a stand-in."""
        names = {t.name for t in node.inputs} - self.doubted
        return {name: values[name] for name in names if name in values}

    def doubt_inputs(self, inputs: Sequence[gs.Tensor]) -> None:
        """Note that the sizes of the open axes of a model's inputs were only chosen."""
        for tensor in inputs:
            axes = tuple(not (isinstance(s, int) and s > 0) for s in tensor.shape or ())
            if any(axes):
                self.doubtful[tensor.name] = axes

    def suppose(self, name: str, shape: Sequence[int], elem: int) -> None:
        """Give a small tensor of integers that depends on the data a value."""
        sizes = int(np.prod(shape, dtype=np.int64))
        if elem in _INTEGERS and 0 < sizes <= MAX_SUPPOSED and name not in self.doubtful:
            kind = onnx.helper.tensor_dtype_to_np_dtype(elem)
            self.supposed[name] = np.full(tuple(shape), self.stand_in, kind)

    def complete(self, tensor: gs.Tensor, inferred: Partial | None) -> tuple[int, ...] | None:
        """Find every size of a tensor: inferred, read off its readers, declared, or a stand-in.

        Args:
            tensor: The tensor.
            inferred: What inference found, None where not even the rank.

        Returns:
            The sizes; None where the rank is unknown. Axes that got a stand-in are ``doubtful``.
        """
        rank, hints = _hints(tensor)
        declared = self._declared(tensor)
        if inferred is not None:
            rank = len(inferred)
        elif rank is None and declared is not None:
            rank = len(declared)
        if rank is None:
            return None
        self.born.add(tensor.name)
        sizes = list(inferred if inferred is not None else (None,) * rank)
        for axis, size in hints:
            if -rank <= axis < rank and sizes[axis] is None:
                sizes[axis] = size
        if declared is not None and len(declared) == rank:
            sizes = [b if a is None else a for a, b in zip(sizes, declared, strict=True)]
        doubt = tuple(size is None for size in sizes)
        if any(doubt):
            self.doubtful[tensor.name] = doubt
        return tuple(
            (self.batch if axis == 0 and rank > 1 else self.stand_in) if size is None else size
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
    """Return the shape that the readers of a tensor want; None where none knows the rank."""
    rank, hints = _hints(tensor)
    if rank is None:
        return None
    sizes: list[int | None] = [None] * rank
    for axis, size in hints:
        if -rank <= axis < rank:
            sizes[axis] = size
    return tuple(sizes)


def _hints(tensor: gs.Tensor, hops: int = _HOPS) -> _Hints:
    """Return the rank that readers want, None where none says, and sizes by axis."""
    rank: int | None = None
    sizes = []
    for node, i in _readers(tensor, hops):
        own, found = _through(node, hops) if node.op == "Transpose" else _wanted(node, i)
        rank = own if rank is None else rank
        sizes.extend(found)
    return rank, sizes


def _through(node: gs.Node, hops: int) -> _Hints:
    """Say what the readers of a Transpose want of its input."""
    perm = node.attrs.get("perm")
    if perm is None or not hops:
        return None, []
    _, sizes = _hints(node.outputs[0], hops - 1)
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


def _wanted(node: gs.Node, i: int) -> _Hints:
    """Say what the constants of a node want of its input ``i``: a rank, and sizes by axis."""
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
    """Return the sizes that a type states, None for each that it leaves open."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in dims
    )


def float_elem(tensor: gs.Tensor) -> int:
    """Return the type of a tensor, or that of the weights which it meets; float32 where none is."""
    if tensor.dtype is not None:
        return elem_of(tensor)
    met = [t for node in tensor.outputs for t in node.inputs if isinstance(t, gs.Constant)]
    kinds = [elem for elem in map(elem_of, met) if elem in _FLOATS]
    return kinds[0] if kinds else int(onnx.TensorProto.FLOAT)


def elem_of(tensor: gs.Tensor) -> int:
    """Return onnx's number of a tensor's type."""
    dtype = tensor.dtype
    if isinstance(dtype, int):
        return dtype
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
