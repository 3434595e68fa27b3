"""Read and write ONNX files: models are checked, nodes are named, and writing is atomic."""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.inliner
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.logger import G_LOGGER

from acgraph.diagnostics import Location, counted
from acgraph.errors import ImportModelError, OutputError
from acgraph.ir.conditions import decided_branches
from acgraph.ir.ends import complete_ends
from acgraph.ir.files import is_device, not_onnx, require_file, write_bytes, written_beside
from acgraph.ir.foreign import importing
from acgraph.ir.inline_branches import inline_branches
from acgraph.ir.mapped import Views, attach, checkable, is_large, read_mapped
from acgraph.ir.microsoft import expand_operators, expanded_remark
from acgraph.ir.model import Model
from acgraph.ir.names import fresh
from acgraph.ir.odd_values import (
    decode_strings,
    escape_strings,
    exportable,
)
from acgraph.ir.originals import lost_parts, put_back
from acgraph.ir.plausible import check_plausible
from acgraph.ir.sparse import make_dense
from acgraph.ir.tidy import tidy
from acgraph.ir.validity import check_proto

# onnx-graphsurgeon logs to standard output, which is reserved for results.
G_LOGGER.severity = G_LOGGER.CRITICAL

#: Larger models are written with external data (protobuf's limit is 2 GiB).
EXTERNAL_BYTES = 2**31 - 2**20


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read an ONNX file, or standard input for ``-``.

    The weights of large files are mapped into memory, not loaded.

    Raises:
        ImportModelError: There is no such file, or it is not a valid ONNX model.
    """
    with importing(Location(model=os.fspath(path))):
        proto, remarks, views = _read(path, mapped=True)
        model = model_from_proto(proto, source=os.fspath(path), views=views)
    model.remarks[:0] = remarks
    return model


def read_proto(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Read and check an ONNX file, including external data.

    Deviations from the standard that ONNX Runtime accepts are corrected; see ``acgraph.ir.tidy``.
    """
    with importing(Location(model=os.fspath(path))):
        return _read(path)[0]


def _read(
    path: str | os.PathLike[str], *, mapped: bool = False
) -> tuple[onnx.ModelProto, list[str], Views]:
    name = os.fspath(path)
    views: Views = {}
    where = Location(model=name)
    if name == "-":
        proto = onnx.load_model_from_string(sys.stdin.buffer.read())
    else:
        require_file(name)
        if mapped and is_large(Path(name)):
            proto, views = read_mapped(Path(name))
        else:
            proto = onnx.load(name)
    check_plausible(proto, where)
    proto, remarks = tidy(proto, in_place=True)
    with checkable(proto, views):
        check_importable(proto, where)
    return proto, remarks, views


def proto_size(proto: onnx.ModelProto) -> int:
    """Return the bytes of a proto; above protobuf's limit, those of its weights alone."""
    weights = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    return weights if weights >= EXTERNAL_BYTES else int(proto.ByteSize())


def check_importable(proto: onnx.ModelProto, where: Location) -> None:
    """Check that a proto is a valid model.

    Raises:
        ImportModelError: It is not.
    """
    if not proto.HasField("graph") or not proto.opset_import:
        raise not_onnx(where.model)
    if not proto.graph.node:
        raise ImportModelError("the graph has no nodes", location=where, hint="export it again")
    if proto_size(proto) >= EXTERNAL_BYTES:
        return  # the checker needs a file for models of this size; ONNX Runtime checks them
    with importing(where):
        check_proto(proto)


def model_from_proto(
    proto: onnx.ModelProto,
    source: str = "<memory>",
    *,
    views: Views | None = None,
    decide: bool = True,
    is_part: bool = False,
) -> Model:
    """Import a proto, which is not changed: inline functions and name all nodes.

    Initializers that are also inputs become plain constants, deviations from the standard are
    corrected, and an If with a constant condition is replaced by its branch. Inputs and outputs
    without a shape get the shape that can be inferred. ``Model.remarks`` lists these changes.

    Args:
        proto: The model.
        source: Name of the model in messages.
        views: The values of initializers that are empty in the proto.
        decide: Replace Ifs with a constant condition.
        is_part: The proto is a part of a model, so remarks on missing shapes are left out.
    """
    proto, remarks = _prepared(proto, Location(model=source))
    model = _import(proto, source, views or {})
    inlined: list[str] = []
    while decide and (branches := decided_branches(model, proto)):
        if not inlined:  # the proto of the caller is not changed
            proto = onnx.ModelProto.FromString(proto.SerializeToString())
        inlined += inline_branches(proto, branches)
        model = _import(proto, source, views or {})
    if inlined:
        count = counted(len(inlined), "If")
        remarks.append(
            f"{count} with a constant condition replaced by the branch taken: {', '.join(inlined)}"
        )
    model.remarks[:0] = remarks
    found = complete_ends(model, proto.graph)
    model.remarks += [] if is_part else found
    return model


def _prepared(proto: onnx.ModelProto, where: Location) -> tuple[onnx.ModelProto, list[str]]:
    """Inline functions, correct deviations, and remove inputs that are initializers."""
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    proto, remarks = tidy(proto)
    if proto.graph.sparse_initializer:
        dense = onnx.ModelProto()
        dense.CopyFrom(proto)
        proto = dense
        remarks = [*remarks, *make_dense(proto, where)]
    initializers = {t.name for t in proto.graph.initializer}
    doubled = [i.name for i in proto.graph.input if i.name in initializers]
    if doubled:
        kept = [i for i in proto.graph.input if i.name not in initializers]
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
        del copy.graph.input[:]
        copy.graph.input.extend(kept)
        copy.ir_version = max(copy.ir_version, 4)
        proto = copy
        count = counted(len(doubled), "graph input")
        remarks.append(f"{count} with an initializer removed: the initializer is a constant now")
    return proto, remarks


