"""An ONNX graph as a PyTorch module; ``export.py`` is the way back."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import torch

from acgraph.backends.torch.compiled import CompiledPlans, Request
from acgraph.backends.torch.ops.indexing import array_of_tensor, tensor_of_array
from acgraph.backends.torch.parts import LEAST_STATISTICS, cut_into_parts, join_parts
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

    Weights are trainable float constants (see `acgraph.backends.torch.weights`); running statistics
    of BatchNormalization are buffers. Constants that the exporter had merged have parameters of
    their own, named as `acgraph.passes.untie_constants` names them. ``train()`` and ``eval()``
    decide about Dropout and BatchNormalization; what the file says of its mode does not.

    BatchNormalization follows PyTorch in training: the variance that enters the running
    statistics is the unbiased one (ONNX writes the biased one; they differ by n / (n - 1)).

    Args:
        model: The model to run. It is cloned; later changes to it do not reach the module.

    Attributes:
        momentum: Weight of the new batch in every BatchNormalization, in place of its own.

    Raises:
        UnsupportedOpError: operators, or forms of them, that the backend lacks: all of them.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        own = clone_model(model)
        untie_constants(own)
        recognise_activations(own)
        self._program = Program(own)
        self._keys: dict[str, str] = {}
        self.momentum: float | None = None
        self._compiled = CompiledPlans(self._program, self._constant)
        for name, role in self._program.roles.items():
            key = self._new_key(name)
            tensor = tensor_of_array(self._program.constants[name])
            if role is Role.WEIGHT:
                self.register_parameter(key, torch.nn.Parameter(tensor))
            else:
                self.register_buffer(key, tensor)

    def _new_key(self, name: str) -> str:
        """Make an attribute name of an ONNX name: PyTorch allows no dots."""
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
        """Names of the graph's outputs, in the order of ``forward``'s result."""
        return list(self._program.outputs)

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that ``forward`` insists on; None where any will do.

        A model that declares its batch also runs at others where that is provably right: see
        `acgraph.analysis.batch`. Where it is not, ``forward`` cuts what it is given into
        parts of this batch, see `acgraph.backends.torch.parts`.
        """
        return None if self.fixed_reason is None else self._program.batch

    @property
    def fixed_reason(self) -> Diagnostic | None:
        """Why the batch is fixed; None where it is not."""
        if self._program.batch is None:
            return None
        sizes = input_sizes(self._program.model).shapes
        dtypes = {t.name: t.dtype for t in self._program.model.graph.inputs}
        rng = np.random.default_rng(0)  # equal numbers would show no mixing of samples
        inputs = [
            torch.from_numpy(rng.standard_normal(sizes[name]).astype(dtypes[name]))
            for name in self._program.inputs
        ]
        inputs = [x.abs().to(self._device()) for x in inputs]
        return self._compiled.batch_plan(inputs).reason

    @property
    def keeps_statistics(self) -> bool:
        """Whether training leaves BatchNormalization's running statistics, of too small a batch."""
        return 0 < (self.fixed_batch or 0) < LEAST_STATISTICS

    def _device(self) -> torch.device:
        keys = list(self._keys.values())
        return self._tensor(keys[0]).device if keys else torch.device("cpu")

    def parameter_names(self) -> dict[str, str]:
        """Map the name of every parameter of this module to the name of its constant in ONNX.

        The keys are those of ``named_parameters()``; running statistics are not among them.
        """
        roles = self._program.roles
        return {key: name for name, key in self._keys.items() if roles[name] is Role.WEIGHT}

    def parameter(self, name: str) -> torch.nn.Parameter:
        """Return the parameter of an ONNX constant.

        Raises:
            BackendError: the constant is not a weight.
        """
        found = self._parameters.get(self._keys.get(name, ""))
        if found is None:
            raise BackendError("not a trainable constant", location=Location(value=name))
        return found

    def weights(self, names: Iterable[str] | None = None) -> dict[str, Array]:
        """Copy trainable constants and running statistics by ONNX name: all, or those named."""
        chosen = self._keys if names is None else [n for n in names if n in self._keys]
        return {name: array_of_tensor(self._tensor(self._keys[name])) for name in chosen}

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set the named constants; those that are not named stay.

        Raises:
            BackendError: a name that is not a weight, or a value of another shape.
        """
        for name, value in weights.items():
            if name not in self._keys:
                raise BackendError("not a trainable constant", location=Location(value=name))
            target = self._tensor(self._keys[name])
            if tuple(target.shape) != np.shape(value):
                raise BackendError(
                    f"has shape {tuple(target.shape)}, not {np.shape(value)}",
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
        """Run the graph; return its outputs and the named tensors inside it.

        Raises:
            BackendError: no node makes a tensor of that name.
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
            inputs: In graph order, of a number of examples that the graph runs at once.
            watch: Tensors whose slots are the last outputs of the plan; they are freed, too.
        """
        self._check_inputs(inputs)
        plan = self._plan(inputs, watch, is_visited=True)
        return plan, self._compiled.filled(plan, inputs)

    def whole_parts(self, inputs: Sequence[torch.Tensor]) -> list[Sequence[torch.Tensor]]:
        """Cut inputs into what the graph runs at once; one that would have to be filled up is left.

        Unless it is the only one: then it is filled up.
        """
        self._check_inputs(inputs)
        batch = self._program.batch
        if batch is None or not self._compiled.is_cut(inputs):
            return [inputs]
        parts = list(cut_into_parts(self._compiled.examples(inputs), batch))
        return [part for part, count in parts if count == batch] or [parts[0][0]]

    def step_by_step(self, plan: ExecutionPlan, values: list[Any]) -> Iterator[ExecutionStep]:
        """Run a plan on filled slots; yield each step after it has run, before it frees any."""
        for step in plan.steps:
            alone = ExecutionStep(step.kernel, step.inputs, step.outputs, (), step.node)
            run_steps(self._program.model, (alone,), values)
            yield step
            for slot in step.frees:
                values[slot] = None

    def watching(self, names: Collection[str]) -> Callable[..., tuple[torch.Tensor, ...]]:
        """Return what runs the graph and gives the named tensors after its outputs."""
        watch = tuple(names)
        return (lambda *inputs: self._run(inputs, watch)) if watch else self

    @torch.no_grad()
    def tensor_sizes(self, *inputs: torch.Tensor) -> dict[str, tuple[int, ...]]:
        """Return the sizes of weights, inputs and all tensors that the outputs depend on."""
        with evaluating(self):
            plan = self._plan(inputs, ())
            return self._program.sizes_of(plan, self._compiled.filled(plan, inputs))

    def walk(self) -> Iterator[tuple[gs.Node, tuple[str, ...]]]:
        """Yield the nodes that run, in order, with what they read; Identity nodes are no step."""
        for node in self._program.nodes:
            yield node, tuple(self._program.resolve(tensor.name) for tensor in node.inputs)

    def plan_for(
        self, *inputs: torch.Tensor, watch: Collection[str] = ()
    ) -> tuple[ExecutionPlan, list[torch.Tensor]]:
        """Return the plan that inputs of these sizes run by, and its weights in its order."""
        plan = self._plan(inputs, watch)
        return plan, [self._constant(name) for _, name in plan.weights]

    def _run(
        self, inputs: Sequence[torch.Tensor], watch: tuple[str, ...]
    ) -> tuple[torch.Tensor, ...]:
        self._check_inputs(inputs)
        batch = self._program.batch
        if batch is None or not self._compiled.is_cut(inputs):
            return self._compiled.execute(self._plan(inputs, watch), inputs)
        parts = list(cut_into_parts(self._compiled.examples(inputs), batch))
        results = [self._compiled.execute(self._plan(part, watch), part) for part, _ in parts]
        return join_parts(results, [count for _, count in parts], batch)

    def _check_inputs(self, inputs: Sequence[torch.Tensor]) -> None:
        if len(inputs) != len(self._program.inputs):
            raise DataError(
                f"the model takes {len(self._program.inputs)} inputs, not {len(inputs)}",
                location=self._program.model.location(),
                hint=f"in the order {', '.join(self._program.inputs)}",
            )

    def _plan(
        self, inputs: Sequence[torch.Tensor], watch: Collection[str], *, is_visited: bool = False
    ) -> ExecutionPlan:
        momentum = self.momentum if self.training else None
        request = Request(self.training, momentum, tuple(watch), is_visited)
        return self._compiled.plan(inputs, request)
