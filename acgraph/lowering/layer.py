"""The layer to lower: its weight, its geometry, and its columns in use (those not zero)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.ir import Array
from acgraph.lowering.fragment import Builder, Weights, conv_size

BoolArray = npt.NDArray[np.bool_]
Position = tuple[int, ...]


def kept_columns(weight: Array) -> BoolArray:
    """Return which columns of a convolution's weight are not zero in all filters.

    Args:
        weight: ``[O, I/group, *kernel]``.

    Returns:
        Keep-flags ``[I/group, *kernel]``. A weight of zeros keeps its first column, because a
        convolution without columns does not exist.
    """
    kept = np.asarray((weight != 0).any(axis=0))
    if not kept.any():
        kept.reshape(-1)[0] = True
    return kept


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution(ABC):
    """Base class of Conv and ConvTranspose with a constant weight.

    Attributes:
        name: Name of the node.
        weight: ``[O, I/group, *kernel]`` for Conv, ``[I, O/group, *kernel]`` for ConvTranspose.
        weight_name: Name of the constant.
        bias: ``[O]``, or None.
        bias_name: Name of the bias.
        strides: Per spatial axis.
        dilations: Per spatial axis.
        group: Groups of the convolution.
        input_shape: Nominal sizes ``[N, I, *spatial]``.
        is_tied: True where another node reads the weight too, so that it stays in the file.
        opset: Opset version of the model.
    """

    name: str
    weight: Array
    weight_name: str
    bias: Array | None
    bias_name: str
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    input_shape: tuple[int, ...]
    is_tied: bool
    opset: int

    @property
    def kernel(self) -> tuple[int, ...]:
        """Kernel sizes."""
        return tuple(self.weight.shape[2:])

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.weight.ndim - 2

    @property
    @abstractmethod
    def kept(self) -> BoolArray:
        """Which columns are in use."""

    @property
    def channels_kept(self) -> npt.NDArray[np.int64]:
        """Input channels of which at least one column is in use."""
        return np.flatnonzero(self.kept.reshape(self.kept.shape[0], -1).any(axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvLayer(Convolution):
    """A Conv with a constant weight.

    Attributes:
        weight: ``[O, I/group, *kernel]``.
        pads: All begins, then all ends; ``auto_pad`` is resolved.
        is_static: True where the spatial sizes hold for every input of the model.
    """

    pads: tuple[int, ...]
    is_static: bool

    @classmethod
    def alone(cls, weight: Array, size: int, bias: Array | None = None) -> "ConvLayer":
        """Build a layer of stride 1 with equal input and output sizes, outside of any model.

        Args:
            weight: ``[O, I, K, K]``, K odd.
            size: Height and width.
            bias: ``[O]``, or None.
        """
        return cls(
            name="conv", weight=weight, weight_name="w", bias=bias,
            bias_name="" if bias is None else "b", strides=(1, 1), dilations=(1, 1),
            pads=(weight.shape[2] // 2,) * 4, group=1,
            input_shape=(1, weight.shape[1], size, size), is_static=True, is_tied=False, opset=17,
        )  # fmt: skip

    @property
    def spatial(self) -> tuple[int, ...]:
        """Nominal spatial sizes of the input."""
        return self.input_shape[2:]

    @property
    def begin(self) -> tuple[int, ...]:
        """Pads before each spatial axis."""
        return self.pads[: self.rank]

    @property
    def end(self) -> tuple[int, ...]:
        """Pads after each spatial axis."""
        return self.pads[self.rank :]

    @property
    def reach(self) -> tuple[int, ...]:
        """Distance from the first to the last kernel position, per spatial axis."""
        return tuple((k - 1) * d for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def out_spatial(self) -> tuple[int, ...]:
        """Nominal spatial sizes of the output."""
        return tuple(
            conv_size(n + self.begin[i] + self.end[i], self.kernel[i], self.strides[i], d)
            for i, (n, d) in enumerate(zip(self.spatial, self.dilations, strict=True))
        )

    @cached_property
    def kept(self) -> BoolArray:
        """Which columns are in use, ``[I/group, *kernel]``.

        Where the sizes are fixed, columns that read only padding are not in use.
        """
        kept = kept_columns(self.weight)
        if not self.is_static:
            return kept
        alive = kept.copy()
        for axis in range(self.rank):
            reads = [self._reads_input(axis, index) for index in range(self.kernel[axis])]
            alive &= np.array(reads).reshape(-1, *[1] * (self.rank - 1 - axis))
        return alive if alive.any() else kept

    def _reads_input(self, axis: int, index: int) -> bool:
        """Return whether a kernel index reads an input position for some output position."""
        first = index * self.dilations[axis] - self.begin[axis]
        read = first + self.strides[axis] * np.arange(self.out_spatial[axis])
        return bool(((read >= 0) & (read < self.spatial[axis])).any())

    @property
    def columns(self) -> int:
        """Columns of the dense layer."""
        return self.kept.size

    @property
    def used(self) -> int:
        """Columns in use."""
        return int(self.kept.sum())

    @property
    def limit(self) -> str:
        """Why some unused columns cannot be removed; empty where all can."""
        if self.group == 1:
            return ""
        return "only kernel borders can be removed from a grouped convolution"

    def channels_at(self, position: Position) -> npt.NDArray[np.int64]:
        """Return the input channels that are in use at a kernel position."""
        return self.channels_over([position])

    def channels_over(self, positions: Sequence[Position]) -> npt.NDArray[np.int64]:
        """Return the input channels that are in use at any of several kernel positions."""
        used = np.zeros(self.kept.shape[0], np.bool_)
        for position in positions:
            where: tuple[slice | int, ...] = (slice(None), *position)
            used |= self.kept[where]
        return np.flatnonzero(used)

    def column_weights(self, position: Position, channels: npt.NDArray[np.int64]) -> Array:
        """Return the weights of channels at a kernel position, ``[O, len(channels)]``."""
        where: tuple[slice | int, ...] = (slice(None), slice(None), *position)
        return np.asarray(self.weight[where][:, channels])

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """Kernel positions with at least one column in use, in row-major order."""
        used = np.argwhere(self.kept.any(axis=0)) if self.rank else np.zeros((1, 0), int)
        return tuple(tuple(int(k) for k in row) for row in used)

    def builder(self) -> Builder:
        """Return an empty builder of a fragment that replaces the layer."""
        return Builder(self.input_shape, self.weight.dtype, self.opset)

    def bias_weights(self) -> Weights | None:
        """Return the bias of the dense layer, or None."""
        return None if self.bias is None else Weights(self.bias, self.bias_name)


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearLayer:
    """A Gemm or a MatMul with a constant weight.

    Attributes:
        name: Name of the node.
        op: ``"Gemm"`` or ``"MatMul"``.
        weight: The constant as the node reads it.
        weight_name: Name of the constant.
        weight_input: Index of the constant among the node's inputs.
        feature_axis: Axis of the constant whose positions are the columns.
        input_axis: Axis of the other operand that is contracted with it.
        bias: Third input of a Gemm where it is constant, else None.
        bias_name: Name of the bias.
        attrs: Attributes of the node.
        input_shape: Nominal sizes of the other operand.
        output_shape: Nominal sizes of the output.
        is_tied: True where another node reads the weight too.
        opset: Opset version of the model.
    """

    name: str
    op: str
    weight: Array
    weight_name: str
    weight_input: int
    feature_axis: int
    input_axis: int
    bias: Array | None
    bias_name: str
    attrs: dict[str, Any]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    is_tied: bool
    opset: int

    @cached_property
    def features_kept(self) -> npt.NDArray[np.int64]:
        """Input features whose column is not zero; the first one where all are zero."""
        others = tuple(a for a in range(self.weight.ndim) if a != self.feature_axis)
        kept = np.flatnonzero((self.weight != 0).any(axis=others))
        return kept if kept.size else np.zeros(1, np.int64)

    @property
    def used(self) -> int:
        """Columns in use."""
        return int(self.features_kept.size)

    @property
    def limit(self) -> str:
        """Empty: every unused feature can be removed."""
        return ""

    @property
    def columns(self) -> int:
        """Columns of the dense layer."""
        return int(self.weight.shape[self.feature_axis])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense layer at nominal sizes."""
        return math.prod(self.output_shape) * self.columns


