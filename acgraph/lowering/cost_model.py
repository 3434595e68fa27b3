"""Choose by an analytical cost model: deterministic and the same on every machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from acgraph.ir import Array
from acgraph.lowering.base import Candidate
from acgraph.lowering.fragment import Fragment, Step, Weights, elements

Metric = Literal["latency", "params", "size"]

#: Ranks the candidates that are not slower than the dense layer.
RANK: dict[str, Callable[[Candidate], float]] = {
    "params": lambda candidate: float(candidate.params),
    "size": lambda candidate: float(candidate.size),
}


#: Matrix products compute this many columns at a time; the last block is padded.
PRODUCT_WIDTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Latency of a fragment on one core in microseconds: a sum over nodes, linear in their work.

    The coefficients were fitted, by relative least squares, to ONNX Runtime 1.32 on x86-64 with
    AVX-512 and without NCHWc: 1243 candidates of 15 layer shapes, median error 6 %. The forms
    chosen with it were 2 % slower than the best ones. On other machines the proportions differ, so
    measuring (``TimingChooser``) is better.

    Attributes:
        node_us: Overhead of any node.
        conv_us: Additional overhead of a convolution.
        mac_us: Time of a multiply-accumulate.
        unfold_us: Time per byte of the im2col patches of a convolution with a kernel or pads.
        byte_us: Time per byte written by any other node, or read from the weight of a Gemm or
            MatMul.
        pad_byte_us: Time per byte written by Pad.
        pad_run_us: Time per contiguous run copied by Pad.
        slice_run_us: Time per contiguous run copied by Slice.
        gather_run_us: Time per contiguous run copied by Gather.
        strided_us: Time per element copied with a stride.
    """

    node_us: float = 0.69
    conv_us: float = 3.8
    mac_us: float = 0.023e-3
    unfold_us: float = 0.050e-3
    byte_us: float = 0.025e-3
    pad_byte_us: float = 0.056e-3
    pad_run_us: float = 0.0105
    slice_run_us: float = 0.0038
    gather_run_us: float = 0.0073
    strided_us: float = 0.47e-3

    def latency_us(self, fragment: Fragment) -> float:
        """Estimate the latency of one run at nominal sizes, in microseconds."""
        return sum(self.node_us + self._work_us(fragment, step) for step in fragment.steps)

    def _work_us(self, fragment: Fragment, step: Step) -> float:
        item = fragment.dtype.itemsize
        written = elements(step.shape)
        rows = written / max(1, step.shape[-1])
        match step.op:
            case "Conv":
                return self._conv_us(step, item)
            case "ConvTranspose":
                return self._conv_transpose_us(fragment, step, item)
            case "Gemm" | "MatMul":
                weight = _weight(step)
                macs = weight.size * written / max(1, _filters(step))
                return self.mac_us * macs + self.byte_us * weight.size * item
            case "Pad":
                return self.pad_byte_us * written * item + self.pad_run_us * rows
            case "Slice":
                is_strided = len(step.operands) > 4
                copied = self.strided_us * written * is_strided
                return self.byte_us * written * item + self.slice_run_us * rows + copied
            case "Gather":
                source = fragment.shape_of(str(step.operands[0]))
                run = max(1, elements(source[int(step.attrs["axis"]) + 1 :]))
                return self.byte_us * written * item + self.gather_run_us * written / run
            case "SpaceToDepth":
                return self.byte_us * written * item + self.strided_us * written
            case "Reshape":
                return 0.0
            case _:
                return self.byte_us * written * item

    def _conv_us(self, step: Step, item: int) -> float:
        filters, *rest = (int(size) for size in _weight(step).shape)
        columns, places = elements(rest), elements(step.shape[2:])
        padded = -(-places // PRODUCT_WIDTH) * PRODUCT_WIDTH
        cost = self.conv_us + self.mac_us * step.shape[0] * filters * columns * padded
        is_plain = elements(rest[1:]) == 1 and not any(step.attrs["pads"])
        if is_plain and all(stride == 1 for stride in step.attrs["strides"]):
            return cost
        patches = step.shape[0] * int(step.attrs["group"]) * columns * places
        return cost + self.unfold_us * patches * item

    def _conv_transpose_us(self, fragment: Fragment, step: Step, item: int) -> float:
        """Return the time of the matrix product over the kernel, and of summing its parts."""
        batch, _, *spatial = fragment.shape_of(str(step.operands[0]))
        channels, *spread = (int(size) for size in _weight(step).shape)
        products = batch * elements(spread) * elements(spatial)
        parts = products * int(step.attrs.get("group", 1))
        macs = products * channels
        return self.conv_us + self.mac_us * macs + self.unfold_us * parts * item


def _weight(step: Step) -> Array:
    return next(operand for operand in step.operands if isinstance(operand, Weights)).values


def _filters(step: Step) -> int:
    """Return the number of filters of a Gemm or MatMul: the output axis of the weight."""
    is_right = isinstance(step.operands[1], Weights)
    return step.shape[-1] if is_right or len(step.shape) < 2 else step.shape[-2]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModelChooser:
    """Choose by estimated latency, or the smallest form that is not estimated slower than dense.

    Attributes:
        metric: The quantity to minimise.
        model: The cost model.
    """

    metric: Metric = "latency"
    model: CostModel = field(default_factory=CostModel)

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Return the best candidate; the first, dense one where none is better."""
        latencies = [self.model.latency_us(candidate.fragment) for candidate in candidates]
        return best(candidates, latencies, self.metric)


def best(
    candidates: Sequence[Candidate],
    latencies: Sequence[float],
    metric: Metric,
    margin: float = 0.0,
) -> Candidate:
    """Return the best of the candidates that are not slower than the first, the dense one.

    Args:
        candidates: The dense layer first.
        latencies: Latency of each candidate, in any unit.
        metric: The quantity to minimise. Among equals, the faster candidate wins, then the earlier.
        margin: For ``latency``: share of its latency by which the dense layer must be beaten.
    """
    dense = latencies[0]
    ranked = list(zip(candidates, latencies, strict=True))
    if metric == "latency":
        allowed = [ranked[0], *(pair for pair in ranked[1:] if pair[1] < (1.0 - margin) * dense)]
        return min(allowed, key=lambda pair: pair[1])[0]
    rank = RANK[metric]
    allowed = [pair for pair in ranked if pair[1] <= dense]
    return min(allowed, key=lambda pair: (rank(pair[0]), pair[1]))[0]
