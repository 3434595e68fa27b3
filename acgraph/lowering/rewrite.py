"""Insert a fragment into a graph in place of a node, or make it a model of its own."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from acgraph.ir import Model, in_c_order
from acgraph.ir.names import fresh
from acgraph.ir.uses import captured_names
from acgraph.lowering.candidates import StoredConstants
from acgraph.lowering.fragment import INPUT, Fragment, Index, Operand, Weights

#: Prefix of the names of shared integer constants.
POOL = "lowering/"
#: Longest integer constant whose values are spelled out in its name.
SPELLED_OUT = 8


@dataclass(slots=True)
class ConstantPool:
    """The constants that lowering added to one graph, shared by content, and the used names.

    Attributes:
        taken: Names of tensors.
        indices: Integer constants by ``Index.key``.
        weights: New weights by ``Weights.stem``, then by ``Weights.key``.
    """

    taken: set[str]
    indices: dict[object, gs.Constant] = field(default_factory=dict)
    weights: dict[str, dict[object, gs.Constant]] = field(default_factory=dict)

    @staticmethod
    def of(graph: gs.Graph) -> "ConstantPool":
        """Make the pool of a graph, with the constants of earlier lowering."""
        tensors = graph.tensors()
        pool = ConstantPool(set(tensors))
        for name, tensor in tensors.items():
            if name.startswith(POOL) and isinstance(tensor, gs.Constant):
                pool.indices[Index(tensor.values).key] = tensor
        return pool

    def index(self, index: Index) -> gs.Constant:
        """Return the shared constant; create it where it is missing."""
        if index.key not in self.indices:
            name = self.fresh(f"{POOL}{_index_name(index)}")
            self.indices[index.key] = gs.Constant(name, index.values)
        return self.indices[index.key]

    def weight(self, weights: Weights) -> gs.Constant:
        """Return the constant with these weights, one for all layers with equal weights."""
        of_name = self.weights.setdefault(weights.stem, {})
        key = weights.key
        if key not in of_name:
            of_name[key] = gs.Constant(self.fresh(weights.stem), in_c_order(weights.values))
        return of_name[key]

    @property
    def stored(self) -> StoredConstants:
        """The constants that candidates can reuse."""
        return StoredConstants(self.indices, self.weights)

    def fresh(self, stem: str) -> str:
        """Return an unused name and reserve it."""
        return fresh(stem, self.taken)


def _index_name(index: Index) -> str:
    values = index.values.ravel().tolist()
    if len(values) <= SPELLED_OUT:
        return f"{index.values.dtype.name}[{','.join(map(str, values))}]"
    digest = hashlib.sha256(index.values.tobytes()).hexdigest()[:12]
    return f"{index.values.dtype.name}[{len(values)}].{digest}"


def replace_node(
    model: Model, node: gs.Node, fragment: Fragment, weight_input: int, pool: ConstantPool
) -> None:
    """Replace a layer by a fragment; the nodes are named ``LAYER/STEP``.

    Also removes the Identity, Transpose and Constant nodes that are dead afterwards.

    Args:
        model: The model, changed in place.
        node: The layer.
        fragment: The equivalent nodes.
        weight_input: Index of the weight among the node's inputs.
        pool: The constants that lowering added to the graph.
    """
    graph = model.graph
    data, output = node.inputs[1 - weight_input], node.outputs[0]
    operands = list(node.inputs)
    kept = {tensor.name: tensor for tensor in operands}
    node.inputs.clear()
    node.outputs.clear()
    new = _nodes(fragment, node.name, data, output, kept, pool)
    place = next(i for i, other in enumerate(graph.nodes) if other is node)
    graph.nodes[place : place + 1] = new
    model.originals.pop(node.name, None)
    for tensor in operands:
        if tensor is not data:
            _drop_unread(model, tensor)


def _drop_unread(model: Model, tensor: gs.Tensor) -> None:
    """Remove the producers of a constant that has no consumer left."""
    graph = model.graph
    if tensor.outputs or not tensor.inputs:
        return
    if any(tensor is output for output in graph.outputs) or tensor.name in captured_names(graph):
        return
    maker = tensor.inputs[0]
    if maker.op not in ("Constant", "Identity", "Transpose"):
        return
    sources = list(maker.inputs)
    maker.inputs.clear()
    maker.outputs.clear()
    graph.nodes[:] = [other for other in graph.nodes if other is not maker]
    model.originals.pop(maker.name, None)
    for source in sources:
        _drop_unread(model, source)


def _nodes(
    fragment: Fragment,
    layer: str,
    data: gs.Tensor,
    output: gs.Tensor,
    kept: Mapping[str, gs.Tensor],
    pool: ConstantPool,
) -> list[gs.Node]:
    values: dict[str, gs.Tensor] = {INPUT: data, "": gs.Variable.empty()}
    weights: dict[int, gs.Tensor] = {}

    def tensor_of(operand: Operand) -> gs.Tensor:
        if isinstance(operand, str):
            return values[operand]
        if isinstance(operand, Index):
            return pool.index(operand)
        if not operand.suffix and operand.source in kept:
            return kept[operand.source]
        if id(operand) not in weights:
            weights[id(operand)] = pool.weight(operand)
        return weights[id(operand)]

    nodes = []
    for step in fragment.steps:
        is_last = step is fragment.steps[-1]
        name = f"{layer}/{step.name}"
        made = output if is_last else gs.Variable(pool.fresh(f"{name}_output"), fragment.dtype)
        values[step.name] = made
        inputs = [tensor_of(operand) for operand in step.operands]
        nodes.append(
            gs.Node(step.op, name=name, attrs=dict(step.attrs), inputs=inputs, outputs=[made])
        )
    return nodes


def fragment_model(fragment: Fragment, name: str = "layer", *, activation: bool = False) -> Model:
    """Make a model of one fragment, with input ``x`` and output ``y``.

    Args:
        fragment: The nodes.
        name: Prefix of the node names.
        activation: Append a Relu, as in most networks: runtimes fuse it, and they fuse a sum into a
            convolution only where the result is not a graph output.
    """
    data = gs.Variable(INPUT, fragment.dtype, list(fragment.input_shape))
    output = gs.Variable("y", fragment.dtype, list(fragment.steps[-1].shape))
    pool = ConstantPool(taken={INPUT, "y", "sum"})
    made = gs.Variable("sum", fragment.dtype) if activation else output
    nodes = _nodes(fragment, name, data, made, {}, pool)
    if activation:
        nodes.append(gs.Node("Relu", name=f"{name}/relu", inputs=[made], outputs=[output]))
    graph = gs.Graph(nodes, inputs=[data], outputs=[output], name=name, opset=fragment.opset)
    return Model(graph=graph, source=f"<{name}>")
