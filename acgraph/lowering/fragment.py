"""A small subgraph as plain data: the lowered form of a layer, outside of any graph.

A fragment can be counted, compared, hashed, and made a model of its own for timing. The rewrite
inserts the chosen one into the graph.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.ir import Array, array_bytes

#: The name of a fragment's only input.
INPUT = "x"
#: End of a Slice that keeps the end of an axis; exporters write the same number.
TO_THE_END = 2**31 - 1

IntArray = npt.NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A constant with values of the layer: its kept weights, or its bias.

    Attributes:
        values: The values.
        source: Name of the constant that they come from; empty for new values.
        suffix: Appended to ``source`` for the name of the new constant; empty where the original
            constant is reused.
    """

    values: Array
    source: str
    suffix: str = ""

    @property
    def key(self) -> tuple[str, str, tuple[int, ...], bytes]:
        """Key that is equal for weights that can share one constant; contains a digest."""
        digest = hashlib.sha256(array_bytes(self.values)).digest()
        return self.stem, self.values.dtype.name, self.values.shape, digest

    @property
    def stem(self) -> str:
        """Preferred name of the constant."""
        return f"{self.source}/{self.suffix}" if self.suffix else self.source


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """An integer constant: positions to gather, bounds, pads, shapes. Shared by content."""

    values: IntArray

    @property
    def key(self) -> tuple[str, tuple[int, ...], bytes]:
        """Key that is equal for equal constants."""
        return self.values.dtype.name, self.values.shape, self.values.tobytes()


Operand = str | Weights | Index


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One node of a fragment.

    Attributes:
        name: Name of the node and of its output, unique in the fragment; such as ``gather.k02``.
        op: ONNX operator of the default domain.
        operands: Inputs in order: ``INPUT``, the name of an earlier step, or a constant.
        attrs: ONNX attributes.
        shape: Sizes of the output for the layer's nominal input.
    """

    name: str
    op: str
    operands: tuple[Operand, ...]
    attrs: Mapping[str, Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """A subgraph with one input and one output, the last step.

    Attributes:
        steps: The nodes in topological order.
        input_shape: Nominal sizes of the input.
        dtype: Element type of input, output and weights.
        opset: Opset version that the steps are written for.
    """

    steps: tuple[Step, ...]
    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    opset: int

    def constants(self) -> list[Weights | Index]:
        """Return every constant once; equal integer constants count as one."""
        found: dict[object, Weights | Index] = {}
        for step in self.steps:
            for operand in step.operands:
                if isinstance(operand, Index):
                    found.setdefault(operand.key, operand)
                elif isinstance(operand, Weights):
                    found.setdefault(id(operand), operand)
        return list(found.values())

    def shape_of(self, value: str) -> tuple[int, ...]:
        """Return the nominal sizes of the input or of a step's output."""
        if value == INPUT:
            return self.input_shape
        return next(step.shape for step in self.steps if step.name == value)


