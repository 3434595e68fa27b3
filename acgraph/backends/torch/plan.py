"""Plans: the steps of one variant of a graph, and how they run."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs
import torch

from acgraph.backends.torch.ops import Kernel
from acgraph.errors import BackendError
from acgraph.ir import Array, Model

#: What a kernel raises when the inputs do not fit; anything else is a bug and passes through.
KERNEL_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)


@dataclass(frozen=True, slots=True, eq=False)
class ExecutionStep:
    """One node, ready to run: where its inputs are, where its outputs go, what dies after it."""

    kernel: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    frees: tuple[int, ...]
    node: gs.Node


@dataclass(frozen=True, slots=True)
class Variant:
    """What a plan is compiled for.

    Attributes:
        training: Whether Dropout and BatchNormalization are in training mode.
        momentum: Replaces the momentum of every BatchNormalization where not None.
        rebatch: Reshape, Expand, Concat and Resize nodes whose constants follow the batch.
        watch: Tensors to return after the graph's outputs.
        is_frozen: Whether BatchNormalization keeps to its running statistics, in training, too.
        is_visited: Whether watched tensors are only looked at as they are made, and then freed.
    """

    training: bool
    momentum: float | None = None
    rebatch: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    watch: tuple[str, ...] = ()
    is_visited: bool = False
    is_frozen: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ExecutionPlan:
    """Steps for one variant. Slot 0 stands for an absent input."""

    steps: tuple[ExecutionStep, ...]
    template: list[Any]
    inputs: tuple[int, ...]
    weights: tuple[tuple[int, str], ...]
    outputs: tuple[int, ...]


class Slots:
    """Numbers for tensors, and the constants that fill some of them from the start."""

    def __init__(
        self, known: Mapping[str, Array], tensor_of: Callable[[str, Array], torch.Tensor]
    ) -> None:
        self.index: dict[str, int] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self._known = known
        self._tensor_of = tensor_of

    def of(self, name: str) -> int:
        """Return the number of a tensor."""
        if name not in self.index:
            self.index[name] = len(self.index) + 1
            if name in self._known:
                self.constants[name] = self._tensor_of(name, self._known[name])
        return self.index[name]

    def template(self, device: torch.device) -> list[Any]:
        """Return a value for every slot: the constants, None elsewhere."""
        values: list[Any] = [None] * (len(self.index) + 1)
        for name, tensor in self.constants.items():
            values[self.index[name]] = tensor.to(device)
        return values


def with_frees(steps: Sequence[ExecutionStep], pinned: Collection[int]) -> Iterator[ExecutionStep]:
    """Add to every step the slots that nothing reads after it."""
    seen: set[int] = set(pinned)
    done = []
    for step in reversed(steps):
        touched = (*step.inputs, *step.outputs)
        frees = tuple(dict.fromkeys(slot for slot in touched if slot not in seen))
        seen.update(frees)
        done.append(ExecutionStep(step.kernel, step.inputs, step.outputs, frees, step.node))
    return reversed(done)


def kernel_failure(model: Model, node: gs.Node, error: Exception) -> BackendError:
    """Make the error for a node whose kernel failed."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return BackendError(f"PyTorch: {lines[0]}", location=model.location(node))


def run_steps(model: Model, steps: Iterable[ExecutionStep], values: list[Any]) -> None:
    """Run steps on the slots, in place.

    Raises:
        BackendError: the kernel of a node failed.
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
