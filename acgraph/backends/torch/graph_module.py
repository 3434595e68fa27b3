"""An ONNX graph as a PyTorch module; ``export.py`` converts it back."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch

from acgraph.backends.torch.compiled import CompiledPlans, Request
from acgraph.backends.torch.ops.indexing import array_of_tensor, tensor_of_array
from acgraph.backends.torch.parts import MIN_STATISTICS_BATCH, cut_into_parts, join_parts
from acgraph.backends.torch.plan import ExecutionPlan, ExecutionStep, run_steps
from acgraph.backends.torch.program import Program
from acgraph.backends.torch.recognise import recognise_activations
from acgraph.backends.torch.runtime import evaluating
from acgraph.diagnostics import Diagnostic, Location
from acgraph.errors import BackendError, DataError
from acgraph.ir import Array, Model, clone_model, input_sizes
from acgraph.operators import Role
from acgraph.passes.untie_constants import untie_constants


class GraphModule(torch.nn.Module):
    """Runs a model node by node; its parameters are the model's weights.

    Parameters are the trainable float constants (see `acgraph.backends.torch.weights`); buffers are
    the running statistics of BatchNormalization. Constants that the exporter merged are separate
    parameters, with the names of `acgraph.passes.untie_constants`. ``train()`` and ``eval()`` set
    the mode of Dropout and BatchNormalization; the training mode in the file has no effect.

    In training, BatchNormalization updates its running variance with the unbiased variance, as
    PyTorch does. (ONNX specifies the biased one, which differs by a factor of n / (n - 1).)

    Args:
        model: The model to run. It is cloned; later changes to it do not affect the module.

    Attributes:
        momentum: Weight of the new batch in the running statistics; replaces that of the nodes.
        is_frozen: Whether BatchNormalization uses and keeps its running statistics in training.

    Raises:
        UnsupportedOpError: Operators, or their attributes, are not supported; it names all of
            them.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        own = clone_model(model)
        untie_constants(own)
        recognise_activations(own)
        self._program = Program(own)
        self._keys: dict[str, str] = {}
        self.momentum: float | None = None
        self.is_frozen = False
        self._compiled = CompiledPlans(self._program, self._constant)
        for name, role in self._program.roles.items():
            key = self._new_key(name)
            tensor = tensor_of_array(self._program.constants[name])
            if role is Role.WEIGHT:
                self.register_parameter(key, torch.nn.Parameter(tensor))
            else:
                self.register_buffer(key, tensor)

    def _new_key(self, name: str) -> str:
        """Make a unique attribute name from an ONNX name, without dots, as PyTorch requires."""
        stem = re.sub(r"\W", "_", name) or "weight"
        key, number = f"w_{stem}", 2
        taken = set(self._keys.values())
        while key in taken:
            key = f"w_{stem}_{number}"
            number += 1
        self._keys[name] = key
        return key

    @property
    def input_names(self) -> list[str]:
        """Names of the graph's inputs, in the order of ``forward``."""
        return list(self._program.inputs)

    @property
    def output_names(self) -> list[str]:
        """Names of the graph's outputs, in the order in which ``forward`` returns them."""
        return list(self._program.outputs)

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size at which the graph runs; None if it runs at any.

        A model with a declared batch size also runs at others if `acgraph.analysis.batch` shows
        that this is correct. If not, ``forward`` splits its inputs into parts of the fixed batch
        size (`acgraph.backends.torch.parts`).
        """
        return None if self.fixed_reason is None else self._program.batch

    @property
    def fixed_reason(self) -> Diagnostic | None:
        """Why the batch size is fixed; None if it is not."""
        if self._program.batch is None:
            return None
        sizes = input_sizes(self._program.model).shapes
        dtypes = {t.name: t.dtype for t in self._program.model.graph.inputs}
        rng = np.random.default_rng(0)  # equal samples would hide that samples are mixed
        inputs = [
            torch.from_numpy(rng.standard_normal(sizes[name]).astype(dtypes[name]))
            for name in self._program.inputs
        ]
        inputs = [x.abs().to(self._device()) for x in inputs]
        return self._compiled.batch_plan(inputs).reason

    @property
    def keeps_statistics(self) -> bool:
        """Whether training keeps the running statistics, because the fixed batch is too small."""
        return 0 < (self.fixed_batch or 0) < MIN_STATISTICS_BATCH

    def _device(self) -> torch.device:
        keys = list(self._keys.values())
        return self._tensor(keys[0]).device if keys else torch.device("cpu")

    def parameter_names(self) -> dict[str, str]:
        """Return the ONNX name of each parameter, by its key in ``named_parameters()``.

        Running statistics are not included.
        """
        roles = self._program.roles
        return {key: name for name, key in self._keys.items() if roles[name] is Role.WEIGHT}

    def parameter(self, name: str) -> torch.nn.Parameter:
        """Return the parameter of an ONNX constant.

        Raises:
            BackendError: The constant is not trainable.
        """
        found = self._parameters.get(self._keys.get(name, ""))
        if found is None:
            raise BackendError("not a trainable constant", location=Location(value=name))
        return found

    def weights(self, names: Iterable[str] | None = None) -> dict[str, Array]:
        """Copy trainable constants and running statistics, by ONNX name: all or the given ones."""
        chosen = self._keys if names is None else [n for n in names if n in self._keys]
        return {name: array_of_tensor(self._tensor(self._keys[name])) for name in chosen}

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set the given constants; the others are not changed.

        Raises:
            BackendError: A constant is not trainable, or a value has another shape.
        """
        for name, value in weights.items():
            if name not in self._keys:
                raise BackendError("not a trainable constant", location=Location(value=name))
            target = self._tensor(self._keys[name])
            if tuple(target.shape) != np.shape(value):
                raise BackendError(
                    f"the weight has shape {tuple(target.shape)}, but the value {np.shape(value)}",
                    location=Location(value=name),
                )
            with torch.no_grad():
                target.copy_(tensor_of_array(np.asarray(value)))

    def _constant(self, name: str) -> torch.Tensor:
        return self._tensor(self._keys[name])

    def _tensor(self, key: str) -> torch.Tensor:
        parameter = self._parameters.get(key)
        found = self._buffers[key] if parameter is None else parameter
        if found is None:
            raise BackendError(
                "the weight was removed from the module", location=Location(value=key)
            )
        return found

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the graph on its inputs, in graph order; return its outputs, in graph order."""
        return self._run(inputs, ())

    def run_and_watch(
        self, names: Collection[str], *inputs: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Run the graph; return its outputs and the given intermediate tensors.

        Raises:
            BackendError: A tensor is not in the graph.
        """
        watch = tuple(names)
        results = self._run(inputs, watch)
        count = len(self._program.outputs)
        return results[:count], dict(zip(watch, results[count:], strict=True))

    def filled_plan(
        self, inputs: Sequence[torch.Tensor], watch: Collection[str] = ()
    ) -> tuple[ExecutionPlan, list[Any]]:
        """Return the plan for inputs of these sizes, and its slots before the first step.

        Args:
            inputs: Inputs in graph order, with a batch size at which the graph runs.
            watch: Tensors whose slots follow the outputs of the plan; their slots are freed early.
        """
        self._check_inputs(inputs)
        plan = self._plan(inputs, watch, is_visited=True)
        return plan, self._compiled.initial_slots(plan, inputs)

    def whole_parts(self, inputs: Sequence[torch.Tensor]) -> list[Sequence[torch.Tensor]]:
        """Split inputs into parts of the fixed batch size, without an incomplete last part.

        If the only part is incomplete, examples are repeated to fill it.
        """
        self._check_inputs(inputs)
        batch = self._program.batch
        if batch is None or not self._compiled.needs_parts(inputs):
            return [inputs]
        parts = list(cut_into_parts(self._compiled.examples(inputs), batch))
        return [part for part, count in parts if count == batch] or [parts[0][0]]

    def step_by_step(self, plan: ExecutionPlan, values: list[Any]) -> Iterator[ExecutionStep]:
        """Run a plan step by step; yield each step after it ran and before it frees its slots."""
        for step in plan.steps:
            alone = ExecutionStep(step.kernel, step.inputs, step.outputs, (), step.node)
            run_steps(self._program.model, (alone,), values)
            yield step
            for slot in step.frees:
                values[slot] = None

    def watching(self, names: Collection[str]) -> Callable[..., tuple[torch.Tensor, ...]]:
        """Return a function that runs the graph and returns the given tensors after the outputs."""
        watch = tuple(names)
        return (lambda *inputs: self._run(inputs, watch)) if watch else self

    @torch.no_grad()
    def tensor_sizes(self, *inputs: torch.Tensor) -> dict[str, tuple[int, ...]]:
        """Return the shapes of weights, inputs and all tensors that the outputs depend on."""
        with evaluating(self):
            plan = self._plan(inputs, ())
            return self._program.sizes_of(plan, self._compiled.initial_slots(plan, inputs))

    def walk(self) -> Iterator[tuple[gs.Node, tuple[str, ...]]]:
        """Yield the nodes in execution order with their input names; Identity nodes are skipped."""
        for node in self._program.nodes:
            yield node, tuple(self._program.resolve(tensor.name) for tensor in node.inputs)

    def plan_for(
        self, *inputs: torch.Tensor, watch: Collection[str] = ()
    ) -> tuple[ExecutionPlan, list[torch.Tensor]]:
        """Return the plan for inputs of these sizes, and the weights in the plan's order."""
        plan = self._plan(inputs, watch)
        return plan, [self._constant(name) for _, name in plan.weights]

    def _run(
        self, inputs: Sequence[torch.Tensor], watch: tuple[str, ...]
    ) -> tuple[torch.Tensor, ...]:
        self._check_inputs(inputs)
        batch = self._program.batch
        if batch is None or not self._compiled.needs_parts(inputs):
            return self._compiled.execute(self._plan(inputs, watch), inputs)
        parts = list(cut_into_parts(self._compiled.examples(inputs), batch))
        results = [self._compiled.execute(self._plan(part, watch), part) for part, _ in parts]
        return join_parts(results, [count for _, count in parts], batch)

    def _check_inputs(self, inputs: Sequence[torch.Tensor]) -> None:
        if len(inputs) != len(self._program.inputs):
            raise DataError(
                f"the model has {len(self._program.inputs)} inputs, not {len(inputs)}",
                location=self._program.model.location(),
                hint=f"give the inputs in the order {', '.join(self._program.inputs)}",
            )

    def _plan(
        self, inputs: Sequence[torch.Tensor], watch: Collection[str], *, is_visited: bool = False
    ) -> ExecutionPlan:
        momentum = self.momentum if self.training else None
        request = Request(self.training, momentum, tuple(watch), is_visited, self.is_frozen)
        return self._compiled.plan(inputs, request)
