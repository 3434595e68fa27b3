"""The view of a node that kernel builders use: typed attributes, and known inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch

from acgraph.diagnostics import Location
from acgraph.errors import UnsupportedOpError
from acgraph.ir import Array

#: Runs one node: maps the input tensors (None if absent or consumed by the builder) to the output,
#: or to a tuple if the node has several outputs.
Kernel = Callable[..., Any]
IntsOf = Callable[[torch.Tensor | None], Sequence[int]]


@dataclass(frozen=True, slots=True, eq=False)
class NodeView:
    """One node, for the builder of its kernel.

    Attributes:
        node: The node itself.
        location: Location of the node, for errors.
        opset: Version of the default operator set.
        training: Whether the kernel is for ``train()``.
        momentum: Momentum of BatchNormalization; None keeps that of the node.
        known: Values of the inputs that do not depend on the data; None for other inputs.
        consumed: Indices of known inputs that the builder has used; the kernel receives None.
        statistics: Indices of the inputs that are running statistics, which training updates.
        used: For each output, whether it is read by a node or is an output of the graph.
        batch: How the node changes for another batch size, see `acgraph.analysis.batch`; None if
            it does not change.
        is_frozen: Whether BatchNormalization uses its running statistics even in training.
    """

    node: gs.Node
    location: Location
    opset: int
    training: bool
    momentum: float | None
    known: tuple[Array | None, ...]
    consumed: set[int]
    statistics: frozenset[int]
    used: tuple[bool, ...]
    batch: tuple[int, ...] | None = None
    is_frozen: bool = False

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.node.inputs) and not self.node.inputs[index].is_empty()

    def value(self, index: int) -> Array | None:
        """Consume an input: return its value, or None if it is absent or not known in advance."""
        if not self.has(index) or self.known[index] is None:
            return None
        self.consumed.add(index)
        return self.known[index]

    def peek(self, index: int) -> Array | None:
        """Return the value of a known input without consuming it."""
        return self.known[index] if self.has(index) else None

    def number(self, index: int) -> float | None:
        """Consume a known input with one element, and return it as a Python number."""
        value = self.value(index)
        return None if value is None else value.reshape(-1)[0].item()

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        return int(self.node.attrs.get(name, default))

    def real(self, name: str, default: float) -> float:
        """Return a float attribute."""
        return float(self.node.attrs.get(name, default))

    def text(self, name: str, default: str) -> str:
        """Return a string attribute."""
        raw = self.node.attrs.get(name, default)
        return raw.decode() if isinstance(raw, bytes) else str(raw)

    def ints(self, name: str) -> tuple[int, ...] | None:
        """Return an attribute that is a list of integers; None if it is absent."""
        raw = self.node.attrs.get(name)
        return None if raw is None else tuple(int(v) for v in raw)

    def ints_input(self, index: int) -> IntsOf:
        """Return a function from the input's tensor to integers; a known input is consumed."""
        value = self.value(index)
        if value is None:
            return _ints_of_tensor
        parsed = tuple(int(v) for v in np.asarray(value).reshape(-1))
        return lambda _: parsed

    def ints_either(self, name: str, index: int) -> IntsOf | None:
        """As `ints_input`, from the attribute of older opsets if given, otherwise the input."""
        attribute = self.ints(name)
        if attribute is not None:
            return lambda _: attribute
        return self.ints_input(index) if self.has(index) else None

    def with_unused_outputs(self, kernel: Kernel) -> Kernel:
        """Adapt a kernel with one result to a node with further outputs, which must not be used.

        Raises:
            UnsupportedOpError: A further output is used.
        """
        if len(self.used) == 1:
            return kernel
        if any(self.used[1:]):
            raise self.unsupported("an output other than the first")
        rest = (None,) * (len(self.used) - 1)
        return lambda *inputs: (kernel(*inputs), *rest)

    def unsupported(self, what: str) -> UnsupportedOpError:
        """Return the error for attributes or inputs that the kernel does not support."""
        return UnsupportedOpError(
            f"PyTorch backend: {what} is not supported",
            location=self.location,
            hint="export the model without it, or use acgraph prune, which needs no training",
        )


def _ints_of_tensor(tensor: torch.Tensor | None) -> Sequence[int]:
    if tensor is None:
        raise ValueError("a required input of the node is missing")
    numbers: list[int] = tensor.reshape(-1).tolist()
    return numbers


Builder = Callable[[NodeView], Kernel]
