"""Extract the branches of an If as models, and put changed branches back.

A branch reads values of the outer graph by name. In the extracted model, these values are graph
inputs; inputs and outputs keep all channels. Outer constants stay constants, and so do sizes that
are the same for every input. Only weights with other consumers become inputs: a cut copy of a
shared weight would make the file larger.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.importers.onnx_importer import OnnxImporter

from acgraph.diagnostics import Location
from acgraph.errors import AcgraphError, ImportModelError, PassError
from acgraph.ir.constants import is_same, replace_constants
from acgraph.ir.facts import FLOAT_TYPES, Facts
from acgraph.ir.model import Array, InputSizes, Model, constant_node_value
from acgraph.ir.names import fresh
from acgraph.ir.odd_values import decode_strings, escape_strings
from acgraph.ir.onnx_io import model_from_proto, proto_from_model
from acgraph.ir.scopes import free_names, made_names, rename_made, subgraphs
from acgraph.ir.shapes import infer_facts, is_static
from acgraph.operators import is_standard

#: The attributes of an If that hold its branches, with their names in paths.
BRANCHES = {"then_branch": "then", "else_branch": "else"}


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of an If of the top graph.

    Attributes:
        node: Name of the If.
        attribute: Name of the attribute that holds the branch.
    """

    node: str
    attribute: str

    @property
    def path(self) -> str:
        """Prefix of the names of its nodes and constants, without the final slash.

        >>> Branch("If_0", "then_branch").path
        'If_0/then'
        """
        return f"{self.node}/{BRANCHES[self.attribute]}"


@dataclass(frozen=True, slots=True, eq=False)
class OpenBranch:
    """A branch and the model extracted from it.

    Attributes:
        branch: The branch.
        model: The extracted model; its inputs are values of the outer graph.
        outer: The constants of the model that the outer graph stores, by name.
        unshared: Names of the outer constants without another consumer: these are changed in the
            outer graph.
        shared: The inputs that are weights with other consumers, by name.
    """

    branch: Branch
    model: Model
    outer: dict[str, onnx.TensorProto]
    unshared: frozenset[str]
    shared: dict[str, Array]


def find_branches(model: Model) -> list[Branch]:
    """Return the branches of the top graph that have weights without other consumers, in order."""
    ifs = [node for node in model.graph.nodes if node.op == "If" and is_standard(node.domain)]
    if not ifs:  # the usual case, in which the constants need no scan
        return []
    readers = _readers(model)
    weights = {
        name for name, tensor in _stored(model).items() if readers[name] == 1 and _is_weight(tensor)
    }
    return [
        branch
        for node in ifs
        for branch in (Branch(node.name, name) for name in BRANCHES)
        if (graph := branch_graph(model, branch)) is not None and _has_weights(graph, weights)
    ]


def _has_weights(graph: onnx.GraphProto, outside: set[str]) -> bool:
    own = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    for node in graph.node:
        own += [attribute.t for attribute in node.attribute if attribute.HasField("t")]
        if any(name in outside for name in node.input):
            return True
        if any(_has_weights(inner, outside) for inner in subgraphs(node)):
            return True
    return any(map(_is_weight, own))


