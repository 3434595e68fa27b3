"""Print a model as deterministic text, and read models from ONNX text.

Each line is a node, in graph order, with the name of the node at the end::

    graph "g" opset 17
    input %x: float32[1, 3, 8, 8]
    %w = const float32[4, 3, 3, 3] #5f70bf18
    %c: float32[1, 4, 8, 8] = Conv(%x, %w) {pads=[1, 1, 1, 1]} @conv1
    %y: float32[1, 192] = Reshape(%c, int64[2] {1, 192}) @flat
    output %y

Small constants are printed inline. Large ones are printed by their shape and the first eight digits
of the SHA-256 of their bytes.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.parser
import onnx_graphsurgeon as gs

from acgraph.diagnostics import Location, printable
from acgraph.errors import ImportModelError
from acgraph.ir.foreign import importing
from acgraph.ir.model import Array, Model, constant_node_value
from acgraph.ir.odd_values import array_bytes
from acgraph.ir.onnx_io import model_from_proto
from acgraph.ir.plausible import check_plausible
from acgraph.operators import is_standard

#: Constants of up to this many elements are printed in full.
INLINE_ELEMENTS = 8

_PLAIN = re.compile(r"[\w./:\-]+")


def model_from_text(text: str, source: str = "<text>") -> Model:
    """Read a model in the text format of ONNX (``onnx.parser``); ``#`` begins a comment.

    Raises:
        ImportModelError: The text is not a valid model.
    """
    where = Location(model=source)
    with importing(where):
        try:
            proto = onnx.parser.parse_model(text)
        except onnx.parser.ParseError as error:
            raise ImportModelError(_parse_message(error), location=where) from error
        onnx.checker.check_model(proto)
        check_plausible(proto, where)
        return model_from_proto(proto, source=source)


def _parse_message(error: onnx.parser.ParseError) -> str:
    raw = error.args[0]
    lines = (raw.decode() if isinstance(raw, bytes) else str(raw)).strip().splitlines()
    found = re.search(r"line: (\d+) column: (\d+)", lines[0])
    place = f"line {found[1]}, column {found[2]}: " if found else ""
    return f"{place}{lines[-1].strip()}"


def read_text(path: str) -> Model:
    """Read a file of ONNX text.

    Raises:
        ImportModelError: There is no such file, or it is not a valid model.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ImportModelError(
            "cannot be read as text", location=Location(model=path), hint="check the path"
        ) from error
    return model_from_text(text, path)


def text_from_model(model: Model) -> str:
    """Return a model as text; equal models have equal texts."""
    return "\n".join(map(printable, _lines(model))) + "\n"


def _lines(model: Model) -> Iterator[str]:
    graph = model.graph
    yield f'graph "{graph.name or ""}" opset {graph.opset}'
    for key in sorted(model.metadata):
        yield f'metadata "{key}" = "{model.metadata[key]}"'
    for tensor in graph.inputs:
        yield f"input {_typed(tensor)}"
    yield from _body(graph, indent="", shown=set())
    for tensor in graph.outputs:
        yield f"output {_name(tensor.name)}"


def _body(graph: gs.Graph, indent: str, shown: set[str]) -> Iterator[str]:
    for node in graph.nodes:
        for tensor in node.inputs:
            if _is_declared(tensor) and tensor.name not in shown:
                shown.add(tensor.name)
                yield f"{indent}{_name(tensor.name)} = const {_constant(tensor)}"
        yield indent + _node(node)
        for key, value in sorted(node.attrs.items()):
            if isinstance(value, gs.Graph):
                yield from _subgraph(key, value, indent + "  ", shown)


def _subgraph(key: str, graph: gs.Graph, indent: str, shown: set[str]) -> Iterator[str]:
    inputs = ", ".join(_typed(t) for t in graph.inputs)
    yield f"{indent}{key}({inputs}):"
    yield from _body(graph, indent + "  ", shown)
    yield f"{indent}  yield {', '.join(_name(t.name) for t in graph.outputs)}"


def _node(node: gs.Node) -> str:
    results = ", ".join(_typed(t) if t.name else "_" for t in node.outputs)
    domain = "" if is_standard(node.domain) else f"{node.domain}."
    operands = ", ".join(_operand(t) for t in node.inputs)
    shown = (f"{key}={_attribute(node, key)}" for key in sorted(node.attrs) if _is_plain(node, key))
    attributes = ", ".join(shown)
    tail = f" {{{attributes}}}" if attributes else ""
    return f"{results} = {domain}{node.op}({operands}){tail} @{node.name}"


def _is_plain(node: gs.Node, key: str) -> bool:
    return not isinstance(node.attrs[key], gs.Graph)


def _attribute(node: gs.Node, key: str) -> str:
    value: Any = node.attrs[key]
    if isinstance(value, gs.Constant):
        array = constant_node_value(node) if node.op == "Constant" else None
        return _array(array) if array is not None else _constant(value)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return f"{value:.8g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_item(item) for item in value) + "]"
    return str(value)


def _item(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _name(name: str) -> str:
    return f"%{name}" if _PLAIN.fullmatch(name) else f'%"{name}"'


def _typed(tensor: gs.Tensor) -> str:
    if tensor.dtype is None:
        return _name(tensor.name)
    return f"{_name(tensor.name)}: {_type(tensor)}"


def _type(tensor: gs.Tensor) -> str:
    dtype = tensor.dtype
    kind = onnx.TensorProto.DataType.Name(dtype).lower() if isinstance(dtype, int) else None
    shape = "" if tensor.shape is None else f"[{', '.join(_size(s) for s in tensor.shape)}]"
    return f"{kind or np.dtype(dtype).name}{shape}"


def _size(size: object) -> str:
    return "?" if size is None or size == "" else str(size)


def _is_declared(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant) and int(np.prod(tensor.shape)) > INLINE_ELEMENTS


def _operand(tensor: gs.Tensor) -> str:
    if not tensor.name:
        return "_"
    if isinstance(tensor, gs.Constant) and not _is_declared(tensor):
        return _constant(tensor)
    return _name(tensor.name)


def _constant(tensor: gs.Constant) -> str:
    if isinstance(tensor.dtype, int):  # a type that numpy lacks
        return _type(tensor)
    return _array(np.asarray(tensor.values))


def _array(array: Array) -> str:
    kind = f"{array.dtype.name}[{', '.join(map(str, array.shape))}]"
    if array.size <= INLINE_ELEMENTS:
        return f"{kind} {{{', '.join(_item(x) for x in array.ravel().tolist())}}}"
    digest = hashlib.sha256(array_bytes(array)).hexdigest()
    return f"{kind} #{digest[:8]}"
