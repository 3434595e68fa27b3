"""The state of the forward walk over the nodes: the labels of every axis of every tensor.

The rules (``acgraph.analysis.rules``) process one node at a time through a
`acgraph.analysis.site.Site`, and couple its axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.labels import Axis, Ints, Labels
from acgraph.diagnostics import Diagnostic
from acgraph.ir import Array, Facts, Model, constant_node_value

Role = str


class Free:
    """Marks an axis of a constant that no rule has used yet."""


FREE = Free()


@dataclass(slots=True)
class TensorLabels:
    """The labels of one tensor.

    Attributes:
        axes: The labels of each axis.
        zero: For each axis, whether its cut positions are zero in the masked model.
    """

    axes: list[Axis | Free]
    zero: list[bool]


@dataclass(slots=True)
class ConstantUse:
    """The labels and properties of one constant.

    Attributes:
        name: Name of the constant.
        labels: Its labels.
        roles: The role of each axis: ``"filter"``, ``"column"``, ``"other"``.
        keep: True where the masked model must not zero it (a divisor, a variance).
        stored: False for a value computed in the graph: a cut replaces it by an initializer.
        trusted: True once a rule relied on its cut positions being zero in the masked model.
    """

    name: str
    labels: TensorLabels
    roles: list[Role]
    keep: bool = False
    stored: bool = True
    trusted: bool = False


@dataclass(slots=True)
class Walk:
    """The state of the analysis of one model.

    Attributes:
        model: The model.
        facts: Facts of the model.
        kept: Constants that the masked model must not zero, from an earlier walk.
        labels: The labels of all axes.
        tensors: Labels of activations, and of tensors computed from constants.
        uses: Labels of constants, by name.
        fences: Nodes that no cut crosses.
        views: By tensor: the constant that it is a view of.
        constant_nodes: Values of Constant nodes, by output.
        derived: Tensors that are computed from constants only.
        baked: Values of derived tensors that a cut replaces by an initializer, and the axes for
            which it does (see `acgraph.analysis.bake`).
        resolved: Derived tensors whose frozen axes were replaced where possible.
        live: Tensors from which activations are computed.
        hidden: Frozen labels that do not occur on live tensors: they form no family.
        captured: Tensors that subgraphs read.
        opaque: Tensors whose values do not count as constants (dequantised weights).
        probes: Values that a cut would change: the value at other sizes, and the tensors whose
            sizes it depends on.
        late: Constants that must be ``kept``, found after a rule relied on their zeros.
        graph_tensors: All tensors of the graph, by name.
    """

    model: Model
    facts: Facts
    kept: frozenset[str] = frozenset()
    labels: Labels = field(default_factory=Labels)
    tensors: dict[str, TensorLabels] = field(default_factory=dict)
    uses: dict[str, ConstantUse] = field(default_factory=dict)
    fences: list[Diagnostic] = field(default_factory=list)
    views: dict[str, str] = field(default_factory=dict)
    constant_nodes: dict[str, Array] = field(default_factory=dict)
    derived: set[str] = field(default_factory=set)
    baked: dict[str, tuple[Array, frozenset[int]]] = field(default_factory=dict)
    resolved: set[str] = field(default_factory=set)
    live: set[str] = field(default_factory=set)
    hidden: set[int] = field(default_factory=set)
    captured: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    probes: dict[str, tuple[Array, frozenset[str]]] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    graph_tensors: dict[str, gs.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph_tensors = self.model.graph.tensors()
        for node in self.model.graph.nodes:
            if node.op == "Constant" and not node.domain:
                value = constant_node_value(node)
                if value is not None:
                    self.constant_nodes[node.outputs[0].name] = value

    def is_stored(self, tensor: gs.Tensor) -> bool:
        """Return whether a tensor is stored in the file as a constant."""
        return isinstance(tensor, gs.Constant) or tensor.name in self.constant_nodes

    def is_static(self, name: str) -> bool:
        """Return whether a value is known and the same for all input sizes."""
        known = name in self.facts.values and name not in self.facts.dynamic
        return known and name not in self.opaque

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Return whether a tensor is a constant, or computed from constants only."""
        name = tensor.name
        if name in self.derived:
            return True
        return name not in self.tensors and (self.is_stored(tensor) or self.is_static(name))

    def use(self, tensor: gs.Tensor) -> ConstantUse | None:
        """Return the labels of a constant, created at its first use; None for activations."""
        name: str = tensor.name
        if name in self.tensors or name in self.derived:
            return None
        stored = self.is_stored(tensor)
        if not stored and not self.is_static(name):
            return None
        if name not in self.uses:
            rank = len(self.facts.shapes[name])
            keep = not stored or name in self.kept
            self.uses[name] = ConstantUse(
                name=name,
                labels=TensorLabels([FREE] * rank, [not keep] * rank),
                roles=["filter"] * rank,
                keep=keep,
                stored=stored,
            )
        return self.uses[name]

    def labels_of(self, name: str) -> list[Ints]:
        """Return the labelled axes of a tensor or constant."""
        use = self.uses.get(name)
        found = use.labels if use is not None else self.tensors.get(name)
        return [axis for axis in (found.axes if found else []) if isinstance(axis, np.ndarray)]

    def finish(self, outputs: Sequence[gs.Tensor]) -> None:
        """Fence the graph outputs, which keep their shapes, and close unused axes of constants."""
        for tensor in outputs:
            self._fence_tensor(tensor.name, "a graph output keeps its shape")
        for name in sorted(self.captured):
            self._fence_tensor(name, "is read inside a subgraph")
        self.hidden = set(self.labels.frozen)
        if self.hidden:
            self.labels.fence_frozen()
            for axis in (axis for name in self.live for axis in self.labels_of(name)):
                self.hidden.difference_update(np.unique(self.labels.resolve(axis)).tolist())
        for use in self.uses.values():
            use.labels.axes = [None if isinstance(a, Free) else a for a in use.labels.axes]

    def _fence_tensor(self, name: str, message: str) -> None:
        use = self.uses.get(name)
        found = use.labels if use is not None else self.tensors.get(name)
        for position, axis in enumerate(found.axes if found else []):
            if isinstance(axis, np.ndarray):
                where = self.model.location(value=name, axis=position)
                self.labels.fence(axis, Diagnostic(location=where, message=message))