def _is_weight(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type in FLOAT_TYPES and _elements(tensor) > 1


def branch_graph(model: Model, branch: Branch) -> onnx.GraphProto | None:
    """Return the graph of a branch, as read or as last put back; None where there is none."""
    original = model.originals.get(branch.node)
    attributes = original.attribute if original is not None else ()
    return next((a.g for a in attributes if a.name == branch.attribute), None)


def open_branch(model: Model, branch: Branch, facts: Facts, *, decide: bool = False) -> OpenBranch:
    """Extract a branch as a model.

    The inputs have the sizes of the facts. Sizes that depend on open input sizes of ``model`` are
    left open.

    Args:
        model: The model that contains the branch.
        branch: The branch.
        facts: Facts of ``model``.
        decide: Inline nested Ifs with a constant condition. Only for models of fixed input sizes:
            otherwise a size in the facts need not be the same for every input.

    Raises:
        ImportModelError: The type of a value that the branch reads is unknown, or the branch alone
            is no valid model.
    """
    graph = branch_graph(model, branch)
    if graph is None:
        raise ImportModelError("there is no such branch", location=Location(node=branch.node))
    readers = _readers(model)
    stored = _stored(model)
    outer: dict[str, onnx.TensorProto] = {}
    shared: dict[str, Array] = {}
    inputs = []
    for name in sorted(free_names(graph)):
        value = stored.get(name)
        if value is not None and (readers[name] == 1 or not _is_weight(value)):
            outer[name] = value
        elif value is None and name in facts.values and name not in facts.dynamic:
            outer[name] = onnx.numpy_helper.from_array(facts.values[name], name)
        else:
            inputs.append(_input(model, name, facts, value))
            if value is not None:
                shared[name] = onnx.numpy_helper.to_array(value)
    proto = onnx.ModelProto(ir_version=model.graph.ir_version or onnx.IR_VERSION)
    domains = model.graph.import_domains or [onnx.helper.make_opsetid("", model.graph.opset)]
    proto.opset_import.extend(domains)
    proto.graph.CopyFrom(graph)
    proto.graph.name = graph.name or branch.path
    proto.graph.input.extend(inputs)
    proto.graph.initializer.extend(outer.values())
    source = f"{model.source}: {branch.path}"
    inner = model_from_proto(proto, source, decide=decide, is_part=True)
    names = {tensor.name for tensor in inner.graph.inputs}
    inner.sizes = InputSizes({n: s for n, s in facts.shapes.items() if n in names})
    unshared = frozenset(name for name in outer if name in stored and readers[name] == 1)
    return OpenBranch(branch, inner, outer, unshared, shared)


def models_inside(model: Model) -> Iterator[tuple[str, Model]]:
    """Yield the models of all branches that can be extracted, nested ones included.

    Yields:
        The prefix of its names, such as ``If_0/then/``, and the model.
    """
    return _inside(model, is_static(model), "")


def _inside(model: Model, decide: bool, path: str) -> Iterator[tuple[str, Model]]:
    branches = find_branches(model)
    facts = infer_facts(model, assume=True) if branches else Facts()
    for branch in branches:
        try:
            inner = open_branch(model, branch, facts, decide=decide).model
        except AcgraphError:
            continue  # the analysis fences the branch with the reason
        yield f"{path}{branch.path}/", inner
        yield from _inside(inner, decide, f"{path}{branch.path}/")


def _readers(model: Model) -> Counter[str]:
    """Count the consumers of each value: nodes, graph outputs and subgraphs, each once."""
    counts = Counter(tensor.name for tensor in model.graph.outputs)
    for node in model.graph.nodes:
        counts.update({tensor.name for tensor in node.inputs})
        for inner in subgraphs(model.originals.get(node.name, onnx.NodeProto())):
            counts.update(free_names(inner))
    return counts


def _stored(model: Model) -> dict[str, onnx.TensorProto]:
    """Return the constants of the top graph that subgraphs may read."""
    found = dict(model.captured)
    for node in model.graph.nodes:
        if node.op == "Constant" and not node.domain:
            value = constant_node_value(node)
            if value is not None and value.dtype.kind in "biuf":
                name = node.outputs[0].name
                found[name] = onnx.numpy_helper.from_array(value, name)
    return found


def _elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def _input(
    model: Model, name: str, facts: Facts, value: onnx.TensorProto | None
) -> onnx.ValueInfoProto:
    """Return the type of an outer value, with the sizes that are the same for every input."""
    kind = facts.dtypes.get(name, _declared(model, name)) if value is None else value.data_type
    if not kind:
        raise ImportModelError(
            f"the type of '{name}', which the branch reads, is unknown",
            location=model.location(value=name),
        )
    shape = facts.shapes.get(name) if value is None else tuple(value.dims)
    if shape is None or name in facts.assumed:
        sizes: list[int | None] | None = None if shape is None else [None] * len(shape)
        return onnx.helper.make_tensor_value_info(name, kind, sizes)
    fixed = facts.fixed_axes.get(name, (True,) * len(shape))
    sizes = [size if keeps else None for size, keeps in zip(shape, fixed, strict=True)]
    return onnx.helper.make_tensor_value_info(name, kind, sizes)


def _declared(model: Model, name: str) -> int:
    """Return the declared ONNX type number of a value; 0 where there is none."""
    tensor = model.graph.tensors().get(name)
    kind = tensor.dtype if tensor is not None else None
    if kind is None or isinstance(kind, int):
        return kind or 0
    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind)))


