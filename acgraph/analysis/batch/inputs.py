"""Find the batch axis of each input of a model."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import onnx_graphsurgeon as gs

from acgraph.ir import Model, input_sizes
from acgraph.ir.model import Shape
from acgraph.ir.sizes import Declared, axis_names, declared_inputs, is_batch_name, open_axes
from acgraph.operators import Trait, find_operator, operators_with

#: Operators that only move elements of a state.
_PARTS = operators_with(Trait.MOVES) | operators_with(Trait.VIEW)
#: Indices of the inputs of recurrent operators that are initial states.
_STATES = (5, 6)


def batch_axes(model: Model) -> dict[str, int | None]:
    """Return, for each input of a model, the axis of the batch.

    None means that all samples share the value, such as a sampling rate. Where the file leaves the
    batch size open, the open axes count. Where it fixes all sizes, the batch size is that of the
    first input.
    """
    found = declared_inputs(model)
    return declared_batch_axes(found, input_sizes(model).shapes, _states(model))


def declared_batch_axes(
    inputs: Sequence[Declared], shapes: Mapping[str, Shape], states: Collection[str] = ()
) -> dict[str, int | None]:
    """Return the batch axis of each input from the declarations in a file.

    Args:
        inputs: The declarations.
        shapes: Shapes of the inputs in this run.
        states: Names of the inputs that are recurrent states ``[layers, batch, units]``.
    """
    # The batch axis of a state is known, independently of the other inputs.
    sizes = [e.shape[1] for e in inputs if e.name in states and e.shape is not None]
    names = {size for size in sizes if isinstance(size, str)}
    found = {e.name: _open_axis(e, inputs, shapes, names) for e in inputs}
    if any(isinstance(size, int) for size in sizes):
        # The batch size is fixed, so an open size counts as the batch only by its name.
        for entry in inputs:
            axis = found[entry.name]
            if axis is not None and not is_batch_name((entry.shape or ())[axis]):
                found[entry.name] = None
    is_open = any(axis is not None for axis in found.values())
    first = next((shapes[e.name][0] for e in inputs if shapes.get(e.name)), 1)
    batch = next((size for size in sizes if isinstance(size, int)), first)
    for entry in inputs:
        shape = shapes.get(entry.name, ())
        if found[entry.name] is not None or not shape:
            continue
        if entry.name in states:
            found[entry.name] = 1
        elif not is_open:
            found[entry.name] = _fixed_axis(entry.shape or shape, batch)
    return found


def _open_axis(
    entry: Declared, inputs: Sequence[Declared], shapes: Mapping[str, Shape], names: set[str]
) -> int | None:
    """Return the open axis that is the batch; None where there is none.

    Args:
        entry: The input.
        inputs: All inputs.
        shapes: Their shapes in this run.
        names: Symbolic names of the batch size in states.
    """
    if entry.shape is None:
        return 0 if shapes.get(entry.name) else None
    if len(inputs) == 1 and entry.shape and not any(map(is_batch_name, entry.shape)):
        return 0
    for axis, size in enumerate(entry.shape):
        if size in names:
            return axis
    known = open_axes(inputs, shapes)
    axes = [i for i, name in enumerate(axis_names(entry)) if name in known and known[name].is_batch]
    named = [i for i in axes if is_batch_name(entry.shape[i])]
    return next(iter((*named, *axes)), None)


def _fixed_axis(shape: Sequence[int | str | None], batch: int) -> int | None:
    """Return the batch axis of an input of fixed sizes; None where there is none."""
    if shape[0] == batch:
        return 0
    # The state of a recurrent network in plain operators.
    return 1 if len(shape) == 3 and shape[1] == batch else None


def _states(model: Model) -> frozenset[str]:
    """Return the inputs that are initial states of recurrent operators, completely or in parts."""
    found = set()
    for tensor in model.graph.inputs:
        if len(tensor.shape or ()) == 3 and any(_is_state(node, t) for node, t in _readers(tensor)):
            found.add(tensor.name)
    return frozenset(found)


def _is_state(node: gs.Node, tensor: gs.Tensor) -> bool:
    operator = find_operator(node.op, node.domain)
    if operator is None or operator.rule != "recurrent" or int(node.attrs.get("layout", 0)):
        return False
    return any(i < len(node.inputs) and node.inputs[i] is tensor for i in _STATES)


def _readers(tensor: gs.Tensor) -> Iterator[tuple[gs.Node, gs.Tensor]]:
    """Yield the consumers of a tensor, directly or behind operators that only move elements."""
    pending, seen = [tensor], {tensor.name}
    while pending:
        current = pending.pop()
        for node in current.outputs:
            yield node, current
            if node.op not in _PARTS or node.op == "Transpose":
                continue
            for output in node.outputs:
                if output.name not in seen:
                    seen.add(output.name)
                    pending.append(output)
