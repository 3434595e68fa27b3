"""The model: an onnx-graphsurgeon graph, and the parts that onnx-graphsurgeon does not keep."""

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
    """The sizes of the inputs of a model during a run.

    Attributes:
        shapes: Shapes of the inputs of known rank.
        assumed: The inputs with an assumed size other than the batch size.
        contradiction: Why the model may not run at these sizes; empty where no reason is known.
        fixed_batch: The batch size that constants of the graph fix although the file leaves it
            open; None where they do not.
    """

    shapes: Mapping[str, Shape]
    assumed: tuple[str, ...] = ()
    contradiction: str = ""
    fixed_batch: int | None = None

    def remark(self) -> str:
        """Describe the assumed sizes in one line; empty where nothing was assumed.

        >>> InputSizes({"x": (1, 3, 224, 224)}, ("x",)).remark()
        "input 'x' has unknown sizes; assuming 1x3x224x224, see --input-shape"
        """
        if not self.assumed:
            return ""
        names = ", ".join(f"'{name}'" for name in self.assumed)
        shapes = ", ".join("x".join(map(str, self.shapes[name])) for name in self.assumed)
        subject = f"inputs {names} have" if len(self.assumed) > 1 else f"input {names} has"
        wrong = f", and no common ones fit ({self.contradiction})" if self.contradiction else ""
        return f"{subject} unknown sizes{wrong}; assuming {shapes}, see --input-shape"


@dataclass(slots=True, repr=False)
class Model:
    """A mutable graph with its source, and the parts that are kept byte for byte.

    Attributes:
        graph: The editable graph. Every node has a unique name.
        source: Name of the model in messages, usually its path.
        metadata: The model's ``metadata_props``.
        originals: The parts of a node that onnx-graphsurgeon does not keep (subgraphs, empty lists,
            metadata), by node name. They are restored when the model is written. The inputs,
            outputs and other attributes of the node may have changed since.
        captured: Initializers of the top graph that subgraphs read, by name. onnx-graphsurgeon
            copies them into each branch and drops the outer one.
        remarks: Changes made by the import, for the report.
        expanded: Number of operators of ONNX Runtime that the import replaced by standard ones, by
            operator.
        sizes: The sizes of its inputs in this run; None until they are chosen.
        digest: SHA-256 of the bytes that the model was read from, where it was not a file.
        bounds: The least part of a layer that the user wants to keep, by node name.
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
        """Return one line: the default would print the whole graph."""
        names = ", ".join(tensor.name for tensor in self.graph.inputs)
        nodes = counted(len(self.graph.nodes), "node")
        return f"Model({self.source!r}, {nodes}, opset {self.graph.opset}, inputs {names})"

    def location(self, node: gs.Node | None = None, **where: object) -> Location:
        """Return a location in this model, for messages."""
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

        Contains initializers and the outputs of Constant nodes. Later changes of the model do not
        change the mapping. Lazy values are computed at each access.
        """
        return _Constants({name: lazy_values(x) for name, x in _constants(self.graph)})

    def constant_forms(self) -> dict[str, tuple[str, Shape]]:
        """Map the name of every constant of the top graph to its type and shape."""
        return {
            name: (str(value.dtype if isinstance(value.dtype, int) else np.dtype(value.dtype).name),
                   tuple(value.shape))
            for name, value in _constants(self.graph)
        }  # fmt: skip

    def constant_bytes(self) -> int:
        """Return the bytes of the constants of the top graph."""
        constants = dict(_constants(self.graph)).values()
        return sum(x.nbytes if isinstance(x, np.ndarray) else stored_bytes(x) for x in constants)


class _Constants(Mapping[str, Array]):
    """The values of constants; lazy ones are computed at each access."""

    def __init__(self, values: Mapping[str, "Array | Computed"]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Array:
        found = self._values[name]
        return found.load() if isinstance(found, Computed) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


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
    """Return the value of a Constant node, or None where it is not a dense numeric tensor."""
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
