"""Choose by a model of what nodes cost: no clock, the same answer everywhere."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from acgraph.lowering.base import Candidate
from acgraph.lowering.fragment import Fragment, Step, Weights, elements

Metric = Literal["latency", "params", "size"]

#: How candidates are ranked among those not slower than the dense layer.
RANK: dict[str, Callable[[Candidate], float]] = {
    "params": lambda candidate: float(candidate.params),
    "size": lambda candidate: float(candidate.size),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Microseconds of a fragment on one core, fitted to ONNX Runtime (docs/lowering.md).

    Attributes:
        node_us: Cost of running any node.
        mac_us: Per multiply-accumulate of a matrix product.
        byte_us: Per byte written by a node that moves data.
        run_us: Per contiguous run that Pad and Slice copy.
        unfold_us: Per byte of the patches that a Conv with a kernel unfolds.
    """

    node_us: float = 1.5
    mac_us: float = 1.0 / 45_000
    byte_us: float = 1.0 / 20_000
    run_us: float = 0.006
    unfold_us: float = 1.0 / 12_000

    def latency_us(self, fragment: Fragment) -> float:
        """Estimate the time of one run at nominal sizes."""
        return sum(self._step(fragment, step) for step in fragment.steps)

    def _step(self, fragment: Fragment, step: Step) -> float:
        item = fragment.dtype.itemsize
        written = elements(step.shape)
        if step.op in ("Conv", "Gemm", "MatMul"):
            weight = next(o for o in step.operands if isinstance(o, Weights)).values
            if step.op != "Conv":
                columns = weight.size * written // max(1, _filters(step, weight.shape))
                return self.node_us + self.mac_us * columns
            columns = elements(weight.shape[1:])
            cost = self.node_us + self.mac_us * written * columns
            if elements(weight.shape[2:]) > 1 or any(step.attrs["pads"]):
                patches = columns * step.attrs["group"] * written // weight.shape[0]
                cost += self.unfold_us * patches * item
            return cost
        runs = 0
        if step.op in ("Pad", "Slice"):
            runs = written // max(1, step.shape[-1])
        return self.node_us + self.byte_us * written * item + self.run_us * runs


def _filters(step: Step, weight_shape: tuple[int, ...]) -> int:
    """Filters of a Gemm or MatMul: the axis of the output that the weight makes."""
    is_right = isinstance(step.operands[1], Weights)
    return step.shape[-1] if is_right or len(step.shape) < 2 else step.shape[-2]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModelChooser:
    """Choose by estimated latency, or the smallest form that is not estimated slower than dense.

    Attributes:
        metric: What to make small.
        model: The estimate.
    """

    metric: Metric = "latency"
    model: CostModel = CostModel()

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Return the best candidate; the first, dense one where nothing is better."""
        latencies = [self.model.latency_us(candidate.fragment) for candidate in candidates]
        return best(candidates, latencies, self.metric)


def best(candidates: Sequence[Candidate], latencies: Sequence[float], metric: Metric) -> Candidate:
    """Return the best of the candidates that are not slower than the first, the dense one.

    Of equals the earlier wins.
    """
    allowed = [
        (candidate, latency)
        for candidate, latency in zip(candidates, latencies, strict=True)
        if latency <= latencies[0] and not math.isnan(latency)
    ]
    if metric == "latency":
        return min(allowed, key=lambda pair: pair[1])[0]
    rank = RANK[metric]
    return min(allowed, key=lambda pair: (rank(pair[0]), pair[1]))[0]
