"""Change constants lazily: large ones never need memory for the old and the new values at once."""

from collections.abc import Callable, Mapping

import onnx_graphsurgeon as gs

from acgraph.ir.constants import replace_constants
from acgraph.ir.lazy import Array, Computed, lazy_values, stored_bytes
from acgraph.ir.model import Model

#: Initializers of at least this many bytes are changed lazily, at each access.
LARGE_BYTES = 1 << 20
Change = Callable[[Array], Array]


def change_constants(model: Model, changes: Mapping[str, Change]) -> None:
    """Change the values of constants in place; names that are no constants are ignored.

    Args:
        model: The model.
        changes: By name: a function from the old values to new ones of the same shape and type.
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
        tensor.values = _deferred(tensor, changes[tensor.name])
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


def _deferred(tensor: gs.Constant, change: Change) -> Computed:
    """Return values that are changed at each access."""
    old = lazy_values(tensor)

    def make() -> Array:
        return change(old.load() if isinstance(old, Computed) else old)

    return Computed(tuple(old.shape), old.dtype, make)
