"""A graph prepared for execution: nodes sorted, operators checked, constants folded.

There are three kinds of values. *Known* values depend only on constants and are computed once, when
the program is built. *Host* values (shape tensors) depend on the sizes of the inputs and are
computed once for each combination of sizes. All other values are computed in every run.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import onnx_graphsurgeon as gs
import torch

from acgraph.analysis.batch.inputs import batch_axes
from acgraph.backends.torch.ops import BUILDERS, NodeView
from acgraph.backends.torch.ops.indexing import tensor_of_array
from acgraph.backends.torch.plan import (
    KERNEL_ERRORS,
    ExecutionPlan,
    ExecutionStep,
    Slots,
    Variant,
    kernel_failure,
    run_steps,
    with_frees,
)
from acgraph.backends.torch.weights import find_weights
from acgraph.errors import UnsupportedOpError
from acgraph.ir import Array, Model, resolve_sizes
from acgraph.operators import Role, Trait, is_standard, operators_with

_CPU = torch.device("cpu")
#: Operators whose output is not a function of the inputs, or depends on the mode.
_IMPURE = operators_with(Trait.IMPURE)


class Program:
    """The immutable part of a graph module, shared between its copies.

    Args:
        model: The model; the program keeps a reference and does not change it.

    Raises:
        UnsupportedOpError: Operators, or their attributes, are not supported; it names all of
            them.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.inputs = [tensor.name for tensor in model.graph.inputs]
        #: Batch axis of each input; None if all examples share its value.
        self.axes = tuple(batch_axes(model).values())
        self.batch = _batch_of(model, self.axes)
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
        self._tensors: dict[str, torch.Tensor] = {}
        self._classify()
        self._check_variants()

    def sizes_of(self, plan: ExecutionPlan, values: list[Any]) -> dict[str, tuple[int, ...]]:
        """Run a plan on its initial slots; return the shapes of inputs, constants and results."""
        sizes = {name: tuple(value.shape) for name, value in self.constants.items()}
        for name, slot in zip(self.inputs, plan.inputs, strict=True):
            if slot:
                sizes[name] = tuple(values[slot].shape)
        for step in plan.steps:
            run_steps(
                self.model,
                (ExecutionStep(step.kernel, step.inputs, step.outputs, (), step.node),),
                values,
            )
            for tensor, slot in zip(step.node.outputs, step.outputs, strict=True):
                if slot and values[slot] is not None:
                    sizes[tensor.name] = tuple(values[slot].shape)
            for slot in step.frees:
                values[slot] = None
        return sizes

    def __deepcopy__(self, memo: object) -> "Program":
        """Return this object itself, because it does not change after construction."""
        return self

    def resolve(self, name: str) -> str:
        """Return the name of the tensor that Identity nodes pass on under this name."""
        while name in self._alias:
            name = self._alias[name]
        return name

    def _check_operators(self) -> None:
        missing: dict[str, list[gs.Node]] = {}
        for node in self.nodes:
            if not is_standard(node.domain) or node.op not in BUILDERS:
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
            hint="use acgraph prune, which needs no training, or export without these operators",
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
        """Fold nodes that depend only on constants; mark those that depend only on input sizes."""
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
            BackendError: The kernel failed.
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
            raise kernel_failure(self.model, node, error) from error
        results = (result,) if len(node.outputs) == 1 else result
        return {
            tensor.name: value.contiguous().numpy()
            for tensor, value in zip(node.outputs, results, strict=False)
            if tensor.name and value is not None
        }

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
            is_frozen=variant.is_frozen,
        )

    def _is_used(self, tensor: gs.Tensor) -> bool:
        return bool(tensor.name) and (bool(tensor.outputs) or tensor.name in self.outputs)

    def _check_variants(self) -> None:
        """Build every kernel once, to report unsupported attributes before the first run."""
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
    ) -> ExecutionPlan:
        """Build the execution plan of a variant.

        Args:
            variant: The settings of the plan.
            measured: Values of host tensors for the input sizes; if empty, they become steps.
            device: Device of the constants.
        """
        known = {**self.known, **measured}
        wanted = [self.resolve(name) for name in (*self.outputs, *variant.watch)]
        nodes = self.needed(wanted, known)
        slots = Slots(known, self._tensor_of)
        steps: list[ExecutionStep] = []
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
            steps.append(ExecutionStep(kernel, places, targets, (), node))
        for name in wanted:
            slots.of(name)
        weights = tuple((slots.index[n], n) for n in self.roles if n in slots.index)
        inputs = tuple(slots.index.get(name, 0) for name in self.inputs)
        kept = wanted[: len(self.outputs)] if variant.is_visited else wanted
        pinned = {slots.index[name] for name in kept}
        pinned |= {slot for slot, _ in weights} | {slots.index[n] for n in slots.constants} | {0}
        return ExecutionPlan(
            steps=tuple(with_frees(steps, pinned)),
            template=slots.template(device),
            inputs=inputs,
            weights=weights,
            outputs=tuple(slots.index[name] for name in wanted),
        )

    def _tensor_of(self, name: str, value: Array) -> torch.Tensor:
        """Convert a value to a tensor; plans share the tensors of known values."""
        if name not in self.known:
            return tensor_of_array(value)
        if name not in self._tensors:
            self._tensors[name] = tensor_of_array(value)
        return self._tensors[name]

    def needed(self, wanted: Sequence[str], known: Collection[str]) -> list[gs.Node]:
        """Return the nodes that the wanted tensors depend on, in execution order."""
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


def _batch_of(model: Model, axes: Sequence[int | None]) -> int | None:
    """Return the batch size that an input declares or constants imply; None if it is free."""
    for tensor, axis in zip(model.graph.inputs, axes, strict=True):
        size = tensor.shape[axis] if tensor.shape and axis is not None else None
        if isinstance(size, int) and size > 0:
            return size
    return (model.sizes or resolve_sizes(model)).fixed_batch


def _in_order(model: Model) -> list[gs.Node]:
    """Return the nodes in topological order: the order of the file if it is one."""
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
    """Sort the nodes topologically by depth-first search, in the order of the file."""
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
