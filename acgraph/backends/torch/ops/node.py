"""What a builder sees of a node: typed attributes and the inputs known before running."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch

from acgraph.diagnostics import Location
from acgraph.errors import UnsupportedOpError
from acgraph.ir import Array

#: Runs one node: input tensors (None where absent or consumed at build time) to its output, or
#: to a tuple of them where the node has several.
Kernel = Callable[..., Any]
IntsOf = Callable[[torch.Tensor | None], Sequence[int]]


@dataclass(frozen=True, slots=True, eq=False)
class NodeView:
    """One node, for the builder of its kernel.

    Attributes:
        node: The node itself.
        location: Where it is, for errors.
        opset: Version of the default operator set.
        training: Whether the kernel is for ``train()``.
        momentum: Replaces the momentum of BatchNormalization where not None.
        known: Values of the inputs that do not depend on the data; None for the others.
        consumed: Indices of the known inputs that the builder took in; their tensor is not passed.
        statistics: Indices of the inputs that are running statistics, which training updates.
        used: For every output, whether anything reads it.
        is_frozen: Whether BatchNormalization keeps to its running statistics.
        batch: What the batch analysis changed of this node: see `acgraph.analysis.batch`.
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
        """Return whether the optional input is given."""
        return index < len(self.node.inputs) and not self.node.inputs[index].is_empty()

    def value(self, index: int) -> Array | None:
        """Take in an input: its value, or None where it is absent or only known when running."""
        if not self.has(index) or self.known[index] is None:
            return None
        self.consumed.add(index)
        return self.known[index]

    def peek(self, index: int) -> Array | None:
        """Look at a known input without taking it in."""
        return self.known[index] if self.has(index) else None

    def number(self, index: int) -> float | None:
        """Take in a known input of one element as a Python number."""
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
        """Return a list of integers, or None where the attribute is absent."""
        raw = self.node.attrs.get(name)
        return None if raw is None else tuple(int(v) for v in raw)

    def ints_input(self, index: int) -> IntsOf:
        """Return a function from the input's tensor to integers, parsed now where known."""
        value = self.value(index)
        if value is None:
            return _ints_of_tensor
        parsed = tuple(int(v) for v in np.asarray(value).reshape(-1))
        return lambda _: parsed

    def ints_either(self, name: str, index: int) -> IntsOf | None:
        """As `ints_input`, from the attribute of older opsets or else from the input."""
        attribute = self.ints(name)
        if attribute is not None:
            return lambda _: attribute
        return self.ints_input(index) if self.has(index) else None

    def unsupported(self, what: str) -> UnsupportedOpError:
        """Make the error for a form of the operator that has no kernel."""
        return UnsupportedOpError(
            f"PyTorch backend: {what} is not supported",
            location=self.location,
            hint="export the model without it",
        )


def _ints_of_tensor(tensor: torch.Tensor | None) -> Sequence[int]:
    if tensor is None:
        raise ValueError("an input that is needed to run the node is missing")
    numbers: list[int] = tensor.reshape(-1).tolist()
    return numbers


Builder = Callable[[NodeView], Kernel]
