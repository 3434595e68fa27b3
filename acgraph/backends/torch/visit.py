"""Run a graph and pass intermediate tensors to a function as they are computed."""

from collections.abc import Callable, Collection, Sequence

import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.runtime import evaluating

Observer = Callable[[str, torch.Tensor], None]


def visit(
    module: GraphModule, names: Collection[str], observe: Observer, *inputs: torch.Tensor
) -> None:
    """Run a graph and pass the named tensors to a function as they are computed.

    Each tensor is freed as soon as no later node needs it.

    Args:
        module: The graph.
        names: Names of tensors of the graph, which may be inputs.
        observe: Called with the name and value of each tensor.
        inputs: Inputs in graph order. If the batch size of the graph is fixed, the function is
            called for each part of that size, without an incomplete last part.

    Raises:
        BackendError: A tensor is not in the graph.
    """
    for part in module.whole_parts(inputs):
        _visit_part(module, names, observe, part)


def _visit_part(
    module: GraphModule, names: Collection[str], observe: Observer, inputs: Sequence[torch.Tensor]
) -> None:
    plan, values = module.filled_plan(inputs, names)
    places: dict[int, list[str]] = {}
    for name, slot in zip(names, plan.outputs[len(module.output_names) :], strict=True):
        places.setdefault(slot, []).append(name)
    for slot in [slot for slot in places if values[slot] is not None]:
        _observe(places.pop(slot), observe, values[slot])
    for step in module.step_by_step(plan, values):
        for slot in step.outputs:
            _observe(places.pop(slot, []), observe, values[slot])


def _observe(names: Sequence[str], observe: Observer, value: torch.Tensor) -> None:
    for name in names:
        observe(name, value)


@torch.no_grad()
def peak_bytes(module: GraphModule, *inputs: torch.Tensor) -> int:
    """Return the peak of the bytes of live tensors during a run, without weights."""
    with evaluating(module):
        plan, values = module.filled_plan(inputs)
    alive = {slot: int(values[slot].nbytes) for slot in plan.inputs if slot}
    most = sum(alive.values())
    for step in module.step_by_step(plan, values):
        for slot in step.outputs:
            if slot and values[slot] is not None:
                alive[slot] = int(values[slot].nbytes)
        most = max(most, sum(alive.values()))
        for slot in step.frees:
            alive.pop(slot, None)
    return most
