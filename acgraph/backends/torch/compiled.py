"""A cache of execution plans, compiled for a mode and input sizes on first use."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from acgraph.analysis.batch.plan import BatchPlan, plan_batch
from acgraph.backends.torch.batch import check_batch_plan, with_batch
from acgraph.backends.torch.host_values import values_by_size
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.ops.indexing import array_of_tensor
from acgraph.backends.torch.parts import MIN_STATISTICS_BATCH
from acgraph.backends.torch.plan import ExecutionPlan, Variant, run_steps
from acgraph.backends.torch.program import Program
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, DataError
from acgraph.ir import Array
from acgraph.operators import Role

#: Largest number of combinations of mode and input sizes in the cache.
_MAX_PLANS = 16


@dataclass(frozen=True, slots=True)
class Request:
    """The settings that a plan is compiled for, besides the sizes of the inputs.

    Attributes:
        training: Whether Dropout and BatchNormalization are in training mode.
        momentum: Momentum of every BatchNormalization in training; None keeps that of the node.
        watch: Intermediate tensors that the plan returns after the outputs of the graph.
        is_visited: Whether the plan runs step by step, so that watched tensors can be freed early.
        is_frozen: Whether BatchNormalization uses its running statistics even in training.
    """

    training: bool = False
    momentum: float | None = None
    watch: tuple[str, ...] = ()
    is_visited: bool = False
    is_frozen: bool = False


class CompiledPlans:
    """Compiles a program for given input sizes, and caches the latest plans.

    Args:
        program: The program.
        constant: Returns the current value of a weight or running statistic, by its ONNX name.
    """

    def __init__(self, program: Program, constant: Callable[[str], torch.Tensor]) -> None:
        self._program = program
        self._constant = constant
        self._plans: OrderedDict[tuple[Any, ...], ExecutionPlan] = OrderedDict()
        self._measured: OrderedDict[tuple[Any, ...], dict[str, Array]] = OrderedDict()
        self._batches: OrderedDict[tuple[Any, ...], BatchPlan] = OrderedDict()

    def batch_plan(self, inputs: Sequence[torch.Tensor]) -> BatchPlan:
        """Return how to run at another batch size than the export's, for these example sizes."""
        batch = self._program.batch
        if batch is None:
            return BatchPlan()
        key = self.examples(inputs).example_shapes()
        found = self._batches.get(key)
        if found is None:
            like = self.examples(inputs).mapped(lambda x, axis: with_batch(x, batch, axis)).tensors
            measured = self._measure(like)
            plan = self._program.compile(Variant(training=False), measured, like[0].device)
            with torch.no_grad():
                sizes = self._program.sizes_of(plan, self.initial_slots(plan, like))
            found = plan_batch(self._program, sizes, measured, batch)
            if found.reason is None:
                found = self._check_batch_plan(found, like)
            _store(self._batches, key, found)
        return found

    def _check_batch_plan(self, found: BatchPlan, like: Sequence[torch.Tensor]) -> BatchPlan:
        """Check a batch plan numerically."""

        def run(inputs: Sequence[torch.Tensor], rebatched: BatchPlan) -> tuple[torch.Tensor, ...]:
            variant = Variant(training=False, rebatch=rebatched.rebatch)
            plan = self._program.compile(
                variant, self._measure(inputs, rebatched), inputs[0].device
            )
            return self.execute(plan, inputs)

        return check_batch_plan(found, like, run, list(self._program.outputs), self._program.axes)

    def needs_parts(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Whether the inputs must be split into parts of the fixed batch size."""
        batch = self._program.batch
        if batch is None or len(self.examples(inputs)) in (0, batch):
            return False
        return self.batch_plan(inputs).reason is not None

    def examples(self, inputs: Sequence[torch.Tensor]) -> Inputs:
        """Return the inputs together with their batch axes."""
        return Inputs(tuple(inputs), self._program.axes)

    def _is_frozen(self, inputs: Sequence[torch.Tensor], request: Request) -> bool:
        """Whether BatchNormalization keeps its statistics: as requested, or for a small batch."""
        if request.is_frozen:
            return request.training
        batch = self._program.batch
        if not request.training or batch is None or batch >= MIN_STATISTICS_BATCH:
            return False
        has_statistics = any(role is not Role.WEIGHT for role in self._program.roles.values())
        return has_statistics and self.batch_plan(inputs).reason is not None

    def plan(self, inputs: Sequence[torch.Tensor], request: Request) -> ExecutionPlan:
        """Return the plan for inputs of these sizes.

        Raises:
            BackendError: A watched tensor is not in the graph.
            DataError: The export fixed another batch size, and the graph runs at no other.
        """
        program = self._program
        sizes = tuple(x.shape for x in inputs) if program.host else ()
        x = self.examples(inputs)
        other, device = program.batch is not None and len(x) != program.batch, x.device
        samples = x.example_shapes() if other else ()
        key = (request, device, sizes, other, samples)
        plan = self._plans.get(key)
        if plan is None:
            self._check_names(request.watch)
            found = self._leave_batch(inputs) if other else BatchPlan()
            variant = Variant(
                request.training, request.momentum, found.rebatch, request.watch,
                request.is_visited, self._is_frozen(inputs, request),
            )  # fmt: skip
            plan = program.compile(variant, self._measure(inputs, found), device)
            _store(self._plans, key, plan)
        return plan

    def _check_names(self, watch: tuple[str, ...]) -> None:
        tensors = self._program.model.graph.tensors() if watch else {}
        for name in watch:
            if name not in tensors:
                raise BackendError("no such tensor in the graph", location=Location(value=name))

    def _leave_batch(self, inputs: Sequence[torch.Tensor]) -> BatchPlan:
        found = self.batch_plan(inputs)
        if found.reason is not None:
            raise DataError(
                f"the export fixed the batch size at {self._program.batch} ({found.reason})",
                location=self._program.model.location(),
                hint="export the model with a dynamic batch size",
            )
        return found

    def _measure(
        self, inputs: Sequence[torch.Tensor], batch: BatchPlan | None = None
    ) -> dict[str, Array]:
        """Compute the shape tensors of the graph for these sizes."""
        if not self._program.host:
            return {}
        sizes = tuple(x.shape for x in inputs)
        found = self._measured.get(sizes)
        if found is None:
            names = tuple(sorted(self._program.host))
            rebatch = batch.rebatch if batch is not None else {}
            plan = self._program.compile(Variant(False, None, rebatch, names), {}, inputs[0].device)
            values = values_by_size(self._program, plan, self.initial_slots(plan, inputs))
            if values is None:
                with torch.no_grad():
                    values = self.execute(plan, inputs)[len(self._program.outputs) :]
            found = {n: array_of_tensor(v) for n, v in zip(names, values, strict=True)}
            _store(self._measured, sizes, found)
        return found

    def initial_slots(self, plan: ExecutionPlan, inputs: Sequence[torch.Tensor]) -> list[Any]:
        """Return the slots of a plan before its first step, with inputs and constants."""
        values = plan.template.copy()
        for slot, tensor in zip(plan.inputs, inputs, strict=True):
            values[slot] = tensor
        values[0] = None
        for slot, name in plan.weights:
            values[slot] = self._constant(name)
        return values

    def execute(
        self, plan: ExecutionPlan, inputs: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        """Run a plan; return the outputs of the graph, then the watched tensors."""
        values = self.initial_slots(plan, inputs)
        run_steps(self._program.model, plan.steps, values)
        return tuple(values[slot] for slot in plan.outputs)


def _store(store: "OrderedDict[tuple[Any, ...], Any]", key: tuple[Any, ...], value: Any) -> Any:
    """Store a value, and drop the oldest one if there are too many."""
    store[key] = value
    if len(store) > _MAX_PLANS:
        store.popitem(last=False)
    return value
