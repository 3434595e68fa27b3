"""Run a network and look at tensors inside it as they are made, without keeping them."""

from collections.abc import Callable, Collection, Sequence

import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.runtime import evaluating

Look = Callable[[str, torch.Tensor], None]


def visit(module: GraphModule, names: Collection[str], look: Look, *inputs: torch.Tensor) -> None:
    """Run a graph and look at the named tensors as they are made; none is kept for long.

    Args:
        module: The graph.
        names: Tensors of it, its inputs included.
        look: Called for each of them, with its name.
        inputs: In graph order. Where the graph runs fewer examples at once, it runs several times,
            and every time the tensors are looked at; what fills a part up does not count.

    Raises:
        BackendError: no node makes a tensor of that name.
    """
    for part in module.whole_parts(inputs):
        _visit_part(module, names, look, part)


def _visit_part(
    module: GraphModule, names: Collection[str], look: Look, inputs: Sequence[torch.Tensor]
) -> None:
    plan, values = module.filled_plan(inputs, names)
    places: dict[int, list[str]] = {}
    for name, slot in zip(names, plan.outputs[len(module.output_names) :], strict=True):
        places.setdefault(slot, []).append(name)
    for slot in [slot for slot in places if values[slot] is not None]:
        _look_at(places.pop(slot), look, values[slot])
    for step in module.step_by_step(plan, values):
        for slot in step.outputs:
            _look_at(places.pop(slot, []), look, values[slot])


def _look_at(names: Sequence[str], look: Look, value: torch.Tensor) -> None:
    for name in names:
        look(name, value)


@torch.no_grad()
def peak_bytes(module: GraphModule, *inputs: torch.Tensor) -> int:
    """Return the most bytes of tensors that live at once in a run, weights left out."""
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
