"""The model: an onnx-graphsurgeon graph and what onnx-graphsurgeon would lose."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from acgraph.diagnostics import Location, counted
from acgraph.ir.bounds import LayerBound
from acgraph.ir.lazy import Array as Array
from acgraph.ir.lazy import Computed, lazy_values, stored_bytes

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InputSizes:
    """The sizes that the inputs of a model have throughout a run.

    Attributes:
        shapes: Of every input whose rank is known.
        assumed: The inputs with a size, other than the batch, that nobody stated.
        doubt: Why the model may not run at these sizes; empty where nothing speaks against them.
        bound: The batch that the graph is bound to by its constants, though the file leaves it
            open; None where nothing binds it.
    """

    shapes: Mapping[str, Shape]
    assumed: tuple[str, ...] = ()
    doubt: str = ""
    bound: int | None = None

    def remark(self) -> str:
        """Say in one line what was assumed; nothing where nothing was.

        >>> InputSizes({"x": (1, 3, 224, 224)}, ("x",)).remark()
        "input 'x' has unknown sizes; assuming 1x3x224x224, see --input-shape"
        """
        if not self.assumed:
            return ""
        names = ", ".join(f"'{name}'" for name in self.assumed)
        shapes = ", ".join("x".join(map(str, self.shapes[name])) for name in self.assumed)
        subject = f"inputs {names} have" if len(self.assumed) > 1 else f"input {names} has"
        doubt = f", and no common ones fit ({self.doubt})" if self.doubt else ""
        return f"{subject} unknown sizes{doubt}; assuming {shapes}, see --input-shape"


@dataclass(slots=True, repr=False)
class Model:
    """A mutable graph with its source and the parts kept byte for byte.

    Attributes:
        graph: The editable graph. Every node has a unique name.
        source: What to call the model in messages, usually its path.
        metadata: The model's ``metadata_props``.
        originals: What onnx-graphsurgeon would lose of a node as it was read (subgraphs, empty
            lists, notes), by the name of the node; put back when it is written. It says nothing of
            the rest of the node, whose inputs, outputs and other attributes may have changed.
        captured: Initializers that subgraphs read from outside, by name; onnx-graphsurgeon copies
            them into each branch and forgets the one outside.
        remarks: What import had to change, for the report.
        expanded: Operators of ONNX Runtime that import replaced by standard ones, and how many.
        sizes: The sizes of its inputs in this run; None before they are settled.
        digest: SHA-256 of the bytes that the model was read from, where it was not a file.
        bounds: By node name: how much of the layer the user wants to keep.
    """

    graph: gs.Graph
    source: str = "<memory>"
    metadata: dict[str, str] = field(default_factory=dict)
    originals: dict[str, onnx.NodeProto] = field(default_factory=dict)
    captured: dict[str, onnx.TensorProto] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    expanded: dict[str, int] = field(default_factory=dict)
    sizes: InputSizes | None = None
    digest: str = ""
    bounds: Mapping[str, LayerBound] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Say what it is in one line: the graph itself takes pages."""
        names = ", ".join(tensor.name for tensor in self.graph.inputs)
        nodes = counted(len(self.graph.nodes), "node")
        return f"Model({self.source!r}, {nodes}, opset {self.graph.opset}, inputs {names})"

    def location(self, node: gs.Node | None = None, **where: object) -> Location:
        """Say where in this model something is."""
        value = str(where.get("value", ""))
        axis = where.get("axis")
        return Location(
            model=self.source,
            node=node.name if node is not None else "",
            op_type=node.op if node is not None else "",
            value=value,
            axis=axis if isinstance(axis, int) else None,
        )

    def constants(self) -> Mapping[str, Array]:
        """Map the name of every constant of the top graph to its values (not a copy).

        Initializers and the outputs of Constant nodes alike. They stay as they are now whatever
        becomes of the model. Values that are computed are so whenever they are asked for.
        """
        return _Constants({name: lazy_values(x) for name, x in _constants(self.graph)})

    def constant_forms(self) -> dict[str, tuple[str, Shape]]:
        """Map the name of every constant of the top graph to its type and shape."""
        return {
            name: (str(held.dtype if isinstance(held.dtype, int) else np.dtype(held.dtype).name),
                   tuple(held.shape))
            for name, held in _constants(self.graph)
        }  # fmt: skip

    def constant_bytes(self) -> int:
        """Return how many bytes the constants of the top graph take."""
        held = dict(_constants(self.graph)).values()
        return sum(x.nbytes if isinstance(x, np.ndarray) else stored_bytes(x) for x in held)


class _Constants(Mapping[str, Array]):
    """The values of constants; those that are computed are not kept."""

    def __init__(self, held: Mapping[str, "Array | Computed"]) -> None:
        self._held = held

    def __getitem__(self, name: str) -> Array:
        found = self._held[name]
        return found.load() if isinstance(found, Computed) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def _constants(graph: gs.Graph) -> Iterator[tuple[str, "Array | gs.Constant"]]:
    seen: set[str] = set()
    for node in graph.nodes:
        if node.op == "Constant" and not node.domain and node.outputs:
            value = constant_node_value(node)
            if value is not None:
                yield node.outputs[0].name, value
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and tensor.name not in seen:
                seen.add(tensor.name)
                yield tensor.name, tensor
    for tensor in graph.outputs:
        if isinstance(tensor, gs.Constant) and tensor.name not in seen:
            seen.add(tensor.name)
            yield tensor.name, tensor


def constant_node_value(node: gs.Node) -> Array | None:
    """Return the array of a Constant node, or None where it holds no dense numbers."""
    for key, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if key in node.attrs:
            return np.asarray(node.attrs[key], dtype=dtype)
    value = node.attrs.get("value")
    if isinstance(value, gs.Constant):
        return np.asarray(value.values)
    return None