def put_branch(model: Model, opened: OpenBranch, inner: Model) -> None:
    """Put a changed branch back into the model, in place.

    A changed outer constant is replaced in the outer graph where it has no other consumer, else it
    becomes a constant of the branch. New values of the branch get names that are unique in
    ``model``.

    Args:
        model: The model that contains the branch, with the same names as when it was extracted.
        opened: The extracted branch.
        inner: The changed model of the branch.
    """
    branch = opened.branch
    old = branch_graph(model, branch)
    node = next((node for node in model.graph.nodes if node.name == branch.node), None)
    if old is None or node is None:
        raise PassError("the branch no longer exists", location=model.location(value=branch.path))
    graph = proto_from_model(inner).graph
    changed = _remove_outer_constants(graph, opened)
    outside = {name: tensor for name, tensor in changed.items() if name in opened.unshared}
    _replace_stored(model, outside)
    taken = set(_all_names(model))
    new = {name for name in made_names(graph) if name in taken} - set(made_names(old))
    new |= changed.keys() - outside.keys()
    for name in changed.keys() - outside.keys():
        graph.initializer.append(changed[name])
    rename_made(graph, {name: fresh(f"{branch.path}/{name}", taken) for name in sorted(new)})
    graph.name, graph.doc_string = old.name, old.doc_string
    graph.metadata_props.extend(old.metadata_props)
    original = onnx.NodeProto()
    original.CopyFrom(model.originals[branch.node])
    next(a for a in original.attribute if a.name == branch.attribute).g.CopyFrom(graph)
    model.originals[branch.node] = original
    node.attrs[branch.attribute] = _imported(model, graph)


def _remove_outer_constants(
    graph: onnx.GraphProto, opened: OpenBranch
) -> dict[str, onnx.TensorProto]:
    """Remove the outer constants from the graph of a branch; return those whose values changed."""
    inside = {tensor.name: tensor for tensor in graph.initializer if tensor.name in opened.outer}
    kept = [tensor for tensor in graph.initializer if tensor.name not in inside]
    changed = {}
    for name, tensor in inside.items():
        before, after = (onnx.numpy_helper.to_array(each) for each in (opened.outer[name], tensor))
        if not is_same(before, after):
            changed[name] = onnx.TensorProto.FromString(tensor.SerializeToString())
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.input[:]
    return changed


def _replace_stored(model: Model, tensors: Mapping[str, onnx.TensorProto]) -> None:
    for name, tensor in tensors.items():
        if name in model.captured:
            model.captured[name] = tensor
    replace_constants(model, {n: onnx.numpy_helper.to_array(t) for n, t in tensors.items()})


def _all_names(model: Model) -> Iterator[str]:
    """Yield the names of all values in a model, including its subgraphs."""
    yield from model.graph.tensors()
    yield from model.captured
    for node in model.graph.nodes:
        for inner in subgraphs(model.originals.get(node.name, onnx.NodeProto())):
            yield from made_names(inner)


def _imported(model: Model, graph: onnx.GraphProto) -> gs.Graph:
    """Import a branch into onnx-graphsurgeon as part of the model."""
    around = {name: OnnxImporter.import_tensor(tensor) for name, tensor in model.captured.items()}
    wrapped = onnx.ModelProto(graph=graph)
    found = OnnxImporter.import_graph(
        escape_strings(wrapped).graph,
        {**around, **model.graph.tensors()},
        opset=model.graph.opset,
        import_domains=model.graph.import_domains,
    )
    decode_strings(found)
    return found
