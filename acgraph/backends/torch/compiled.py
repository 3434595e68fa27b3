"""Training steps compiled by ``torch.compile``: where it is asked for, or where it pays."""

import logging
import time
import types
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.losses import Outputs
from acgraph.backends.torch.modes import MARGIN, TIMED_STEPS, Mode, rehearsal, time_step
from acgraph.backends.torch.plan import Plan
from acgraph.backends.torch.remembered import recall, remember, signature
from acgraph.errors import BackendError

log = logging.getLogger(__name__)

#: What ``torch.compile`` compiles with.
BACKEND = "inductor"
#: A network that was never compiled here is tried where so much of a step saved in every step ...
BEST_GAIN = 0.3
#: ... would pay for so many seconds a node. Both were measured on ResNet-20, see docs/torch.md.
SECONDS_PER_NODE = 1.0
#: Under what timings are remembered.
KIND = "compiled"


class Compiled:
    """Runs a module as compiled code, compiling at the first batch of each kind.

    Weights and running statistics stay those of the module; whatever else runs the module does so
    uncompiled.

    Args:
        module: The module.
        watch: Tensors inside it to return after its outputs.
    """

    def __init__(self, module: GraphModule, watch: Collection[str] = ()) -> None:
        self._module = module
        self._watch = tuple(watch)
        self._by_shape: dict[tuple[object, ...], tuple[Callable[..., Outputs], list[Tensor]]] = {}
        self._by_plan: dict[Plan, Callable[..., Outputs]] = {}

    def __call__(self, x: Tensor) -> Outputs:
        """Run the module on a batch.

        Raises:
            BackendError: it does not compile.
        """
        key = (tuple(x.shape), self._module.training)
        if key not in self._by_shape:
            plan, weights = self._module.plan_for(x, watch=self._watch)
            if plan not in self._by_plan:
                self._by_plan[plan] = torch.compile(
                    _function_of(plan), backend=BACKEND, fullgraph=True
                )
            self._by_shape[key] = (self._by_plan[plan], weights)
        function, weights = self._by_shape[key]
        # A pass has batches of two sizes: one function for both, where the network allows it.
        torch._dynamo.maybe_mark_dynamic(x, 0)
        try:
            return function(weights, [x])
        except RuntimeError as error:
            raise _failure(error) from error


def choose_compiled(
    module: GraphModule,
    x: Tensor,
    mode: Mode,
    *,
    wanted: Literal["auto"] | bool,
    steps: int,
    time_budget_s: float | None = None,
    sizes: Sequence[int],
    watch: Collection[str] = (),
) -> Compiled | None:
    """Compile a module, where that is wanted, or where it pays within a fit.

    Where it is open, a compiled step is timed against an uncompiled one, provided that the steps
    ahead could pay for compiling at all. Both timings are remembered on disk.

    Args:
        module: The network, on its device and in the layout of the mode.
        x: A typical batch.
        mode: How it runs.
        wanted: Whether to compile, or ``auto``.
        steps: How many are ahead.
        time_budget_s: Seconds for compiling and for these steps; None for no limit.
        sizes: Images at once in these steps; each is tried.
        watch: Tensors inside it that a step reads.

    Raises:
        BackendError: it does not compile.
    """
    if wanted is False:
        return None
    if wanted is True:
        return _compile(module, x, mode, sizes, watch)[0]
    key = signature(module, x, asdict(mode))
    known = recall(KIND, key)
    if known is None:
        with rehearsal(module):
            plain_s = _seconds(module, module.watching(watch), x, mode)
        nodes = len(module.plan_for(x)[0].steps)
        saved_s, cost_s = BEST_GAIN * plain_s, SECONDS_PER_NODE * nodes
    else:
        plain_s = float(known["plain_s"])
        saved_s, cost_s = plain_s - float(known["compiled_s"]), float(known["compiling_s"])
    if time_budget_s is not None:
        # Compiling pays where (budget - cost) / compiled > budget / plain: this, rearranged.
        steps = min(steps, int(time_budget_s / plain_s))
    if saved_s < (1 - MARGIN) * plain_s or steps * saved_s < cost_s:
        log.info("not compiled: %d steps would save %.0f s and compiling take %.0f s", steps,
                 max(0.0, steps * saved_s), cost_s)  # fmt: skip
        return None
    compiled, compiling_s = _compile(module, x, mode, sizes, watch)
    with rehearsal(module):
        compiled_s = _seconds(module, compiled, x, mode)
    if known is None:
        content = {"plain_s": plain_s, "compiled_s": compiled_s, "compiling_s": compiling_s}
        remember(KIND, key, content)
    log.info("compiled in %.0f s: %.1f ms a step, %.1f ms without", compiling_s,
             1e3 * compiled_s, 1e3 * plain_s)  # fmt: skip
    return compiled if compiled_s < MARGIN * plain_s else None


def _compile(
    module: GraphModule, x: Tensor, mode: Mode, sizes: Sequence[int], watch: Collection[str]
) -> tuple[Compiled, float]:
    """Run a step of each size; return what runs them and the seconds that it took."""
    start = time.perf_counter()
    compiled = Compiled(module, watch)
    with rehearsal(module):
        for size in sizes:
            try:
                time_step(module, x[:size], mode, compiled)
            except RuntimeError as error:  # the backward pass, which nothing here wraps
                raise _failure(error) from error
    return compiled, time.perf_counter() - start


def _seconds(
    module: GraphModule, forward: Callable[[Tensor], Outputs], x: Tensor, mode: Mode
) -> float:
    """Return the seconds of the fastest of a few steps, after one that warms up."""
    return min([time_step(module, x, mode, forward)[1] for _ in range(TIMED_STEPS + 1)][1:])


def _function_of(plan: Plan) -> Callable[..., Outputs]:
    """Return what a plan does as a function of weights and inputs, lists both."""
    steps = tuple((step.kernel, step.inputs, step.outputs) for step in plan.steps)

    def run(weights: list[Tensor], inputs: list[Tensor]) -> Outputs:
        values: list[Any] = list(plan.template)
        for slot, tensor in zip(plan.inputs, inputs, strict=True):
            values[slot] = tensor
        values[0] = None
        for (slot, _), tensor in zip(plan.weights, weights, strict=True):
            values[slot] = tensor
        for kernel, places, targets in steps:
            result = kernel(*[values[slot] for slot in places])
            if len(targets) == 1:
                values[targets[0]] = result
                continue
            for slot, value in zip(targets, result, strict=False):
                values[slot] = value
            values[0] = None
        return tuple(values[slot] for slot in plan.outputs)

    # PyTorch compiles the code of a function a few times and then refuses: each gets its own.
    return types.FunctionType(
        run.__code__.replace(), run.__globals__, run.__name__, None, run.__closure__
    )


def _failure(error: Exception) -> BackendError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    what = lines[0] if lines else type(error).__name__
    if what.endswith(":") and len(lines) > 1:  # "backend='inductor' raised:"
        what = f"{what} {lines[1]}"
    return BackendError(
        f"torch.compile: {what}", hint="leave train.compile out, or install a C++ compiler"
    )