@dataclass(frozen=True, kw_only=True, eq=False)
class TransposedLayer(Convolution):
    """A ConvTranspose with a constant weight.

    Attributes:
        weight: ``[I, O/group, *kernel]``.
        attrs: Attributes of the node.
        pads: All begins, then all ends; None where they depend on the output size.
        output_padding: Per spatial axis.
        output_shape: Nominal sizes of the output.
    """

    attrs: dict[str, Any]
    pads: tuple[int, ...] | None
    output_padding: tuple[int, ...]
    output_shape: tuple[int, ...]

    @cached_property
    def kept(self) -> BoolArray:
        """Which columns are in use, ``[I, *kernel]``; the first one where all are zero."""
        return kept_columns(np.moveaxis(self.weight, 1, 0))

    @property
    def columns(self) -> int:
        """Columns of the dense layer."""
        return self.kept.size // self.group

    @property
    def used(self) -> int:
        """Columns in use, in the group with the most."""
        grouped = self.kept.reshape(self.group, -1)
        return int(grouped.sum(axis=1).max())

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """Kernel positions with at least one column in use, in row-major order."""
        used = np.argwhere(self.kept.any(axis=0)) if self.rank else np.zeros((1, 0), int)
        return tuple(tuple(int(k) for k in row) for row in used)

    @property
    def limit(self) -> str:
        """Why some unused columns cannot be removed."""
        return "only whole input channels and kernel borders can be removed from a ConvTranspose"


Lowerable = ConvLayer | LinearLayer | TransposedLayer
