"""Change constants without holding both the old and the new values of large ones."""

from collections.abc import Callable, Mapping

import onnx_graphsurgeon as gs

from acgraph.ir.constants import replace_constants
from acgraph.ir.lazy import Array, Computed, lazy_values, stored_bytes
from acgraph.ir.model import Model

#: Initializers of so many bytes are changed each time that they are asked for.
LARGE_BYTES = 1 << 20
Change = Callable[[Array], Array]


def change_constants(model: Model, changes: Mapping[str, Change]) -> None:
    """Change the values of constants in place; names that are none are ignored.

    Args:
        model: The model.
        changes: By name: what makes the new values of the old ones, of the same shape and type.
    """
    large = {
        id(tensor): tensor
        for node in model.graph.nodes
        for tensor in node.inputs
        if isinstance(tensor, gs.Constant)
        and tensor.name in changes
        and stored_bytes(tensor) >= LARGE_BYTES
    }
    for tensor in large.values():
        tensor.values = _later(tensor, changes[tensor.name])
    done = {tensor.name for tensor in large.values()}
    values = model.constants()
    replace_constants(
        model,
        {
            name: change(values[name])
            for name, change in changes.items()
            if name in values and name not in done
        },
    )


def _later(tensor: gs.Constant, change: Change) -> Computed:
    """Change values when they are asked for; those that are computed already are not kept."""
    held = lazy_values(tensor)

    def make() -> Array:
        return change(held.load() if isinstance(held, Computed) else held)

    return Computed(tuple(held.shape), held.dtype, make)
