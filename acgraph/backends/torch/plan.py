"""Execution plans: the steps of one variant of a graph, and a function that runs them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs
import torch

from acgraph.backends.torch.ops import Kernel
from acgraph.errors import BackendError
from acgraph.ir import Array, Model

#: Exceptions of a kernel for unsuitable inputs. Any other exception is a bug and is not caught.
KERNEL_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)


@dataclass(frozen=True, slots=True, eq=False)
class ExecutionStep:
    """One node with its kernel.

    Attributes:
        kernel: The function that computes the node.
        inputs: Slots of the inputs.
        outputs: Slots of the outputs.
        frees: Slots that no later step reads.
        node: The node.
    """

    kernel: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    frees: tuple[int, ...]
    node: gs.Node


@dataclass(frozen=True, slots=True)
class Variant:
    """The settings that a plan is compiled for.

    Attributes:
        training: Whether Dropout and BatchNormalization are in training mode.
        momentum: Momentum of every BatchNormalization; None keeps that of the node.
        rebatch: Changes of nodes whose constants contain the batch size, by node name; see
            ``BatchPlan``.
        watch: Tensors to return after the graph's outputs.
        is_visited: Whether the plan runs step by step, so that watched tensors can be freed early.
        is_frozen: Whether BatchNormalization uses its running statistics even in training.
    """

    training: bool
    momentum: float | None = None
    rebatch: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    watch: tuple[str, ...] = ()
    is_visited: bool = False
    is_frozen: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ExecutionPlan:
    """The steps of one variant. Tensors are in numbered slots; slot 0 is an absent input.

    Attributes:
        steps: The nodes in execution order.
        template: Initial value of every slot: a constant, or None.
        inputs: Slot of each input of the graph; 0 if it is not used.
        weights: Slot and ONNX name of each weight.
        outputs: Slots of the graph's outputs, then those of the watched tensors.
    """

    steps: tuple[ExecutionStep, ...]
    template: list[Any]
    inputs: tuple[int, ...]
    weights: tuple[tuple[int, str], ...]
    outputs: tuple[int, ...]


class Slots:
    """Assigns slots to tensors, and collects the constants among them."""

    def __init__(
        self, known: Mapping[str, Array], tensor_of: Callable[[str, Array], torch.Tensor]
    ) -> None:
        self.index: dict[str, int] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self._known = known
        self._tensor_of = tensor_of

    def of(self, name: str) -> int:
        """Return the slot of a tensor."""
        if name not in self.index:
            self.index[name] = len(self.index) + 1
            if name in self._known:
                self.constants[name] = self._tensor_of(name, self._known[name])
        return self.index[name]

    def template(self, device: torch.device) -> list[Any]:
        """Return the initial value of every slot: a constant on the device, or None."""
        values: list[Any] = [None] * (len(self.index) + 1)
        for name, tensor in self.constants.items():
            values[self.index[name]] = tensor.to(device)
        return values


def with_frees(steps: Sequence[ExecutionStep], pinned: Collection[int]) -> Iterator[ExecutionStep]:
    """Set the slots that each step frees: those that no later step reads."""
    seen: set[int] = set(pinned)
    done = []
    for step in reversed(steps):
        touched = (*step.inputs, *step.outputs)
        frees = tuple(dict.fromkeys(slot for slot in touched if slot not in seen))
        seen.update(frees)
        done.append(ExecutionStep(step.kernel, step.inputs, step.outputs, frees, step.node))
    return reversed(done)


def kernel_failure(model: Model, node: gs.Node, error: Exception) -> BackendError:
    """Return the error for a node whose kernel failed."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return BackendError(f"PyTorch: {lines[0]}", location=model.location(node))


def run_steps(model: Model, steps: Iterable[ExecutionStep], values: list[Any]) -> None:
    """Run steps on the slots, in place.

    Raises:
        BackendError: The kernel of a node failed.
    """
    step = None
    try:
        for step in steps:
            result = step.kernel(*[values[slot] for slot in step.inputs])
            if len(step.outputs) == 1:
                values[step.outputs[0]] = result
            else:
                for slot, value in zip(step.outputs, result, strict=False):
                    values[slot] = value
                values[0] = None
            for slot in step.frees:
                values[slot] = None
    except KERNEL_ERRORS as error:
        if step is None:
            raise
        raise kernel_failure(model, step.node, error) from error
