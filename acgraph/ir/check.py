"""Invariants of a model between passes: validity, and unchanged inputs and outputs."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.checker
import onnx_graphsurgeon as gs

from acgraph.diagnostics import on_one_line
from acgraph.errors import VerifyError
from acgraph.ir.model import Model
from acgraph.ir.onnx_io import EXTERNAL_BYTES, proto_from_model, proto_size
from acgraph.ir.shapes import walk_shapes
from acgraph.ir.sizes import input_sizes
from acgraph.ir.uses import node_captures
from acgraph.ir.validity import check_proto

Signature = tuple[str, int | None, tuple[int, ...] | None]


@dataclass(frozen=True, slots=True)
class Interface:
    """Names, types and concrete shapes of the inputs and outputs of a model."""

    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]


def interface(model: Model) -> Interface:
    """Return the interface of a model."""
    facts = walk_shapes(model, input_sizes(model).shapes)  # other sizes do not matter here

    def signature(tensor: gs.Tensor) -> Signature:
        return tensor.name, facts.dtypes.get(tensor.name), facts.shapes.get(tensor.name)

    return Interface(
        inputs=tuple(signature(t) for t in model.graph.inputs),
        outputs=tuple(signature(t) for t in model.graph.outputs),
    )


def fingerprint(model: Model) -> str:
    """Return the SHA-256 of the serialised model, weights included, in hexadecimal digits."""
    proto = proto_from_model(model)
    digest = hashlib.sha256()
    for tensor in proto.graph.initializer:
        digest.update(tensor.SerializeToString(deterministic=True))
    del proto.graph.initializer[:]
    digest.update(proto.SerializeToString(deterministic=True))
    return digest.hexdigest()


def source_digest(model: Model) -> str:
    """Return the SHA-256 of the source of a model, in hexadecimal digits.

    The source is the file or the bytes that it was read from, else the graph.
    """
    if model.digest:
        return model.digest
    path = Path(model.source)
    if not path.is_file():
        return fingerprint(model)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_model(model: Model) -> None:
    """Check that a model is valid.

    Node names are unique, every tensor is produced once and before its consumers (subgraphs
    included), every output has a producer, and ``onnx.checker`` accepts the exported file.

    Raises:
        VerifyError: It is not; the error names the node and the tensor.
    """
    _check_names(model)
    _check_order(model)
    proto = proto_from_model(model)
    if proto_size(proto) >= EXTERNAL_BYTES:
        return  # the checker supports no proto of this size; it is written with external data
    try:
        check_proto(proto)
    except onnx.checker.ValidationError as error:
        raise VerifyError(
            f"onnx.checker: {on_one_line(error)}", location=model.location()
        ) from error


def check_interface(model: Model, before: Interface) -> None:
    """Check that the inputs and outputs of a model are unchanged.

    Raises:
        VerifyError: An input or output was added, removed, or changed its type or shape.
    """
    after = interface(model)
    for kind, old, new in (
        ("input", before.inputs, after.inputs),
        ("output", before.outputs, after.outputs),
    ):
        if [s[0] for s in old] != [s[0] for s in new]:
            raise VerifyError(
                f"the {kind}s changed from {[s[0] for s in old]} to {[s[0] for s in new]}",
                location=model.location(),
            )
        for was, now in zip(old, new, strict=True):
            if was != now:
                raise VerifyError(
                    f"this {kind} changed from type {was[1]} and shape {was[2]} to {now[1]} and "
                    f"{now[2]}",
                    location=model.location(value=was[0]),
                )


def _check_names(model: Model) -> None:
    counts = Counter(node.name for node in model.graph.nodes)
    for node in model.graph.nodes:
        if not node.name:
            raise VerifyError(f"a {node.op} node has no name", location=model.location())
        if counts[node.name] > 1:
            raise VerifyError(
                f"{counts[node.name]} nodes have this name", location=model.location(node)
            )


def _check_order(model: Model) -> None:
    graph = model.graph
    made: dict[str, gs.Tensor] = {}
    for tensor in graph.inputs:
        _make(model, None, tensor, made)
    for node in graph.nodes:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and tensor.name not in made:
                made[tensor.name] = tensor
            _check_read(model, node, tensor, made)
        for name in node_captures(node):
            if name not in made:
                raise VerifyError(
                    "its subgraph reads this value before it is produced",
                    location=model.location(node, value=name),
                )
        for tensor in node.outputs:
            _make(model, node, tensor, made)
    for tensor in graph.outputs:
        if tensor.name not in made and not isinstance(tensor, gs.Constant):
            raise VerifyError(
                "no node produces this output", location=model.location(value=tensor.name)
            )


def _check_read(model: Model, node: gs.Node, tensor: gs.Tensor, made: dict[str, gs.Tensor]) -> None:
    if not tensor.name:
        return  # an optional input left out
    where = model.location(node, value=tensor.name)
    if tensor.name not in made:
        raise VerifyError("it is read before it is produced", location=where)
    if made[tensor.name] is not tensor:
        raise VerifyError("two different tensors have this name", location=where)


def _make(
    model: Model, node: gs.Node | None, tensor: gs.Tensor, made: dict[str, gs.Tensor]
) -> None:
    if not tensor.name:
        return
    if tensor.name in made:
        raise VerifyError("it is produced twice", location=model.location(node, value=tensor.name))
    made[tensor.name] = tensor
