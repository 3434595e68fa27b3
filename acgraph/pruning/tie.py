"""Equal constants: apart where a cut may part them, together where nothing can.

An exporter merges vectors because they are equal. Equal at export is not tied by design: two
biases that are both zero may be cut differently. Other exporters repeat the same table of indices
in every block.
"""

from collections.abc import Collection

import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model


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
