"""Equal constants: apart where a cut may part them, together where nothing can.

An exporter merges vectors because they are equal. Equal at export is not tied by design: two
biases that are both zero may be cut differently. Other exporters repeat the same table of indices
in every block.
"""

from collections import defaultdict
from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model

_FLOATS = (np.float16, np.float32, np.float64)


def untie_vectors(model: Model) -> dict[str, str]:
    """Give every use of a shared float vector a constant of its own, in place.

    Returns:
        By the name of each copy: the name of the constant that it copies.
    """
    uses: dict[str, list[tuple[gs.Node, int]]] = defaultdict(list)
    for node in model.graph.nodes:
        for i, tensor in enumerate(node.inputs):
            if isinstance(tensor, gs.Constant) and _is_vector(tensor):
                uses[tensor.name].append((node, i))
    taken = set(model.graph.tensors())
    copies = {}
    for name, places in uses.items():
        for node, i in places[1:]:
            copy = _fresh(f"{name}/{node.name}", taken)
            taken.add(copy)
            copies[copy] = name
            node.inputs[i] = gs.Constant(copy, node.inputs[i].values)
    return copies


def _is_vector(tensor: gs.Constant) -> bool:
    size = int(np.prod(tensor.shape)) if tensor.shape else 0
    return tensor.dtype in _FLOATS and size > 1 and size == max(tensor.shape)


def _fresh(stem: str, taken: set[str]) -> str:
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}#{number}", number + 1
    return name


def retie_vectors(model: Model, copies: dict[str, str]) -> None:
    """Let copies that are still equal share one constant again, in place."""
    first: dict[tuple[str, tuple[int, ...], bytes], gs.Constant] = {}
    for node in model.graph.nodes:
        for i, tensor in enumerate(node.inputs):
            if not isinstance(tensor, gs.Constant):
                continue
            origin = copies.get(tensor.name, tensor.name)
            if tensor.name not in copies and origin not in copies.values():
                continue
            values = tensor.values
            key = (origin, tuple(values.shape), values.tobytes())
            node.inputs[i] = first.setdefault(key, tensor)


def merge_equal(model: Model, names: Collection[str]) -> None:
    """Let the named constants share one tensor where they are equal, in place.

    Nodes that made the others stay, unused.
    """
    values = {name: value for name, value in model.constants().items() if name in names}
    first: dict[tuple[str, tuple[int, ...], bytes], gs.Tensor] = {}
    for node in model.graph.nodes:
        for tensor in node.outputs:
            if tensor.name in values:
                first.setdefault(_key(values[tensor.name]), tensor)
        for i, tensor in enumerate(node.inputs):
            if tensor.name in values:
                node.inputs[i] = first.setdefault(_key(values[tensor.name]), tensor)


def _key(value: Array) -> tuple[str, tuple[int, ...], bytes]:
    return value.dtype.str, value.shape, value.tobytes()