@dataclass(slots=True)
class Builder:
    """Append steps to a fragment; every method returns the name of the new value.

    Operators follow the opset of the model: some inputs are attributes in earlier versions. Equal
    Gathers, Slices and Pads of one value are created once.
    """

    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    opset: int
    steps: list[Step] = field(default_factory=list)
    _shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _made: dict[tuple[object, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._shapes[INPUT] = self.input_shape

    def shape(self, value: str) -> tuple[int, ...]:
        """Return the nominal sizes of a value."""
        return self._shapes[value]

    def add(
        self,
        op: str,
        name: str,
        operands: Sequence[Operand],
        attrs: Mapping[str, Any],
        shape: Iterable[int],
    ) -> str:
        """Append any node."""
        step = Step(name, op, tuple(operands), dict(attrs), tuple(shape))
        self.steps.append(step)
        self._shapes[name] = step.shape
        return name

    def finish(self) -> Fragment:
        """Return what was built."""
        return Fragment(tuple(self.steps), self.input_shape, self.dtype, self.opset)

    def gather(self, x: str, index: IntArray, axis: int, name: str) -> str:
        """Gather positions of one axis; the axes of the index replace it."""
        key = ("gather", x, axis, index.shape, index.tobytes())
        if key not in self._made:
            shape = [*self.shape(x)[:axis], *index.shape, *self.shape(x)[axis + 1 :]]
            operands: list[Operand] = [x, Index(index.astype(np.int32))]  # half the bytes of int64
            self._made[key] = self.add("Gather", name, operands, {"axis": axis}, shape)
        return self._made[key]

    def slice(
        self, x: str, cuts: Mapping[int, tuple[int, int, int]], name: str, out: Sequence[int]
    ) -> str:
        """Slice axes by ``(start, end, step)``; ``out`` are the nominal sizes of the result."""
        key = ("slice", x, tuple(sorted(cuts.items())))
        if key in self._made:
            return self._made[key]
        axes = sorted(cuts)
        starts, ends, steps = ([cuts[axis][k] for axis in axes] for k in range(3))
        operands: list[Operand] = [x]
        attrs: dict[str, Any] = {}
        if self.opset < 10:
            attrs = {"starts": starts, "ends": ends, "axes": axes}
        else:
            operands += [_index(starts), _index(ends), _index(axes)]
            if any(step != 1 for step in steps):
                operands.append(_index(steps))
        self._made[key] = self.add("Slice", name, operands, attrs, out)
        return self._made[key]

    def pad(self, x: str, begin: Mapping[int, int], end: Mapping[int, int], name: str) -> str:
        """Pad axes by zeros; negative pads crop, which ONNX allows."""
        rank = len(self.shape(x))
        axes = [a for a in range(rank) if begin.get(a, 0) or end.get(a, 0)]
        shape = [n + begin.get(a, 0) + end.get(a, 0) for a, n in enumerate(self.shape(x))]
        written = axes if self.opset >= 18 else list(range(rank))
        pads = [begin.get(a, 0) for a in written] + [end.get(a, 0) for a in written]
        key = ("pad", x, *axes, *pads)
        if key in self._made:
            return self._made[key]
        if self.opset < 11:
            self._made[key] = self.add("Pad", name, [x], {"pads": pads}, shape)
            return self._made[key]
        operands: list[Operand] = [x, _index(pads)]
        if self.opset >= 18 and len(axes) < rank:
            operands += ["", _index(axes)]
        self._made[key] = self.add("Pad", name, operands, {}, shape)
        return self._made[key]

    def concat(self, values: Sequence[str], axis: int, name: str) -> str:
        """Concatenate values along an axis; a single value is returned unchanged."""
        if len(values) == 1:
            return values[0]
        shape = list(self.shape(values[0]))
        shape[axis] = sum(self.shape(value)[axis] for value in values)
        return self.add("Concat", name, values, {"axis": axis}, shape)

    def conv(
        self,
        x: str,
        weight: Weights,
        bias: Weights | None,
        name: str,
        *,
        strides: Sequence[int] = (),
        dilations: Sequence[int] = (),
        pads: Sequence[int] = (),
        group: int = 1,
    ) -> str:
        """Convolve; strides and dilations default to 1, pads (all begins, all ends) to 0."""
        filters, _, *kernel = weight.values.shape
        rank = len(kernel)
        strides = list(strides) or [1] * rank
        dilations = list(dilations) or [1] * rank
        pads = list(pads) or [0] * 2 * rank
        out = [
            conv_size(n + pads[i] + pads[rank + i], kernel[i], strides[i], dilations[i])
            for i, n in enumerate(self.shape(x)[2:])
        ]
        attrs = {
            "dilations": dilations,
            "group": group,
            "kernel_shape": kernel,
            "pads": pads,
            "strides": strides,
        }
        operands: list[Operand] = [x, weight] if bias is None else [x, weight, bias]
        return self.add("Conv", name, operands, attrs, [self.shape(x)[0], filters, *out])


def _index(values: Sequence[int]) -> Index:
    return Index(np.array(values, dtype=np.int64))


def conv_size(padded: int, kernel: int, stride: int, dilation: int) -> int:
    """Return the output size of a convolution along one axis."""
    return (padded - (kernel - 1) * dilation - 1) // stride + 1


def elements(shape: Iterable[int]) -> int:
    """Return the number of elements of a shape."""
    return math.prod(shape)
