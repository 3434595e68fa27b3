"""The tail of a layer: the chain of affine nodes behind it, each the only consumer of its input.

A tail is a gain and an offset per filter: BatchNormalization, a bias as a separate node, the scale
of a residual branch. At its end, the output may be added to another activation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from acgraph.analysis.layers import Layer
from acgraph.ir import Array, Model
from acgraph.ir.uses import captured_names

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TailNode:
    """A node of a tail.

    Attributes:
        kind: ``norm``, ``add`` or ``scale``.
        constants: Names of its constants: scale, bias, mean and variance of a ``norm``, one
            constant of the others.
        epsilon: The epsilon of a ``norm``.
        is_own: Whether it is the only consumer of its bias, which may then be changed.
    """

    kind: str
    constants: tuple[str, ...]
    epsilon: float = 0.0
    is_own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The tail of a layer.

    Attributes:
        layer: The layer.
        alpha: Factor of the layer's matrix product.
        beta: Factor of the layer's bias.
        is_bias_own: Whether the layer is the only consumer of its bias.
        steps: The nodes, in order.
        end: Name of the tensor behind the last node.
        join: Name of the node that adds ``end`` and another activation; empty where none does.
        other: Index of the other activation among the inputs of ``join``.
    """

    layer: Layer
    alpha: float = 1.0
    beta: float = 1.0
    is_bias_own: bool = False
    steps: tuple[TailNode, ...] = ()
    end: str
    join: str = ""
    other: int = 0

    def affine(self, weights: Mapping[str, Array]) -> "Affine":
        """Return the tail as numbers, with the given values of the constants."""
        gain, offset = np.ones(self.layer.filters), np.zeros(self.layer.filters)
        shift, after = "", np.ones(self.layer.filters)
        own_bias = np.zeros(self.layer.filters)
        if self.layer.bias:
            own_bias = _vector(weights[self.layer.bias], self.layer.filters)
            if self.is_bias_own and self.beta:
                shift, after = self.layer.bias, np.full(self.layer.filters, self.beta)
        for step in self.steps:
            values = [_vector(weights[name], self.layer.filters) for name in step.constants]
            times, plus = _GAINS[step.kind](values, step.epsilon)
            gain, offset, after = gain * times, offset * times + plus, after * times
            if step.is_own:
                shift, after = step.constants[min(1, len(values) - 1)], np.ones(len(gain))
        return Affine(gain=gain, offset=offset, bias=own_bias * self.beta, shift=shift, after=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """A tail as numbers: ``gain * (alpha * W x + bias) + offset``, arrays ``float64 [filters]``.

    Attributes:
        gain: Factor of the layer's output.
        offset: Offset behind the gain.
        bias: Bias of the layer, times its ``beta``.
        shift: The constant in which a change of the offset can be stored; empty where there is
            none.
        after: Gain from ``shift`` to the end of the tail.
    """

    gain: Floats
    offset: Floats
    bias: Floats
    shift: str
    after: Floats = field(default_factory=lambda: np.ones(0))


def tails(model: Model, found: list[Layer]) -> dict[str, Tail]:
    """Return the tails of layers, by the names of the layers.

    Args:
        model: The model.
        found: Its layers, or some of them.
    """
    walk = _Walk(model)
    return {layer.name: walk.tail(layer) for layer in found}


class _Walk:
    def __init__(self, model: Model) -> None:
        self._nodes = {node.name: node for node in model.graph.nodes}
        self._constants = model.constants()
        self._ends = {t.name for t in model.graph.outputs} | captured_names(model.graph)
        self._uses: dict[str, int] = {}
        for node in model.graph.nodes:
            for tensor in node.inputs:
                self._uses[tensor.name] = self._uses.get(tensor.name, 0) + 1

    def tail(self, layer: Layer) -> Tail:
        node = self._nodes[layer.name]
        steps: list[TailNode] = []
        value = node.outputs[0]
        join, other = "", 0
        while (reader := self._only_reader(value)) is not None:
            step = self._step(reader, value, layer)
            if step is None:
                join, other = _joined(reader, value, self._constants)
                break
            if step.kind:
                steps.append(step)
            value = reader.outputs[0]
        is_gemm = layer.op_type == "Gemm"
        return Tail(
            layer=layer,
            alpha=float(node.attrs.get("alpha", 1.0)) if is_gemm else 1.0,
            beta=float(node.attrs.get("beta", 1.0)) if is_gemm else 1.0,
            is_bias_own=self._is_own(layer.bias) and layer.bias_size == layer.filters,
            steps=tuple(steps),
            end=value.name,
            join=join,
            other=other,
        )

    def _only_reader(self, value: gs.Tensor) -> gs.Node | None:
        if len(value.outputs) != 1 or value.name in self._ends or self._uses[value.name] != 1:
            return None
        found: gs.Node = value.outputs[0]
        return found

    def _is_own(self, name: str) -> bool:
        return bool(name) and self._uses.get(name) == 1 and name in self._constants

    def _step(self, node: gs.Node, value: gs.Tensor, layer: Layer) -> TailNode | None:
        """Return a node as a gain and an offset per filter; None where it is not affine."""
        names = [tensor.name for tensor in node.inputs]
        if node.op == "Identity":
            return TailNode("", ())
        if node.op == "BatchNormalization":
            is_known = all(name in self._constants for name in names[1:5])
            if not is_known or node.attrs.get("training_mode") or names[0] != value.name:
                return None
            epsilon = float(node.attrs.get("epsilon", 1e-5))
            return TailNode("norm", tuple(names[1:5]), epsilon, is_own=self._is_own(names[2]))
        if node.op not in ("Add", "Mul") or len(names) != 2:
            return None
        constant = names[1 - names.index(value.name)]
        if constant not in self._constants or not self._is_per_filter(constant, layer):
            return None
        is_whole = self._constants[constant].size == layer.filters
        kind = "add" if node.op == "Add" else "scale"
        is_own = kind == "add" and is_whole and self._is_own(constant)
        return TailNode(kind, (constant,), is_own=is_own)

    def _is_per_filter(self, name: str, layer: Layer) -> bool:
        """Return whether a constant has one element per filter, or a single element."""
        shape = self._constants[name].shape
        if prod(shape) == 1:
            return len(shape) <= (len(layer.kernel) + 2 if layer.kernel else 2)
        behind = len(layer.kernel)
        place = len(shape) - 1 - behind
        if place < 0 or shape[place] != layer.filters or prod(shape) != layer.filters:
            return False
        return not layer.kernel or len(shape) <= behind + 2


def _joined(node: gs.Node, value: gs.Tensor, constants: Mapping[str, Array]) -> tuple[str, int]:
    names = [tensor.name for tensor in node.inputs]
    if node.op != "Add" or len(names) != 2 or names[0] == names[1]:
        return "", 0
    other = 1 - names.index(value.name)
    return ("", 0) if names[other] in constants else (node.name, other)


def _vector(value: Array, size: int) -> Floats:
    flat = np.asarray(value, np.float64).reshape(-1)
    return np.full(size, flat[0]) if flat.size == 1 else flat


def _norm(values: list[Floats], epsilon: float) -> tuple[Floats, Floats]:
    scale, bias, mean, var = values
    gain = scale / np.sqrt(var + epsilon)
    return gain, bias - mean * gain


def _add(values: list[Floats], epsilon: float) -> tuple[Floats, Floats]:
    return np.ones_like(values[0]), values[0]


def _scale(values: list[Floats], epsilon: float) -> tuple[Floats, Floats]:
    return values[0], np.zeros_like(values[0])


#: The gain and the offset of a node, by kind.
_GAINS: dict[str, Callable[[list[Floats], float], tuple[Floats, Floats]]] = {
    "norm": _norm,
    "add": _add,
    "scale": _scale,
}
