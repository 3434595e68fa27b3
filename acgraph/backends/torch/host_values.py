"""Compute the shape tensors of a graph for given input sizes.

Almost all of them follow from the sizes alone. The rest of the graph then runs on meta tensors,
which have a shape and a type and no elements, so that it costs no arithmetic. Where a size depends
on values, as behind NonZero, PyTorch cannot say it for a meta tensor, and the graph runs as usual.
"""

from collections.abc import Sequence
from typing import Any

import torch

from acgraph.backends.torch.plan import KERNEL_ERRORS, ExecutionPlan, ExecutionStep
from acgraph.backends.torch.program import Program

_META = torch.device("meta")


def values_by_size(
    program: Program, plan: ExecutionPlan, values: Sequence[Any]
) -> tuple[torch.Tensor, ...] | None:
    """Run a plan for the sizes of its tensors.

    Args:
        program: The program of the plan.
        plan: A plan that returns shape tensors after the outputs of the graph.
        values: The slots before the first step.

    Returns:
        The shape tensors; None if one of them depends on other values than sizes.
    """
    variable = {*plan.inputs, *(slot for slot, _ in plan.weights)}
    slots = [_meta(x) if slot in variable else x for slot, x in enumerate(values)]
    with torch.no_grad():
        for step in plan.steps:
            try:
                results = _results(program, step, [slots[slot] for slot in step.inputs])
            except KERNEL_ERRORS:
                return None  # the real run reports it if it is an error there, too
            for slot, value in zip(step.outputs, results, strict=False):
                slots[slot] = value
            slots[0] = None
            for slot in step.frees:
                slots[slot] = None
    found = tuple(slots[slot] for slot in plan.outputs[len(program.outputs) :])
    return None if any(x is None or x.is_meta for x in found) else found


def _results(program: Program, step: ExecutionStep, inputs: list[Any]) -> tuple[Any, ...]:
    """Compute a step: on values if it depends on sizes alone, otherwise on meta tensors."""
    if step.node.op in ("Shape", "Size"):
        # A view of a single element has the size and takes no memory.
        return _tuple(step.kernel(torch.zeros(()).expand(inputs[0].shape)))
    if all(tensor.name in program.host for tensor in step.node.outputs if tensor.name):
        return _tuple(step.kernel(*inputs))
    try:
        # Integers may be sizes, indices or axes, which a kernel reads.
        found = step.kernel(*[_meta(x) if _is_float(x) else x for x in inputs])
    except KERNEL_ERRORS:
        found = step.kernel(*map(_meta, inputs))
    return tuple(map(_meta, _tuple(found)))


def _tuple(result: Any) -> tuple[Any, ...]:
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _meta(value: Any) -> Any:
    return value.to(_META) if isinstance(value, torch.Tensor) else value
