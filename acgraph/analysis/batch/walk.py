"""Where the batch axis is: the state of the walk that follows it, and what rules have in common."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.errors import AcgraphError
from acgraph.ir import Array, Model
from acgraph.operators import find_operator

Shape = tuple[int, ...]


class FixedBatchError(Exception):
    """The walk has met a node at which samples cannot be told apart."""


class Program(Protocol):
    """A graph that can be run, as the walk sees it.

    Attributes:
        model: The model that is run.
        inputs: Names of the inputs.
        axes: Where the batch lies in each; None where all samples share the value.
        outputs: Names of the outputs.
        known: Values that depend on constants alone.
        host: Names of the values that depend on sizes of the inputs alone.
    """

    model: Model
    inputs: list[str]
    axes: tuple[int | None, ...]
    outputs: list[str]
    known: dict[str, Array]
    host: set[str]

    def resolve(self, name: str) -> str:
        """Follow Identity nodes back to the tensor that has the value."""
        ...

    def needed(self, wanted: Sequence[str], known: Collection[str]) -> list[gs.Node]:
        """List the nodes that make the wanted values out of those that there are, in order."""
        ...

    def evaluate(self, node: gs.Node, known: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs of a node whose inputs are all known."""
        ...


class Walk:
    """The state of the walk: which axis of which tensor holds the batch.

    A Reshape of a batch of one can often be read in several ways. The walk takes the first, and
    notes that there are others: who finds that it leads nowhere may walk again with another.

    Args:
        program: The program.
        shapes: Sizes of every tensor at the batch of the export.
        values: What is known of them, shape arithmetic at that batch included.
        batch: The batch of the export.
        choices: Which reading to take of each Reshape that has several, in order.

    Attributes:
        axis: Which axis of a tensor holds the batch; that of the others does not.
        outer: How many positions of that axis are slower than the batch, where it is not the
            slowest: ``[positions * batch, channels]``.
        made: Readings that were taken, each with the number of those that there were.
    """

    def __init__(
        self,
        program: Program,
        shapes: Mapping[str, Shape],
        values: Mapping[str, Array],
        batch: int,
        choices: Sequence[int] = (),
    ) -> None:
        self.program = program
        self.shapes = shapes
        self.values = values
        self.batch = batch
        self.axis: dict[str, int] = {}
        self.outer: dict[str, int] = {}
        self.made: list[tuple[int, int]] = []
        self._choices = choices
        self.rebatch: dict[str, Shape] = {}
        #: Values at twice the batch: they tell which numbers follow the batch by themselves.
        self.doubled: dict[str, Array] = dict(program.known)

    def name(self, node: gs.Node, index: int) -> str:
        """Return the resolved name of an input; empty where it is absent."""
        if index >= len(node.inputs) or node.inputs[index].is_empty():
            return ""
        return self.program.resolve(node.inputs[index].name)

    def names(self, node: gs.Node) -> list[str]:
        """Return the resolved names of all inputs that are given."""
        return [n for n in (self.name(node, i) for i in range(len(node.inputs))) if n]

    def shape(self, name: str) -> Shape:
        """Return the sizes of a tensor at the batch of the export."""
        if name in self.values:
            return tuple(self.values[name].shape)
        return self.shapes[name]

    def doubled_shape(self, name: str) -> Shape:
        """Return the sizes of a tensor at twice the batch."""
        sizes = list(self.shape(name))
        if name in self.axis:
            sizes[self.axis[name]] *= 2
        return tuple(sizes)

    def choose(self, count: int) -> int:
        """Return which of so many readings to take, and note it where there are several."""
        if count == 1:
            return 0
        place = len(self.made)
        taken = self._choices[place] if place < len(self._choices) else 0
        self.made.append((taken, count))
        return taken

    def visit(self, node: gs.Node, rules: "Mapping[str, Rule]") -> None:
        """Find the batch axis of a node's outputs."""
        if node.outputs[0].name in self.program.host:
            self._visit_host(node)
            return
        if node.op != "Expand" and not any(name in self.axis for name in self.names(node)):
            return
        operator = find_operator(node.op, node.domain)
        if operator is None or not operator.batch:
            raise FixedBatchError("the batch axis cannot be followed through this operator")
        outers = {self.outer.get(name, 1) for name in self.names(node) if name in self.axis}
        if len(outers) > 1:
            raise FixedBatchError("its inputs hold the batch in different orders")
        found = rules[operator.batch](self, node)
        for index, tensor in enumerate(node.outputs):
            axis = found if not isinstance(found, tuple) else found[index]
            if tensor.name and axis is not None:
                self.axis[tensor.name] = axis
                for outer in outers - {1}:
                    self.outer.setdefault(tensor.name, outer)

    def _visit_host(self, node: gs.Node) -> None:
        """Compute shape arithmetic at twice the batch; what grows holds the batch."""
        outputs = [tensor.name for tensor in node.outputs]
        if node.op in ("Shape", "Size"):
            sizes = np.asarray(self.doubled_shape(self.name(node, 0)), dtype=np.int64)
            start, end = node.attrs.get("start", 0), node.attrs.get("end")
            value = sizes[start:end] if node.op == "Shape" else np.asarray(sizes.prod())
            self.doubled[outputs[0]] = value
            return
        try:
            self.doubled.update(self.program.evaluate(node, self.doubled))
        except (AcgraphError, KeyError) as error:
            raise FixedBatchError(f"its sizes fail at another batch: {error}") from error
        for name in outputs:
            axis = grown_axis(self.shape(name), tuple(self.doubled[name].shape))
            if axis is not None:
                self.axis[name] = axis

    def ints(self, node: gs.Node, index: int, attribute: str) -> tuple[Shape, Shape] | None:
        """Return numbers at the export's batch and at twice that; None where absent."""
        if attribute in node.attrs:
            fixed = tuple(int(v) for v in np.atleast_1d(node.attrs[attribute]))
            return fixed, fixed
        name = self.name(node, index)
        if not name:
            return None
        if name not in self.values or name not in self.doubled:
            raise FixedBatchError("its sizes are computed from the data")
        before, after = self.values[name], self.doubled[name]
        return _ints(before), _ints(after)


def _ints(value: Array) -> Shape:
    return tuple(int(v) for v in value.reshape(-1))


def grown_axis(before: Shape, after: Shape) -> int | None:
    """Return the axis that doubled; None where the shapes are equal."""
    if before == after:
        return None
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    if len(changed) != 1 or after[changed[0]] != 2 * before[changed[0]]:
        raise FixedBatchError("a computed tensor does not grow in step with the batch")
    return changed[0]


#: The batch axis of the outputs: of all, or of each; None where an output has none.
Found = int | None | tuple[int | None, ...]
Rule = Callable[[Walk, gs.Node], Found]


def only_first(walk: Walk, node: gs.Node) -> int:
    """Require that the first input alone holds the batch; return its axis."""
    first, *rest = walk.names(node)
    if first not in walk.axis or any(name in walk.axis for name in rest):
        raise FixedBatchError("an input other than the first holds the batch")
    return walk.axis[first]


def beside_axis(default: int) -> Rule:
    """Rule of operators that act along one axis and keep the rank."""

    def rule(walk: Walk, node: gs.Node) -> int:
        axis = only_first(walk, node)
        acts = int(node.attrs.get("axis", default)) % len(walk.shape(walk.name(node, 0)))
        if acts == axis:
            raise FixedBatchError("it acts along the batch")
        return axis

    return rule
