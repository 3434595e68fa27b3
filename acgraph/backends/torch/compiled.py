"""The execution plans of a program, compiled for a mode and for sizes when first needed."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from acgraph.analysis.batch.plan import BatchPlan, plan_batch
from acgraph.backends.torch.batch import tried, with_batch
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.ops.indexing import array_of_tensor
from acgraph.backends.torch.parts import LEAST_STATISTICS
from acgraph.backends.torch.plan import ExecutionPlan, Variant, run_steps
from acgraph.backends.torch.program import Program
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, DataError
from acgraph.ir import Array
from acgraph.operators import Role

#: How many combinations of mode and input sizes stay compiled.
_MAX_PLANS = 16


@dataclass(frozen=True, slots=True)
class Request:
    """What a plan is compiled for, besides the sizes of the inputs.

    Attributes:
        training: Whether Dropout and BatchNormalization behave as in training.
        momentum: Of every BatchNormalization in training; None leaves each its own.
        watch: Tensors inside the graph that are outputs of the plan, after those of the graph.
        is_visited: Whether somebody looks at each step while the plan runs.
    """

    training: bool = False
    momentum: float | None = None
    watch: tuple[str, ...] = ()
    is_visited: bool = False


class CompiledPlans:
    """Compiles a program for the inputs that it meets, and keeps the latest results.

    Args:
        program: What runs.
        constant: Returns the present value of a weight or a running statistic by its ONNX name.
    """

    def __init__(self, program: Program, constant: Callable[[str], torch.Tensor]) -> None:
        self._program = program
        self._constant = constant
        self._plans: OrderedDict[tuple[Any, ...], ExecutionPlan] = OrderedDict()
        self._measured: OrderedDict[tuple[Any, ...], dict[str, Array]] = OrderedDict()
        self._batches: OrderedDict[tuple[Any, ...], BatchPlan] = OrderedDict()

    def batch_plan(self, inputs: Sequence[torch.Tensor]) -> BatchPlan:
        """Find out how to leave the batch of the export, for these sizes of a sample."""
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
                sizes = self._program.sizes_of(plan, self.filled(plan, like))
            found = plan_batch(self._program, sizes, measured, batch)
            if found.reason is None:
                found = self._tried(found, like)
            _remember(self._batches, key, found)
        return found

    def _tried(self, found: BatchPlan, like: Sequence[torch.Tensor]) -> BatchPlan:
        """Check a batch plan by numbers as well."""

        def run(inputs: Sequence[torch.Tensor], rebatched: BatchPlan) -> tuple[torch.Tensor, ...]:
            variant = Variant(training=False, rebatch=rebatched.rebatch)
            plan = self._program.compile(
                variant, self._measure(inputs, rebatched), inputs[0].device
            )
            return self.execute(plan, inputs)

        return tried(found, like, run, list(self._program.outputs), self._program.axes)

    def is_cut(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Return whether so many examples must go through the graph in parts."""
        batch = self._program.batch
        if batch is None or len(self.examples(inputs)) in (0, batch):
            return False
        return self.batch_plan(inputs).reason is not None

    def examples(self, inputs: Sequence[torch.Tensor]) -> Inputs:
        """Tell the examples in the inputs apart."""
        return Inputs(tuple(inputs), self._program.axes)

    def _is_frozen(self, inputs: Sequence[torch.Tensor], request: Request) -> bool:
        """Whether BatchNormalization must keep its statistics: the batch is fixed and small."""
        batch = self._program.batch
        if not request.training or batch is None or batch >= LEAST_STATISTICS:
            return False
        has_statistics = any(role is not Role.WEIGHT for role in self._program.roles.values())
        return has_statistics and self.batch_plan(inputs).reason is not None

    def plan(self, inputs: Sequence[torch.Tensor], request: Request) -> ExecutionPlan:
        """Return the plan for inputs of these sizes.

        Raises:
            BackendError: a tensor is watched that the graph lacks.
            DataError: the export fixed another batch, and the network cannot leave it.
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
            _remember(self._plans, key, plan)
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
                f"the export fixed the batch at {self._program.batch} ({found.reason})",
                location=self._program.model.location(),
                hint="export the model with a dynamic batch",
            )
        return found

    def _measure(
        self, inputs: Sequence[torch.Tensor], batch: BatchPlan | None = None
    ) -> dict[str, Array]:
        """Compute the shape arithmetic for these sizes, by one run without gradients."""
        if not self._program.host:
            return {}
        sizes = tuple(x.shape for x in inputs)
        found = self._measured.get(sizes)
        if found is None:
            names = tuple(sorted(self._program.host))
            rebatch = batch.rebatch if batch is not None else {}
            plan = self._program.compile(Variant(False, None, rebatch, names), {}, inputs[0].device)
            with torch.no_grad():
                values = self.execute(plan, inputs)[len(self._program.outputs) :]
            found = {n: array_of_tensor(v) for n, v in zip(names, values, strict=True)}
            _remember(self._measured, sizes, found)
        return found

    def filled(self, plan: ExecutionPlan, inputs: Sequence[torch.Tensor]) -> list[Any]:
        """Return the slots of a plan before its first step: inputs and constants filled in."""
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
        values = self.filled(plan, inputs)
        run_steps(self._program.model, plan.steps, values)
        return tuple(values[slot] for slot in plan.outputs)


def _remember(store: "OrderedDict[tuple[Any, ...], Any]", key: tuple[Any, ...], value: Any) -> Any:
    """Store a value, forgetting the oldest beyond a fixed count."""
    store[key] = value
    if len(store) > _MAX_PLANS:
        store.popitem(last=False)
    return value
