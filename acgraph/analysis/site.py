"""The interface between a rule and one node: labels of inputs and outputs by index."""

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.labels import Axis
from acgraph.analysis.walk import FREE, Free, Role, TensorLabels, Walk
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array
from acgraph.operators import Trait, operators_with

#: Operators whose output has all elements of their input.
_VIEWS = operators_with(Trait.VIEW)
#: Operators whose result depends on the index of a position along an axis.
_POSITIONAL = operators_with(Trait.POSITIONAL)

_UNEQUAL = "couples axes of different or unknown size"


class Site:
    """Gives a rule access to one node, and collects the couplings, fences and output labels."""

    def __init__(self, walk: Walk, node: gs.Node) -> None:
        self.walk = walk
        self.node = node
        self.labels = walk.labels
        self.attrs = node.attrs
        #: True where every input is a constant or computed from constants.
        self.only_constants = all(walk.is_constant(t) for t in node.inputs if t.name)
        self.is_fenced = False

    @property
    def opset(self) -> int:
        """The opset version of the default domain."""
        return int(self.walk.model.graph.opset)

    def has(self, i: int) -> bool:
        """Return whether input ``i`` is present."""
        return i < len(self.node.inputs) and bool(self.node.inputs[i].name)

    def shape(self, i: int) -> tuple[int, ...]:
        """Return the sizes of input ``i``."""
        return self.walk.facts.shapes[self.node.inputs[i].name]

    def has_out(self, j: int) -> bool:
        """Return whether output ``j`` is used."""
        return j < len(self.node.outputs) and bool(self.node.outputs[j].name)

    def out_shape(self, j: int = 0) -> tuple[int, ...]:
        """Return the sizes of output ``j``."""
        return self.walk.facts.shapes[self.node.outputs[j].name]

    def is_fixed(self, axis: int, j: int = 0) -> bool:
        """Return whether an axis of output ``j`` has the same size for all input sizes."""
        return self._is_fixed(self.node.outputs[j].name, axis)

    def _is_fixed(self, name: str, axis: int) -> bool:
        fixed = self.walk.facts.fixed_axes.get(name, ())
        return (axis >= len(fixed) or fixed[axis]) and not self._is_assumed(name, axis)

    def is_assumed(self, i: int, axis: int) -> bool:
        """Return whether the size of an axis of input ``i`` is unknown, see `Facts.assumed`."""
        return self._is_assumed(self.node.inputs[i].name, axis)

    def is_assumed_out(self, axis: int, j: int = 0) -> bool:
        """Return whether the size of an axis of output ``j`` is unknown."""
        return self._is_assumed(self.node.outputs[j].name, axis)

    def _is_assumed(self, name: str, axis: int) -> bool:
        assumed = self.walk.facts.assumed.get(name, ())
        return axis < len(assumed) and assumed[axis]

    def is_uninferred(self, j: int = 0) -> bool:
        """Return whether the shape of output ``j`` was assumed rather than inferred."""
        return self.node.outputs[j].name in self.walk.facts.uninferred

    def _is_labelable(self, name: str, axis: int) -> bool:
        """Return whether positions of an axis have a fixed index, where the node depends on it."""
        return self.node.op not in _POSITIONAL or self._is_fixed(name, axis)

    def value(self, i: int) -> Array | None:
        """Return the value of input ``i`` where it is known for all input sizes."""
        if not self.has(i):
            return None
        name = self.node.inputs[i].name
        return self.walk.facts.values[name] if self.walk.is_static(name) else None

    def is_constant(self, i: int) -> bool:
        """Return whether input ``i`` is a constant, or computed from constants only."""
        return self.walk.is_constant(self.node.inputs[i])

    def why(self, message: str, axis: int | None = None) -> Diagnostic:
        """Return a reason located at this node."""
        return Diagnostic(location=self.walk.model.location(self.node, axis=axis), message=message)

    def axis(self, i: int, axis: int) -> Axis:
        """Return the labels of an axis of input ``i``; unused axes of constants get new ones."""
        found = self._tensor(i)
        if found is None:
            return None
        current = found.axes[axis]
        if isinstance(current, Free):
            size = self.shape(i)[axis]
            current = self.labels.fresh(size) if size > 1 else None
            found.axes[axis] = current
        if current is not None and not self._is_labelable(self.node.inputs[i].name, axis):
            self.fence(current, "the size of the axis depends on the input", axis)
            return None
        return current

    def axes(self, i: int) -> list[Axis]:
        """Return the labels of all axes of input ``i``."""
        return [self.axis(i, axis) for axis in range(len(self.shape(i)))]

    def _tensor(self, i: int) -> TensorLabels | None:
        use = self.walk.use(self.node.inputs[i])
        if use is not None:
            return use.labels
        return self.walk.tensors.get(self.node.inputs[i].name)

    def _is_free(self, i: int, axis: int) -> bool:
        found = self._tensor(i)
        return found is not None and isinstance(found.axes[axis], Free)

    def zero(self, i: int, axis: int) -> bool:
        """Return whether cut positions of an axis of input ``i`` are zero in the masked model."""
        use = self.walk.use(self.node.inputs[i])
        if use is not None:
            use.trusted = use.trusted or not use.keep
            return not use.keep
        found = self.walk.tensors.get(self.node.inputs[i].name)
        return found is not None and found.zero[axis]

    def zeros(self, i: int) -> list[bool]:
        """Return for every axis of input ``i`` whether cut positions are zero."""
        return [self.zero(i, axis) for axis in range(len(self.shape(i)))]

    def set_role(self, i: int, axis: int, role: Role) -> None:
        """Set the role of an axis of a constant input, also through views of the constant."""
        use = self.walk.use(self.node.inputs[i])
        if use is not None:
            use.roles[axis] = role
            return
        labels = self.axis(i, axis)
        use = self.walk.uses.get(self.walk.views.get(self.node.inputs[i].name, ""))
        if use is None or labels is None:
            return
        resolved = self.labels.resolve(labels)
        for own, current in enumerate(use.labels.axes):
            if isinstance(current, np.ndarray) and np.array_equal(
                self.labels.resolve(current), resolved
            ):
                use.roles[own] = role

    def keep(self, i: int) -> None:
        """Require that the masked model does not zero a constant input."""
        key = self.walk.views.get(self.node.inputs[i].name)
        use = self.walk.uses[key] if key is not None else self.walk.use(self.node.inputs[i])
        if use is None:
            return
        if use.trusted and not use.keep:
            self.walk.late.add(use.name)
        use.keep = True

    def set_axis(self, i: int, axis: int, labels: Axis) -> None:
        """Set the labels of an axis of input ``i``, or unify them with existing ones."""
        found = self._tensor(i)
        if found is None:
            self.labels.fence(labels, self.why("couples an axis that is never cut", axis))
        elif labels is not None and len(labels) != self.shape(i)[axis] > 1:
            self.fence(labels, _UNEQUAL, axis)
            self.stop(i, axis, _UNEQUAL)
        elif isinstance(found.axes[axis], Free):
            found.axes[axis] = labels if self.shape(i)[axis] > 1 else None
        else:
            self.unify(self.axis(i, axis), labels)

    def unify(self, first: Axis, second: Axis) -> Axis:
        """Couple two axes position by position; return the common axis."""
        if first is None and second is None:
            return None
        return self.labels.unify(first, second, self.why("couples axes that are cut differently"))

    def unify_inputs(self, places: Sequence[tuple[int, int]]) -> Axis:
        """Unify axes of inputs, given as (input, axis); unused axes of constants get the labels."""
        if len({self.shape(i)[axis] for i, axis in places}) > 1:
            for i, axis in places:
                self.stop(i, axis, _UNEQUAL)
            return None
        bound: Axis = None
        started = False
        for i, axis in places:
            if self._is_free(i, axis):
                continue
            current = self.axis(i, axis)
            bound = self.unify(bound, current) if started else current
            started = True
        if not started and places:
            bound = self.axis(*places[0])
        for i, axis in places:
            found = self._tensor(i)
            if found is not None and isinstance(found.axes[axis], Free):
                found.axes[axis] = bound if self.shape(i)[axis] > 1 else None
        return bound

    def emit(self, axes: Sequence[Axis], zero: Sequence[bool], j: int = 0) -> None:
        """Set the labels of output ``j``; an axis of size 1 is never cut."""
        tensor = self.node.outputs[j]
        labelled: list[Axis | Free] = []
        for position, (axis, size) in enumerate(zip(axes, self.out_shape(j), strict=True)):
            if axis is not None and size == 1:
                self.fence(axis, "the axis has size 1", position)
                axis = None
            elif axis is not None and (
                len(axis) != size or self._is_assumed(tensor.name, position)
            ):
                self.fence(axis, "the size of the axis is unknown", position)
                axis = None
            elif (
                axis is not None and not self.is_fixed(position, j) and self.node.op in _POSITIONAL
            ):
                self.fence(axis, "the size of the axis depends on the input", position)
                axis = None
            labelled.append(axis)
        self.walk.tensors[tensor.name] = TensorLabels(labelled, list(zero))
        if self.only_constants:
            self.walk.derived.add(tensor.name)
        if self.node.op in _VIEWS and self.is_constant(0):
            self._emit_view(tensor.name)

    def _emit_view(self, name: str) -> None:
        source = self.node.inputs[0]
        key = self.walk.views.get(source.name)
        if key is None:
            use = self.walk.use(source)
            key = use.name if use is not None else None
        if key is not None:
            self.walk.views[name] = key

    def emit_free(self, j: int) -> None:
        """Mark all axes of an output that is computed from constants as unused."""
        tensor = self.node.outputs[j]
        rank = len(self.out_shape(j))
        self.walk.tensors[tensor.name] = TensorLabels([FREE] * rank, [False] * rank)
        self.walk.derived.add(tensor.name)

    def fence(self, axis: Axis, message: str, position: int | None = None) -> None:
        """Forbid cutting an axis, with the reason."""
        if axis is None:
            return
        why = self.why(message, position)
        if self.only_constants:
            self.labels.freeze(axis, why)
        else:
            self.labels.fence(axis, why)

    def mark_inexact(self, axis: Axis, message: str, position: int | None = None) -> None:
        """Mark an axis whose cut changes the result of the node at other positions."""
        if axis is None:
            return
        why = self.why(message, position)
        if self.only_constants:
            self.labels.freeze(axis, why)
        else:
            self.labels.mark_inexact(axis, why)

    def stop(self, i: int, axis: int, message: str) -> None:
        """Forbid cutting an axis of input ``i``, also where it is an unused axis of a constant."""
        found = self._tensor(i)
        if found is not None and isinstance(found.axes[axis], Free):
            found.axes[axis] = None
        else:
            self.fence(self.axis(i, axis), message, axis)

    def fence_all(self, message: str, *, listed: bool = False) -> None:
        """Forbid cutting any axis of the inputs and outputs of this node.

        Args:
            message: The reason.
            listed: List the node as a fence even where no cut would be possible without it.
        """
        self.is_fenced = True
        stopped = False
        for i in range(len(self.node.inputs)):
            if not self.has(i) or self.node.inputs[i].name not in self.walk.facts.shapes:
                continue
            for axis in range(len(self.shape(i))):
                if self._is_free(i, axis):
                    stopped = stopped or self.shape(i)[axis] > 1
                    self.stop(i, axis, message)
                    continue
                labels = self.axis(i, axis)
                stopped = stopped or labels is not None
                self.fence(labels, message)
        if listed or (stopped and not self.only_constants):
            self.walk.fences.append(self.why(message))
