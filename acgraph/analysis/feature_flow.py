"""Follow every filter of a layer to the nodes that compute with it.

Between a projection and the product that reads it, an exported attention block has nodes that only
move elements: reshapes, transposes, slices. They are evaluated here on an array that holds the
number of a filter in place of each activation, so that the position of every filter is known at
every node, whatever the exporter wrote.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.labels import Ints
from acgraph.analysis.layers import constant_source
from acgraph.analysis.tail import Tail
from acgraph.ir import Array, Facts, Model
from acgraph.ir.fold import evaluate_node
from acgraph.ir.uses import captured_names
from acgraph.operators import Trait, operators_with

#: Nodes that change no element, and nodes that may be evaluated on numbers of filters.
_SAME = ("Cast", "Identity")
_MOVING = operators_with(Trait.MOVES) | operators_with(Trait.VIEW)
#: Nodes that read the sizes of a tensor only.
_SIZES = ("Shape", "Size")
#: Largest number of elements of a tensor that is followed.
MAX_ELEMENTS = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A tensor with elements of a layer's output, and the node that computes with it.

    Attributes:
        node: The node; None for a graph output or a tensor that a subgraph reads.
        index: Index of the tensor among the inputs of the node.
        filters: For each element the number of its filter, from 0, in the shape of the tensor.
        heads: If the elements were averaged over positions by a product (the values of an
            attention): the filters of each matrix of that product, ``int64 [heads, features]``.
    """

    node: gs.Node | None
    index: int
    filters: Ints
    heads: Ints | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A tensor with elements of a layer's output; numbers of filters from 1, 0 for padding."""

    tensor: gs.Tensor
    filters: Ints
    heads: Ints | None = None


class Follower:
    """Follows the filters of layers of one model."""

    def __init__(self, model: Model, facts: Facts) -> None:
        """Prepare a model.

        Args:
            model: The model.
            facts: Its facts.
        """
        self._facts, self._opset = facts, int(model.graph.opset)
        self._tensors = model.graph.tensors()
        self._constants = model.constants()
        self._ends = {t.name for t in model.graph.outputs} | captured_names(model.graph)

    def follow(self, tail: Tail) -> list[Arrival] | None:
        """Return where the outputs of a layer arrive, behind its tail.

        Returns:
            The arrivals; None where a shape is unknown or a tensor is too large.
        """
        start, layer = self._tensors[tail.end], tail.layer
        shape = self._shape(start)
        axis = 1 if layer.kernel else -1
        if shape is None or len(shape) < 2 or shape[axis] != layer.filters:
            return None
        numbers = np.moveaxis(np.broadcast_to(
            np.arange(1, layer.filters + 1), (*np.delete(shape, axis), layer.filters)
        ), -1, axis)  # fmt: skip
        found: list[Arrival] = []
        queue = deque([_Place(start, numbers)])
        while queue:
            place = queue.popleft()
            if place.tensor.name in self._ends:
                found.append(Arrival(None, 0, place.filters - 1, place.heads))
            for node, index in _readers(place.tensor):
                if node.op in _SIZES:
                    continue
                behind = self._behind(node, index, place)
                if behind is None:
                    found.append(Arrival(node, index, place.filters - 1, place.heads))
                else:
                    queue.extend(behind)
        return found

    def _behind(self, node: gs.Node, index: int, place: _Place) -> list[_Place] | None:
        """Return the outputs of a node; None where it computes with single filters."""
        if node.op in _SAME or self._is_scaling(node, index, place):
            return [_Place(node.outputs[0], place.filters, place.heads)]
        if node.op == "MatMul":
            return self._mixed(node, index, place)
        if node.op not in _MOVING or index != 0:
            return None
        others = [self._value(tensor) for tensor in node.inputs[1:]]
        if any(value is None and t.name for value, t in zip(others, node.inputs[1:], strict=True)):
            return None
        made = evaluate_node(node, [place.filters, *others], self._opset, MAX_ELEMENTS)
        if made is None:
            return None
        moved = [value.astype(np.int64) for value in made]
        if any((numbers == 0).any() for numbers in moved):
            return None  # padding
        return [
            _Place(tensor, numbers, place.heads)
            for tensor, numbers in zip(node.outputs, moved, strict=True)
        ]

    def _is_scaling(self, node: gs.Node, index: int, place: _Place) -> bool:
        """Return whether a node multiplies the whole tensor by one number."""
        if node.op not in ("Mul", "Div") or (node.op == "Div" and index != 0):
            return False
        factor = self._value(node.inputs[1 - index])
        shape = self._shape(node.outputs[0])
        return factor is not None and factor.size == 1 and shape == place.filters.shape

    def _mixed(self, node: gs.Node, index: int, place: _Place) -> list[_Place] | None:
        """Return the output of a product that averages over positions, separately per filter."""
        other, shape = node.inputs[1 - index], self._shape(node.outputs[0])
        if shape is None or constant_source(other) is not None or place.heads is not None:
            return None
        summed, own = (-2, -1) if index == 1 else (-1, -2)
        first = np.take(place.filters, [0], axis=summed)
        if (place.filters != first).any():
            return None
        heads = np.moveaxis(first, own, -1).reshape(-1, first.shape[own])
        filters = np.broadcast_to(first, shape)
        return [_Place(node.outputs[0], filters, np.unique(heads, axis=0) - 1)]

    def _value(self, tensor: gs.Tensor) -> Array | None:
        if tensor.name in self._constants:
            return self._constants[tensor.name]
        return self._facts.values.get(tensor.name)

    def _shape(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        if tensor.name in self._facts.assumed:
            return None
        shape = self._facts.shapes.get(tensor.name)
        return None if shape is None or prod(shape) > MAX_ELEMENTS else shape


def _readers(tensor: gs.Tensor) -> Iterator[tuple[gs.Node, int]]:
    for node in {id(node): node for node in tensor.outputs}.values():
        for index, read in enumerate(node.inputs):
            if read is tensor:
                yield node, index
