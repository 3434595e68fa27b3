"""One forward walk over the nodes: the labels of every axis of every tensor.

The walk holds the state; the rules (``acgraph.analysis.rules``) see one node at a time through a
`Site` and say how its axes relate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from acgraph.analysis.labels import Axis, Labels
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, Facts, Model, constant_node_value

#: Views through which a constant keeps its own axes, or loses none of its elements.
_VIEWS = frozenset(["Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"])

Role = str


class _Free:
    """The axis of a constant that nothing has used yet."""


FREE = _Free()


@dataclass(slots=True)
class TensorLabels:
    """The labels of one tensor, an entry an axis.

    ``zero`` says whether positions that are cut hold zeros in the masked model.
    """

    axes: list[Axis | _Free]
    zero: list[bool]


@dataclass(slots=True)
class ConstantUse:
    """A constant as the walk sees it.

    Attributes:
        name: The constant's name in the graph.
        labels: Its labels.
        roles: An entry an axis: ``"filter"``, ``"column"``, ``"other"``.
        keep: True where the masked model must not zero it (a divisor, a variance).
        stored: False for a value computed in the graph: a cut replaces it by an initializer.
    """

    name: str
    labels: TensorLabels
    roles: list[Role]
    keep: bool = False
    stored: bool = True


@dataclass(slots=True)
class Walk:
    """The state of the analysis of one model."""

    model: Model
    facts: Facts
    labels: Labels = field(default_factory=Labels)
    tensors: dict[str, TensorLabels] = field(default_factory=dict)
    uses: dict[str, ConstantUse] = field(default_factory=dict)
    fences: list[Diagnostic] = field(default_factory=list)
    views: dict[str, str] = field(default_factory=dict)
    constant_nodes: dict[str, Array] = field(default_factory=dict)
    derived: set[str] = field(default_factory=set)
    captured: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for node in self.model.graph.nodes:
            if node.op == "Constant" and not node.domain:
                value = constant_node_value(node)
                if value is not None:
                    self.constant_nodes[node.outputs[0].name] = value

    def is_stored(self, tensor: gs.Tensor) -> bool:
        """Say whether a tensor is a constant of the file."""
        return isinstance(tensor, gs.Constant) or tensor.name in self.constant_nodes

    def is_static(self, name: str) -> bool:
        """Say whether a value is known and the same for all input sizes."""
        return name in self.facts.values and name not in self.facts.dynamic

    def use_key(self, node: gs.Node, index: int) -> str | None:
        """Name the constant behind an input, or None where it is an activation."""
        tensor = node.inputs[index]
        if tensor.name in self.tensors:
            return None
        name: str = tensor.name
        return name if self.is_stored(tensor) or self.is_static(name) else None

    def use(self, node: gs.Node, index: int) -> ConstantUse | None:
        """Return the constant behind an input, made at its first use."""
        key = self.use_key(node, index)
        if key is None:
            return None
        if key not in self.uses:
            tensor = node.inputs[index]
            rank = len(self.facts.shapes[tensor.name])
            stored = self.is_stored(tensor)
            self.uses[key] = ConstantUse(
                name=tensor.name,
                labels=TensorLabels([FREE] * rank, [stored] * rank),
                roles=["filter"] * rank,
                keep=not stored,
                stored=stored,
            )
        return self.uses[key]

    def finish(self, outputs: Sequence[gs.Tensor]) -> None:
        """Fence the graph outputs, which keep their shapes, and settle unused constant axes."""
        for tensor in outputs:
            found = self.tensors.get(tensor.name)
            for position, axis in enumerate(found.axes if found else []):
                where = self.model.location(value=tensor.name, axis=position)
                why = Diagnostic(location=where, message="a graph output keeps its shape")
                self.labels.fence(axis if not isinstance(axis, _Free) else None, why)
        for name in self.captured & set(self.uses):
            where = self.model.location(value=name)
            why = Diagnostic(location=where, message="is read inside a subgraph")
            for axis in self.uses[name].labels.axes:
                self.labels.fence(axis if not isinstance(axis, _Free) else None, why)
        for use in self.uses.values():
            use.labels.axes = [None if isinstance(a, _Free) else a for a in use.labels.axes]


class Site:
    """One node, as a rule sees it: inputs and outputs by number."""

    def __init__(self, walk: Walk, node: gs.Node) -> None:
        self.walk = walk
        self.node = node
        self.labels = walk.labels
        self.attrs = node.attrs

    @property
    def opset(self) -> int:
        """The version of the default operator set."""
        return int(self.walk.model.graph.opset)

    def has(self, i: int) -> bool:
        """Say whether input ``i`` is given."""
        return i < len(self.node.inputs) and bool(self.node.inputs[i].name)

    def shape(self, i: int) -> tuple[int, ...]:
        """Return the sizes of input ``i``."""
        return self.walk.facts.shapes[self.node.inputs[i].name]

    def out_shape(self, j: int = 0) -> tuple[int, ...]:
        """Return the sizes of output ``j``."""
        return self.walk.facts.shapes[self.node.outputs[j].name]

    def value(self, i: int) -> Array | None:
        """Return the value of input ``i`` where it is known for all input sizes."""
        if not self.has(i):
            return None
        name = self.node.inputs[i].name
        return self.walk.facts.values[name] if self.walk.is_static(name) else None

    def is_constant(self, i: int) -> bool:
        """Say whether input ``i`` is a constant, or computed from constants only."""
        name = self.node.inputs[i].name
        return name in self.walk.derived or self.walk.use_key(self.node, i) is not None

    def why(self, message: str, axis: int | None = None) -> Diagnostic:
        """Make a reason that names this node."""
        return Diagnostic(location=self.walk.model.location(self.node, axis=axis), message=message)

    def axis(self, i: int, axis: int) -> Axis:
        """Return the labels of an axis of input ``i``; a constant's unused axis gets new ones."""
        found = self._tensor(i)
        if found is None:
            return None
        current = found.axes[axis]
        if isinstance(current, _Free):
            size = self.shape(i)[axis]
            current = self.labels.fresh(size) if size > 1 else None
            found.axes[axis] = current
        return current

    def axes(self, i: int) -> list[Axis]:
        """Return the labels of all axes of input ``i``."""
        return [self.axis(i, axis) for axis in range(len(self.shape(i)))]

    def _tensor(self, i: int) -> TensorLabels | None:
        use = self.walk.use(self.node, i)
        if use is not None:
            return use.labels
        return self.walk.tensors.get(self.node.inputs[i].name)

    def zero(self, i: int, axis: int) -> bool:
        """Say whether cut positions of an axis of input ``i`` hold zeros in the masked model."""
        name = self.node.inputs[i].name
        use = self.walk.use(self.node, i)
        if use is not None:
            return use.stored and not use.keep
        found = self.walk.tensors.get(name)
        return found is not None and found.zero[axis]

    def set_role(self, i: int, axis: int, role: Role) -> None:
        """Say what an axis of a constant input is for."""
        use = self.walk.use(self.node, i)
        if use is not None:
            use.roles[axis] = role

    def keep(self, i: int) -> None:
        """Ask that the masked model leave a constant input as it is."""
        key = self.walk.views.get(self.node.inputs[i].name)
        use = self.walk.uses[key] if key is not None else self.walk.use(self.node, i)
        if use is not None:
            use.keep = True

    def set_axis(self, i: int, axis: int, labels: Axis) -> None:
        """Give an axis of input ``i`` these labels, or unify where it has some."""
        found = self._tensor(i)
        if found is None:
            self.labels.fence(labels, self.why("meets an axis that is never cut", axis))
        elif isinstance(found.axes[axis], _Free):
            found.axes[axis] = labels if self.shape(i)[axis] > 1 else None
        else:
            self.unify(self.axis(i, axis), labels)

    def unify(self, first: Axis, second: Axis) -> Axis:
        """State that two axes lose the same positions."""
        if first is None and second is None:
            return None
        return self.labels.unify(first, second, self.why("couples axes that are cut differently"))

    def unify_inputs(self, places: Sequence[tuple[int, int]]) -> Axis:
        """Unify axes of inputs, given as (input, axis); unused axes of constants just follow."""
        bound: Axis = None
        started = False
        for i, axis in places:
            found = self._tensor(i)
            if found is not None and isinstance(found.axes[axis], _Free):
                continue
            current = self.axis(i, axis)
            bound = self.unify(bound, current) if started else current
            started = True
        if not started and places:
            bound = self.axis(*places[0])
        for i, axis in places:
            found = self._tensor(i)
            if found is not None and isinstance(found.axes[axis], _Free):
                found.axes[axis] = bound if self.shape(i)[axis] > 1 else None
        return bound

    def emit(self, axes: Sequence[Axis], zero: Sequence[bool], j: int = 0) -> None:
        """Give output ``j`` its labels; an axis of size 1 is never cut."""
        tensor = self.node.outputs[j]
        settled: list[Axis | _Free] = []
        for position, (axis, size) in enumerate(zip(axes, self.out_shape(j), strict=True)):
            if axis is not None and size == 1:
                self.labels.fence(axis, self.why("the axis has size 1", position))
                axis = None
            settled.append(axis)
        self.walk.tensors[tensor.name] = TensorLabels(settled, list(zero))
        if all(self.is_constant(i) for i in range(len(self.node.inputs)) if self.has(i)):
            self.walk.derived.add(tensor.name)
        if self.node.op in _VIEWS and self.is_constant(0):
            name = self.node.inputs[0].name
            key = self.walk.views.get(name) or self.walk.use_key(self.node, 0)
            if key is not None:
                self.walk.views[tensor.name] = key

    def fence(self, axis: Axis, message: str, position: int | None = None) -> None:
        """Forbid cutting an axis, with the reason."""
        if axis is not None:
            self.labels.fence(axis, self.why(message, position))

    def stop(self, i: int, axis: int, message: str) -> None:
        """Forbid cutting an axis of input ``i``; an unused axis of a constant has no labels yet."""
        found = self._tensor(i)
        if found is not None and isinstance(found.axes[axis], _Free):
            found.axes[axis] = None
        else:
            self.fence(self.axis(i, axis), message, axis)

    def fence_all(self, message: str) -> None:
        """Forbid cutting anything that this node reads; its outputs are never cut."""
        why = self.why(message)
        self.walk.fences.append(why)
        for i in range(len(self.node.inputs)):
            if not self.has(i) or self.node.inputs[i].name not in self.walk.facts.shapes:
                continue
            for axis in range(len(self.shape(i))):
                found = self._tensor(i)
                if found is not None and isinstance(found.axes[axis], _Free):
                    found.axes[axis] = None
                self.labels.fence(self.axis(i, axis), why)

    def outputs(self) -> Iterator[int]:
        """Number the outputs that are used and whose shape is known."""
        for j, tensor in enumerate(self.node.outputs):
            if tensor.name and tensor.name in self.walk.facts.shapes:
                yield j
