"""The state of the walk that propagates the batch axis, and helpers of the rules."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.errors import AcgraphError
from acgraph.ir import Array, Model
from acgraph.operators import find_operator

Shape = tuple[int, ...]


class FixedBatchError(Exception):
    """A node mixes samples, or the walk cannot propagate the batch axis through it."""


class Program(Protocol):
    """Protocol of an executable graph.

    Attributes:
        model: The model.
        inputs: Names of the inputs.
        axes: The batch axis of each input; None where all samples share the value.
        outputs: Names of the outputs.
        known: Values that depend on constants only.
        host: Names of the values that depend on input sizes only.
    """

    model: Model
    inputs: list[str]
    axes: tuple[int | None, ...]
    outputs: list[str]
    known: dict[str, Array]
    host: set[str]

    def resolve(self, name: str) -> str:
        """Return the name of the tensor behind Identity nodes."""
        ...

    def needed(self, wanted: Sequence[str], known: Collection[str]) -> list[gs.Node]:
        """Return the nodes that compute the wanted values from the known ones, in order."""
        ...

    def evaluate(self, node: gs.Node, known: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs of a node whose inputs are all known."""
        ...


class Walk:
    """The state of the walk: the batch axis of each tensor.

    With a batch of one, a Reshape often has several readings. The walk takes the first and records
    the number of readings, so that the caller can try another one.

    Args:
        program: The program.
        shapes: Shapes of every tensor at the exported batch size.
        values: Known values, including shape arithmetic at that batch size.
        batch: The exported batch size.
        choices: The reading of each Reshape with several readings, in order.

    Attributes:
        axis: The batch axis by tensor; tensors without a batch are absent.
        outer: Outer size of the batch inside its axis, where it is not the outermost part:
            ``[outer * batch, channels]``.
        made: The readings taken, each with the number of readings.
        rebatch: See ``BatchPlan``.
        doubled: Values at twice the batch size, which show the sizes that depend on it.
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
        self.doubled: dict[str, Array] = dict(program.known)

    def name(self, node: gs.Node, index: int) -> str:
        """Return the resolved name of an input; empty where it is absent."""
        if index >= len(node.inputs) or node.inputs[index].is_empty():
            return ""
        return self.program.resolve(node.inputs[index].name)

    def names(self, node: gs.Node) -> list[str]:
        """Return the resolved names of all inputs that are present."""
        return [n for n in (self.name(node, i) for i in range(len(node.inputs))) if n]

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor at the exported batch size."""
        if name in self.values:
            return tuple(self.values[name].shape)
        return self.shapes[name]

    def doubled_shape(self, name: str) -> Shape:
        """Return the shape of a tensor at twice the batch size."""
        sizes = list(self.shape(name))
        if name in self.axis:
            sizes[self.axis[name]] *= 2
        return tuple(sizes)

    def choose(self, count: int) -> int:
        """Return the reading to take among ``count``, and record it where there are several."""
        if count == 1:
            return 0
        place = len(self.made)
        taken = self._choices[place] if place < len(self._choices) else 0
        self.made.append((taken, count))
        return taken

    def visit(self, node: gs.Node, rules: "Mapping[str, Rule]") -> None:
        """Propagate the batch axis to the outputs of a node.

        Raises:
            FixedBatchError: The node mixes samples, or has no rule.
        """
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
            raise FixedBatchError("its inputs have the batch at different places inside an axis")
        found = rules[operator.batch](self, node)
        for index, tensor in enumerate(node.outputs):
            axis = found if not isinstance(found, tuple) else found[index]
            if tensor.name and axis is not None:
                self.axis[tensor.name] = axis
                for outer in outers - {1}:
                    self.outer.setdefault(tensor.name, outer)

    def _visit_host(self, node: gs.Node) -> None:
        """Evaluate shape arithmetic at twice the batch size; values that grow contain the batch."""
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
            raise FixedBatchError(
                f"its sizes cannot be computed at another batch size: {error}"
            ) from error
        for name in outputs:
            axis = grown_axis(self.shape(name), tuple(self.doubled[name].shape))
            if axis is not None:
                self.axis[name] = axis

    def ints(self, node: gs.Node, index: int, attribute: str) -> tuple[Shape, Shape] | None:
        """Return integers of an input or attribute at the exported batch size and at twice that.

        None where both are absent.
        """
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
    """Return the axis that doubled; None where the shapes are equal.

    Raises:
        FixedBatchError: The shapes differ in another way.
    """
    if before == after:
        return None
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    if len(changed) != 1 or after[changed[0]] != 2 * before[changed[0]]:
        raise FixedBatchError("the size of a computed tensor is not proportional to the batch size")
    return changed[0]


#: The batch axis of all outputs, or one for each; None where there is none.
Found = int | None | tuple[int | None, ...]
Rule = Callable[[Walk, gs.Node], Found]


def only_first(walk: Walk, node: gs.Node) -> int:
    """Return the batch axis of the first input; no other input may have one."""
    first, *rest = walk.names(node)
    if first not in walk.axis or any(name in walk.axis for name in rest):
        raise FixedBatchError("an input other than the first has the batch")
    return walk.axis[first]


def beside_axis(default: int) -> Rule:
    """Return the rule of operators that act along one axis and keep the rank."""

    def rule(walk: Walk, node: gs.Node) -> int:
        axis = only_first(walk, node)
        acts = int(node.attrs.get("axis", default)) % len(walk.shape(walk.name(node, 0)))
        if acts == axis:
            raise FixedBatchError("it acts along the batch")
        return axis

    return rule
