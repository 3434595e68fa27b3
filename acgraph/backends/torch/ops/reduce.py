"""Reductions, ArgMax and ArgMin, TopK and CumSum."""

from collections.abc import Callable

import torch

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

Tensor = torch.Tensor
_Axes = tuple[int, ...]
_Reduce = Callable[[Tensor, _Axes, bool], Tensor]


def _reduction(fn: _Reduce) -> Builder:
    def build(node: NodeView) -> Kernel:
        keep = bool(node.integer("keepdims", 1))
        noop = bool(node.integer("noop_with_empty_axes", 0))
        axes_of = node.ints_either("axes", 1)

        def kernel(x: Tensor, axes: Tensor | None = None) -> Tensor:
            chosen = tuple(axes_of(axes)) if axes_of is not None else ()
            if not chosen:
                if noop:
                    return x
                chosen = tuple(range(x.ndim))
            return fn(x, chosen, keep) if chosen else x

        return kernel

    return build


def _prod(x: Tensor, axes: _Axes, keep: bool) -> Tensor:
    ordered = sorted((a % x.ndim for a in axes), reverse=True)
    for axis in ordered:
        x = torch.prod(x, dim=axis, keepdim=keep)
    return x


def _l2(x: Tensor, axes: _Axes, keep: bool) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, 2, dim=axes, keepdim=keep)
    return norm


def _mean(x: Tensor, axes: _Axes, keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(dim=axes, keepdim=keep)
    return x.to(torch.float64).mean(dim=axes, keepdim=keep).trunc().to(x.dtype)


def _arg(largest: bool) -> Builder:
    def build(node: NodeView) -> Kernel:
        axis, keep = node.integer("axis", 0), bool(node.integer("keepdims", 1))
        last = bool(node.integer("select_last_index", 0))
        find = torch.argmax if largest else torch.argmin

        def kernel(x: Tensor) -> Tensor:
            if last:
                return x.shape[axis] - 1 - find(x.flip(axis), dim=axis, keepdim=keep)
            return find(x, dim=axis, keepdim=keep)

        return kernel

    return build


def _top_k(node: NodeView) -> Kernel:
    axis = node.integer("axis", -1)
    largest, ordered = bool(node.integer("largest", 1)), bool(node.integer("sorted", 1))
    count_of = node.ints_either("k", 1) if "k" not in node.node.attrs else None
    fixed = node.integer("k", 0)

    def kernel(x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
        count = count_of(k)[0] if count_of is not None else fixed
        values, indices = torch.topk(x, count, dim=axis, largest=largest, sorted=ordered)
        return values, indices

    return kernel


def _cum_sum(node: NodeView) -> Kernel:
    axis_of = node.ints_input(1)
    exclusive, backward = bool(node.integer("exclusive", 0)), bool(node.integer("reverse", 0))

    def kernel(x: Tensor, axis: Tensor | None = None) -> Tensor:
        dim = axis_of(axis)[0]
        y = x.flip(dim) if backward else x
        total = y.cumsum(dim, dtype=x.dtype)
        if exclusive:
            total = total - y
        return total.flip(dim) if backward else total

    return kernel


TABLE: dict[str, Builder] = {
    "ArgMax": _arg(largest=True),
    "ArgMin": _arg(largest=False),
    "CumSum": _cum_sum,
    "ReduceL1": _reduction(lambda x, a, k: x.abs().sum(dim=a, keepdim=k)),
    "ReduceL2": _reduction(_l2),
    "ReduceLogSum": _reduction(lambda x, a, k: x.sum(dim=a, keepdim=k).log()),
    "ReduceLogSumExp": _reduction(lambda x, a, k: x.logsumexp(dim=a, keepdim=k)),
    "ReduceMax": _reduction(lambda x, a, k: x.amax(dim=a, keepdim=k)),
    "ReduceMean": _reduction(_mean),
    "ReduceMin": _reduction(lambda x, a, k: x.amin(dim=a, keepdim=k)),
    "ReduceProd": _reduction(_prod),
    "ReduceSum": _reduction(lambda x, a, k: x.sum(dim=a, keepdim=k, dtype=x.dtype)),
    "ReduceSumSquare": _reduction(lambda x, a, k: (x * x).sum(dim=a, keepdim=k, dtype=x.dtype)),
    "TopK": _top_k,
}
