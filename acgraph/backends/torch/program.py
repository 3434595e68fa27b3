"""A graph made ready to run: nodes in order, kernels built, constants folded.

Values of three kinds are told apart. *Known* values depend on constants alone and are computed
once, when the program is made. *Host* values (shape arithmetic) depend on the sizes of the inputs;
they are computed once for each combination of sizes. Everything else runs in every step.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch

from acgraph.backends.torch.ops import BUILDERS, Kernel, NodeView
from acgraph.backends.torch.ops.indexing import tensor_of_array
from acgraph.backends.torch.weights import Role, find_weights
from acgraph.errors import BackendError, UnsupportedOpError
from acgraph.ir import Array, Model

_CPU = torch.device("cpu")
#: What a kernel raises when the inputs do not fit; anything else is a bug and passes through.
KERNEL_ERRORS = (RuntimeError, ValueError, IndexError, TypeError)
#: Their value is not a function of the inputs, or depends on the mode.
_IMPURE = frozenset(
    [
        "Dropout",
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Step:
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
    """

    training: bool
    momentum: float | None = None
    rebatch: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    watch: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Steps for one variant. Slot 0 stands for an absent input."""

    steps: tuple[Step, ...]
    template: list[Any]
    inputs: tuple[int, ...]
    weights: tuple[tuple[int, str], ...]
    outputs: tuple[int, ...]


class Program:
    """The immutable part of a graph module, shared between its copies.

    Args:
        model: The model, which the program keeps and never changes.

    Raises:
        UnsupportedOpError: operators without a kernel, all of them in one message.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.batch = _declared_batch(model)
        self.inputs = [tensor.name for tensor in model.graph.inputs]
        self.outputs = [tensor.name for tensor in model.graph.outputs]
        self.constants = model.constants()
        self.roles: dict[str, Role] = find_weights(model)
        self._alias: dict[str, str] = {}
        self.nodes = list(_in_order(model))
        self._check_operators()
        self._resolve_identities()
        self.known: dict[str, Array] = {
            name: value for name, value in self.constants.items() if name not in self.roles
        }
        self.host: set[str] = set()
        self._classify()
        self._check_variants()

    def sizes_of(self, plan: Plan, values: list[Any]) -> dict[str, tuple[int, ...]]:
        """Run a plan on filled slots; return the sizes of its inputs, weights and results."""
        sizes = {name: tuple(value.shape) for name, value in self.constants.items()}
        for name, slot in zip(self.inputs, plan.inputs, strict=True):
            if slot:
                sizes[name] = tuple(values[slot].shape)
        for step in plan.steps:
            run_steps(self, (Step(step.kernel, step.inputs, step.outputs, (), step.node),), values)
            for tensor, slot in zip(step.node.outputs, step.outputs, strict=True):
                if slot and values[slot] is not None:
                    sizes[tensor.name] = tuple(values[slot].shape)
            for slot in step.frees:
                values[slot] = None
        return sizes

    def __deepcopy__(self, memo: object) -> "Program":
        """Share: nothing here changes after construction."""
        return self

    def resolve(self, name: str) -> str:
        """Follow Identity nodes back to the tensor that has the value."""
        while name in self._alias:
            name = self._alias[name]
        return name

    def _check_operators(self) -> None:
        missing: dict[str, list[gs.Node]] = {}
        for node in self.nodes:
            if node.domain not in (None, "", "ai.onnx") or node.op not in BUILDERS:
                missing.setdefault(f"{node.domain or 'ai.onnx'}.{node.op}", []).append(node)
        if not missing:
            return
        listed = ", ".join(
            f"{op} (node '{nodes[0].name}'{f' and {len(nodes) - 1} more' if nodes[1:] else ''})"
            for op, nodes in sorted(missing.items())
        )
        raise UnsupportedOpError(
            f"PyTorch backend: no kernel for {listed}",
            location=self.model.location(next(iter(missing.values()))[0]),
            hint="rewrite the model with standard operators",
        )

    def _resolve_identities(self) -> None:
        kept = []
        for node in self.nodes:
            if node.op == "Identity":
                self._alias[node.outputs[0].name] = node.inputs[0].name
            elif node.op != "Constant" or node.outputs[0].name not in self.constants:
                kept.append(node)
        self.nodes = kept

    def _classify(self) -> None:
        """Fold what depends on constants alone; mark what depends on sizes alone."""
        rest = []
        for node in self.nodes:
            names = [self.resolve(t.name) for t in node.inputs if not t.is_empty()]
            pure = node.op not in _IMPURE
            if pure and all(name in self.known for name in names):
                self.known.update(self.evaluate(node, self.known))
                continue
            sized = node.op in ("Shape", "Size")
            if sized or (pure and all(n in self.known or n in self.host for n in names)):
                self.host.update(t.name for t in node.outputs)
            rest.append(node)
        self.nodes = rest

    def evaluate(self, node: gs.Node, known: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs of a node whose inputs are all known.

        Raises:
            BackendError: the kernel failed.
        """
        view = self._view(node, Variant(training=False), known)
        kernel = BUILDERS[node.op](view)
        arguments = [
            None
            if tensor.is_empty() or index in view.consumed
            else tensor_of_array(known[self.resolve(tensor.name)])
            for index, tensor in enumerate(node.inputs)
        ]
        try:
            with torch.no_grad():
                result = kernel(*arguments)
        except KERNEL_ERRORS as error:
            raise self.failure(node, error) from error
        results = (result,) if len(node.outputs) == 1 else result
        return {
            tensor.name: value.contiguous().numpy()
            for tensor, value in zip(node.outputs, results, strict=False)
            if tensor.name and value is not None
        }

    def failure(self, node: gs.Node, error: Exception) -> BackendError:
        """Make the error for a node whose kernel failed."""
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return BackendError(f"PyTorch: {lines[0]}", location=self.model.location(node))

    def _view(self, node: gs.Node, variant: Variant, known: Mapping[str, Array]) -> NodeView:
        names = [self.resolve(t.name) if not t.is_empty() else "" for t in node.inputs]
        return NodeView(
            node=node,
            location=self.model.location(node),
            opset=self.model.graph.opset,
            training=variant.training,
            momentum=variant.momentum,
            known=tuple(known.get(name) for name in names),
            consumed=set(),
            statistics=frozenset(
                i for i, name in enumerate(names) if self.roles.get(name) is Role.STATISTIC
            ),
            used=tuple(self._is_used(tensor) for tensor in node.outputs),
            batch=variant.rebatch.get(node.name),
        )

    def _is_used(self, tensor: gs.Tensor) -> bool:
        return bool(tensor.name) and (bool(tensor.outputs) or tensor.name in self.outputs)

    def _check_variants(self) -> None:
        """Build every kernel once, so that what is not supported is known before running."""
        problems: list[UnsupportedOpError] = []
        for node in self.nodes:
            try:
                BUILDERS[node.op](self._view(node, Variant(training=True), self.known))
            except UnsupportedOpError as error:
                problems.append(error)
        if not problems:
            return
        if len(problems) == 1:
            raise problems[0]
        messages = "; ".join(
            f"{p.diagnostic.location.node}: {p.diagnostic.message}" for p in problems
        )
        first = problems[0].diagnostic
        raise UnsupportedOpError(messages, location=first.location, hint=first.hint)

    def compile(
        self, variant: Variant, measured: Mapping[str, Array], device: torch.device = _CPU
    ) -> Plan:
        """Build the steps of a variant.

        Args:
            variant: What to compile for.
            measured: Values of host tensors at the sizes at hand; empty to run them as steps.
            device: Where the constants go.
        """
        known = {**self.known, **measured}
        wanted = [self.resolve(name) for name in (*self.outputs, *variant.watch)]
        nodes = self.needed(wanted, known)
        slots = _Slots(known)
        steps: list[Step] = []
        for node in nodes:
            view = self._view(node, variant, known)
            kernel = BUILDERS[node.op](view)
            places = tuple(
                0
                if tensor.is_empty() or index in view.consumed
                else slots.of(self.resolve(tensor.name))
                for index, tensor in enumerate(node.inputs)
            )
            targets = tuple(slots.of(t.name) if t.name else 0 for t in node.outputs)
            steps.append(Step(kernel, places, targets, (), node))
        for name in wanted:
            slots.of(name)
        weights = tuple((slots.index[n], n) for n in self.roles if n in slots.index)
        inputs = tuple(slots.index.get(name, 0) for name in self.inputs)
        pinned = {slots.index[name] for name in wanted}
        pinned |= {slot for slot, _ in weights} | {slots.index[n] for n in slots.constants} | {0}
        return Plan(
            steps=tuple(_with_frees(steps, pinned)),
            template=slots.template(device),
            inputs=inputs,
            weights=weights,
            outputs=tuple(slots.index[name] for name in wanted),
        )

    def needed(self, wanted: Sequence[str], known: Collection[str]) -> list[gs.Node]:
        """Return the nodes that the wanted tensors depend on, in order."""
        live = {name for name in wanted if name not in known}
        kept = []
        for node in reversed(self.nodes):
            if not any(t.name in live for t in node.outputs):
                continue
            if all(t.name in known for t in node.outputs if t.name):
                continue
            kept.append(node)
            names = (self.resolve(t.name) for t in node.inputs if not t.is_empty())
            live.update(name for name in names if name not in known)
        return kept[::-1]


class _Slots:
    """Numbers for tensors, and the constants that fill some of them from the start."""

    def __init__(self, known: Mapping[str, Array]) -> None:
        self.index: dict[str, int] = {}
        self.constants: dict[str, torch.Tensor] = {}
        self._known = known

    def of(self, name: str) -> int:
        if name not in self.index:
            self.index[name] = len(self.index) + 1
            if name in self._known:
                self.constants[name] = tensor_of_array(self._known[name])
        return self.index[name]

    def template(self, device: torch.device) -> list[Any]:
        values: list[Any] = [None] * (len(self.index) + 1)
        for name, tensor in self.constants.items():
            values[self.index[name]] = tensor.to(device)
        return values


def _with_frees(steps: Sequence[Step], pinned: Collection[int]) -> Iterator[Step]:
    """Add to every step the slots that nothing reads after it."""
    seen: set[int] = set(pinned)
    done = []
    for step in reversed(steps):
        touched = (*step.inputs, *step.outputs)
        frees = tuple(dict.fromkeys(slot for slot in touched if slot not in seen))
        seen.update(frees)
        done.append(Step(step.kernel, step.inputs, step.outputs, frees, step.node))
    return reversed(done)


def _declared_batch(model: Model) -> int | None:
    """Return the batch that the first input declares; None where it is free."""
    shape = model.graph.inputs[0].shape if model.graph.inputs else None
    size = shape[0] if shape else None
    return size if isinstance(size, int) and size > 0 else None


def _in_order(model: Model) -> list[gs.Node]:
    """Return the nodes in topological order, the order of the file where that is one."""
    nodes = list(model.graph.nodes)
    made = {t.name for t in model.graph.inputs}
    for node in nodes:
        if any(t.inputs and t.name not in made for t in node.inputs):
            break
        made.update(t.name for t in node.outputs)
    else:
        return nodes
    return _sorted(nodes)


def _sorted(nodes: Sequence[gs.Node]) -> list[gs.Node]:
    """Sort depth first, keeping the order of the file where it does not matter."""
    done: dict[int, None] = {}
    by_id = {id(node): node for node in nodes}
    for root in nodes:
        stack = [root]
        while stack:
            node = stack[-1]
            waiting = [
                producer
                for tensor in node.inputs
                for producer in tensor.inputs
                if id(producer) not in done and id(producer) in by_id
            ]
            if id(node) in done or not waiting:
                done.setdefault(id(stack.pop()))
            else:
                stack.extend(reversed(waiting))
    return [by_id[key] for key in done]


def numpy_of_tensor(tensor: torch.Tensor) -> Array:
    """Copy a tensor into an array of the same type."""
    array: Array = np.array(tensor.detach().cpu().numpy(), copy=True)
    return array


def run_steps(program: Program, steps: Iterable[Step], values: list[Any]) -> None:
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
        raise program.failure(step.node, error) from error
