"""Share equal constants again after a cut.

An exporter merges constants that are equal, although they need not be tied by design: two biases
that are both zero may be cut differently. So they are untied before a cut. Other exporters repeat
the same index table in every block. The written model stores equal constants once.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping

import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model, array_bytes
from acgraph.ir.uses import captured_names

#: Constants with fewer elements are not merged.
LARGE_ELEMENTS = 1 << 10

_Key = tuple[str, str, tuple[int, ...], bytes]


def retie_constants(model: Model, copies: Mapping[str, str]) -> None:
    """Merge copies that still equal their origin, or each other, into one constant, in place.

    Copies of nodes that still compute the same from the same inputs are removed as well.

    Args:
        model: The model.
        copies: Names of the copies with the names of their origins, from untying.
    """
    _merge(model, {**{origin: origin for origin in copies.values()}, **copies})
    _merge_nodes(model, copies)


def merge_equal(model: Model, names: Collection[str]) -> None:
    """Merge those of the named constants that are equal, in place.

    The producers of the others stay in the graph without consumers.
    """
    _merge(model, dict.fromkeys(names, ""))


def write_once(model: Model, copies: Mapping[str, str]) -> None:
    """Merge copies with their origins, and all large constants that are equal, in place."""
    retie_constants(model, copies)
    kept = captured_names(model.graph) | {tensor.name for tensor in model.graph.outputs}
    forms = model.constant_forms()
    large = {name for name, (_, shape) in forms.items() if math.prod(shape) >= LARGE_ELEMENTS}
    merge_equal(model, large - kept)


def _merge(model: Model, groups: Mapping[str, str]) -> None:
    """Merge the constants of a group that are equal.

    The first one is kept, or the one that the group is named after.
    """
    forms = {name: form for name, form in model.constant_forms().items() if name in groups}
    looks = Counter((groups[name], *form) for name, form in forms.items())
    values = model.constants()
    tensors = model.graph.tensors()
    first: dict[_Key, gs.Tensor] = {}
    shared: dict[str, gs.Tensor] = {}
    for name in sorted(forms, key=lambda name: groups[name] != name):
        look = (groups[name], *forms[name])
        if looks[look] > 1:
            digest = hashlib.sha256(array_bytes(values[name])).digest()
            shared[name] = first.setdefault((*look, digest), tensors[name])
    for node in model.graph.nodes:
        for i, tensor in enumerate(node.inputs):
            if shared.get(tensor.name, tensor) is not tensor:
                node.inputs[i] = shared[tensor.name]


def _merge_nodes(model: Model, copies: Mapping[str, str]) -> None:
    """Remove the copies of nodes that compute what their origin, or an earlier copy, computes."""
    first: dict[tuple[object, ...], gs.Node] = {}
    origins = set(copies.values())
    removed: set[int] = set()
    for node in model.graph.nodes:
        name = node.outputs[0].name if node.outputs else ""
        if node.op == "Constant" or (name not in copies and name not in origins):
            continue
        attributes = tuple((key, _identity(value)) for key, value in sorted(node.attrs.items()))
        key = (copies.get(name, name), node.op, attributes, *(id(t) for t in node.inputs))
        other = first.setdefault(key, node)
        if other is not node and name in copies:
            for reader in list(node.outputs[0].outputs):
                for i, tensor in enumerate(list(reader.inputs)):
                    if tensor is node.outputs[0]:
                        reader.inputs[i] = other.outputs[0]
            removed.add(id(node))
    for node in [node for node in model.graph.nodes if id(node) in removed]:
        node.inputs.clear()
        node.outputs.clear()
        model.originals.pop(node.name, None)
    model.graph.nodes[:] = [node for node in model.graph.nodes if id(node) not in removed]


def _identity(value: object) -> object:
    """Return a key for an attribute; for a constant, the identity of its values."""
    if isinstance(value, gs.Constant):
        return (*_look(value.values), array_bytes(value.values))
    return repr(value)


def _look(value: Array) -> tuple[str, tuple[int, ...]]:
    """Return properties that equal arrays have in common and that are cheap to compare."""
    return value.dtype.name, value.shape