def _import(proto: onnx.ModelProto, source: str, views: Views) -> Model:
    """Import a model into onnx-graphsurgeon, and keep the parts that it loses."""
    graph = gs.import_onnx(escape_strings(proto))
    attach(graph, views)
    decode_strings(graph)
    originals = {}
    taken = {node.name for node in graph.nodes if node.name}
    seen: set[str] = set()
    for index, (node, raw) in enumerate(zip(graph.nodes, proto.graph.node, strict=True)):
        if not node.name or node.name in seen:
            node.name = fresh(node.name or f"{node.op}_{index}", taken)
            taken.add(node.name)
        seen.add(node.name)
        lost = lost_parts(raw)
        if lost is not None:
            originals[node.name] = lost
    metadata = {prop.key: prop.value for prop in proto.metadata_props}
    inner = {name for raw in proto.graph.node for name in _names_in_subgraphs(raw)}
    expanded = expand_operators(graph)
    return Model(
        graph=graph,
        source=source,
        metadata=metadata,
        originals=originals,
        captured={t.name: t for t in proto.graph.initializer if t.name in inner},
        remarks=[expanded_remark(expanded)] if expanded else [],
        expanded=dict(expanded),
    )


def _names_in_subgraphs(node: onnx.NodeProto) -> Iterator[str]:
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            yield from (output.name for output in graph.output)
            for inner in graph.node:
                yield from inner.input
                yield from _names_in_subgraphs(inner)


def proto_from_model(model: Model) -> onnx.ModelProto:
    """Export a model to a proto, and restore the parts that onnx-graphsurgeon loses."""
    with exportable(model.graph.nodes, model.graph.outputs):
        proto: onnx.ModelProto = gs.export_onnx(model.graph, do_type_check=False)
    for node, source in zip(proto.graph.node, model.graph.nodes, strict=True):
        put_back(node, source, model.originals.get(node.name))
    present = {tensor.name for tensor in proto.graph.initializer}
    proto.graph.initializer.extend(
        tensor for name, tensor in model.captured.items() if name not in present
    )
    del proto.metadata_props[:]
    for key, value in model.metadata.items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def clone_model(model: Model) -> Model:
    """Copy a model; constants are shared, since they are replaced and never written in place."""
    graph = model.graph.copy()
    graph.producer_name = model.graph.producer_name  # the copy lacks these two
    graph.producer_version = model.graph.producer_version
    return Model(
        graph=graph,
        source=model.source,
        metadata=dict(model.metadata),
        originals=dict(model.originals),
        captured=dict(model.captured),
        remarks=list(model.remarks),
        expanded=dict(model.expanded),
        sizes=model.sizes,
        digest=model.digest,
        bounds=model.bounds,
    )


def write_proto(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> int:
    """Write a proto atomically, or to standard output for ``-``; return the number of bytes.

    A proto above 2 GiB is changed: its weights are moved to external data.

    Raises:
        OutputError: The file cannot be written.
    """
    name = os.fspath(path)
    if name != "-" and proto_size(proto) >= EXTERNAL_BYTES:
        if is_device(name):
            raise OutputError(
                "a model above 2 GiB needs external data, which cannot be written beside a device",
                location=Location(model=name),
                hint="name a file with -o",
            )
        return _write_external(proto, Path(name))
    data = proto.SerializeToString(deterministic=True)
    if name == "-":
        sys.stdout.buffer.write(data)
    else:
        write_bytes(data, name)
    return len(data)


def _write_external(proto: onnx.ModelProto, target: Path) -> int:
    """Write a model and its external data to a temporary folder, then move both into place."""
    data_name = target.name + ".data"
    with written_beside(target) as folder:
        whole, data = folder / target.name, folder / data_name
        onnx.save_model(
            proto, str(whole), save_as_external_data=True, location=data_name, size_threshold=1024
        )
        size = whole.stat().st_size + data.stat().st_size
        data.replace(target.parent / data_name)
        whole.replace(target)
    return size


def count_params(proto: onnx.ModelProto) -> int:
    """Count the elements of every constant tensor of a proto, index tensors and subgraphs included.

    These are initializers, sparse initializers (values and indices) and the tensors of Constant
    nodes.
    """
    return _count_graph(proto.graph) + sum(
        _count_nodes(function.node) for function in proto.functions
    )


def _count_graph(graph: onnx.GraphProto) -> int:
    dense = sum(int(np.prod(t.dims, dtype=np.int64)) for t in graph.initializer)
    sparse = sum(
        int(np.prod(t.values.dims, dtype=np.int64)) + int(np.prod(t.indices.dims, dtype=np.int64))
        for t in graph.sparse_initializer
    )
    return dense + sparse + _count_nodes(graph.node)


def _count_nodes(nodes: Iterable[onnx.NodeProto]) -> int:
    total = 0
    for node in nodes:
        for attribute in node.attribute:
            if node.op_type == "Constant" and not node.domain:
                total += _count_constant(attribute)
            if attribute.type == onnx.AttributeProto.GRAPH:
                total += _count_graph(attribute.g)
            total += sum(map(_count_graph, attribute.graphs))
    return total


def _count_constant(attribute: onnx.AttributeProto) -> int:
    name = attribute.name
    if name == "value":
        return int(np.prod(attribute.t.dims, dtype=np.int64))
    if name in ("value_int", "value_float", "value_string"):
        return 1
    return len(attribute.ints) + len(attribute.floats) + len(attribute.strings)
