"""Apply a cut around one node: the interface of the rules' ``resize`` functions."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.rules import Keep
from acgraph.errors import PassError
from acgraph.ir import Array, Facts, Model, in_c_order
from acgraph.ir.names import fresh
from acgraph.operators import OPERATORS

#: Size vectors with some entries overridden, by the vector's name and these entries.
Patches = dict[tuple[str, tuple[tuple[int, int], ...]], gs.Tensor]


@dataclass(slots=True)
class NodeCut:
    """One node of the model being shrunk; implements `acgraph.analysis.rules.Cut`.

    ``names_in`` and ``names_out`` are the tensors' names before any input was replaced. ``pins``
    are the constants that replace computed values, and ``patches`` are size vectors with some
    entries overridden; all nodes share both. ``taken`` are the names in use.
    """

    model: Model
    node: gs.Node
    facts: Facts
    kept: Mapping[str, Mapping[int, Keep]]
    pins: dict[str, gs.Constant] = field(default_factory=dict)
    patches: Patches = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    before: list[gs.Node] = field(default_factory=list)
    after: list[gs.Node] = field(default_factory=list)
    names_in: list[str] = field(default_factory=list)
    names_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names_in = [t.name for t in self.node.inputs]
        self.names_out = [t.name for t in self.node.outputs]

    @property
    def opset(self) -> int:
        """The opset version of the default domain."""
        return int(self.model.graph.opset)

    def keep_in(self, i: int, axis: int) -> Keep | None:
        """Return the kept indices of an axis of input ``i``."""
        return self.kept.get(self.names_in[i], {}).get(axis)

    def keep_out(self, j: int, axis: int) -> Keep | None:
        """Return the kept indices of an axis of output ``j``."""
        return self.kept.get(self.names_out[j], {}).get(axis)

    def shape_in(self, i: int) -> tuple[int, ...]:
        """Sizes of input ``i`` before the cut."""
        return self.facts.shapes[self.names_in[i]]

    def shape_out(self, j: int) -> tuple[int, ...]:
        """Sizes of output ``j`` before the cut."""
        return self.facts.shapes[self.names_out[j]]

    def value(self, i: int) -> Array | None:
        """The value of input ``i`` before the cut, if it is known for all input sizes."""
        if i >= len(self.names_in) or not self.names_in[i]:
            return None
        name = self.names_in[i]
        return None if name in self.facts.dynamic else self.facts.values.get(name)

    def set_input(self, i: int, value: Array) -> None:
        """Set input ``i`` to a constant that only this node reads."""
        while len(self.node.inputs) <= i:
            self.node.inputs.append(gs.Variable.empty())
        port = OPERATORS[self.node.op].input(i).name or f"input{i}"
        name = self._fresh(f"{self.node.name}/{port}")
        self.node.inputs[i] = gs.Constant(name, in_c_order(value))

    def _fresh(self, stem: str) -> str:
        return fresh(stem, self.taken, "#")

    def pin(self, i: int, name: str, value: Array) -> None:
        """Replace input ``i`` by a constant with this name, which all nodes share."""
        if name not in self.pins:
            self.pins[name] = gs.Constant(self._fresh(name), in_c_order(value))
        self.node.inputs[i] = self.pins[name]

    def patch_sizes(self, i: int, sizes: dict[int, int]) -> None:
        """Set entries of the size vector at input ``i``.

        A computed vector is passed through a Where node that overrides only these entries, so that
        the others still depend on the input sizes.
        """
        if not sizes:
            return
        known = self.value(i)
        if known is not None:
            vector = known.copy()
            for place, size in sizes.items():
                vector[place] = size
            self.set_input(i, vector)
            return
        key = (self.names_in[i], tuple(sorted(sizes.items())))
        if key in self.patches:
            self.node.inputs[i] = self.patches[key]
            return
        length = self.shape_in(i)[0] if self.names_in[i] in self.facts.shapes else 0
        if not length:
            raise PassError(
                "a cut cannot rewrite the sizes of this node, because their number is unknown",
                location=self.model.location(self.node),
            )
        mask, forced = np.zeros(length, bool), np.zeros(length, np.int64)
        for place, size in sizes.items():
            mask[place], forced[place] = True, size
        stem = self._fresh(f"{self.node.name}/sizes")
        patched = gs.Variable(stem, dtype=np.int64)
        where = gs.Node(
            "Where",
            name=f"{stem}/where",
            inputs=[
                gs.Constant(f"{stem}/mask", mask),
                gs.Constant(f"{stem}/forced", forced),
                self.node.inputs[i],
            ],
            outputs=[patched],
        )
        self.before.append(where)
        self.node.inputs[i] = self.patches[key] = patched

    def scale_output(self, j: int, factor: float) -> None:
        """Multiply output ``j`` by a number: a Mul after the node computes the old output."""
        result = self.node.outputs[j]
        stem = self._fresh(f"{self.node.name}/scaled")
        raw = gs.Variable(f"{stem}/raw", dtype=result.dtype)
        dtype = _np_dtype(self.facts.dtypes[self.names_out[j]])
        self.node.outputs[j] = raw
        self.after.append(
            gs.Node(
                "Mul",
                name=stem,
                inputs=[raw, gs.Constant(f"{stem}/factor", np.array(factor, dtype))],
                outputs=[result],
            )
        )


def _np_dtype(elem: int) -> np.dtype[np.generic]:
    return np.dtype({1: np.float32, 10: np.float16, 11: np.float64}[elem])
