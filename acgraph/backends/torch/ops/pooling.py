"""Pooling, with all padding and rounding rules of ONNX."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.conv import same_pads, torch_pads
from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

_MAX: dict[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVG: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONV: dict[int, Callable[..., Any]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@dataclass(frozen=True, slots=True)
class _Window:
    """The sliding window of a pooling node."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto: str
    ceil: bool

    @property
    def is_native(self) -> bool:
        """Whether the ``padding`` argument of PyTorch's pooling can express the pads."""
        rank = len(self.kernel)
        begins, ends = self.pads[:rank], self.pads[rank:]
        fits = all(2 * p <= k for p, k in zip(begins, self.kernel, strict=True))
        return self.auto in ("NOTSET", "VALID") and begins == ends and fits

    def spans(self, sizes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the pads of the node, and pads with which every window is complete.

        A window that would start in the padding at the end is dropped.

        Args:
            sizes: Spatial sizes of the input.
        """
        rank = len(self.kernel)
        pads = self.pads
        if self.auto.startswith("SAME"):
            upper = self.auto == "SAME_UPPER"
            pads = same_pads(sizes, self.kernel, self.strides, self.dilations, upper=upper)
        ends = []
        for i, size in enumerate(sizes):
            begin, end, stride = pads[i], pads[rank + i], self.strides[i]
            reach = (self.kernel[i] - 1) * self.dilations[i] + 1
            room = size + begin + end - reach
            count = (-(-room // stride) if self.ceil else room // stride) + 1
            if self.ceil and (count - 1) * stride >= size + begin:
                count -= 1
            ends.append((count - 1) * stride + reach - size - begin)
        return pads, (*pads[:rank], *ends)


def _window(node: NodeView) -> _Window:
    kernel = node.ints("kernel_shape")
    if kernel is None:
        raise node.unsupported("a pooling node without kernel_shape")
    rank = len(kernel)
    auto = node.text("auto_pad", "NOTSET")
    pads = node.ints("pads") if auto == "NOTSET" else None
    return _Window(
        kernel=kernel,
        strides=node.ints("strides") or (1,) * rank,
        dilations=node.ints("dilations") or (1,) * rank,
        pads=pads or (0,) * (2 * rank),
        auto=auto,
        ceil=bool(node.integer("ceil_mode", 0)),
    )


def _max_pool(node: NodeView) -> Kernel:
    if len(node.used) > 1 and node.used[1]:
        raise node.unsupported("the Indices output of MaxPool")
    w = _window(node)
    pool = _MAX[len(w.kernel)]
    rank = len(w.kernel)
    if w.is_native:
        padding = w.pads[:rank]
        return node.with_unused_outputs(
            lambda x: pool(x, w.kernel, w.strides, padding, w.dilations, w.ceil)
        )

    def padded(x: torch.Tensor) -> torch.Tensor:
        _, whole = w.spans(x.shape[2:])
        low = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
        filled = F.pad(x, torch_pads(whole), value=low)
        out: torch.Tensor = pool(filled, w.kernel, w.strides, 0, w.dilations)
        return out

    return node.with_unused_outputs(padded)


def _average_pool(node: NodeView) -> Kernel:
    w = _window(node)
    rank = len(w.kernel)
    include = bool(node.integer("count_include_pad", 0))
    if w.is_native and all(d == 1 for d in w.dilations):
        pool, padding = _AVG[rank], w.pads[:rank]
        return lambda x: pool(x, w.kernel, w.strides, padding, w.ceil, include)

    def padded(x: torch.Tensor) -> torch.Tensor:
        stated, whole = w.spans(x.shape[2:])
        total = _window_sums(F.pad(x, torch_pads(whole)), w)
        inside = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
        if include:
            # The pads of the node count; elements that only complete the last window do not.
            inside = F.pad(inside, torch_pads(stated), value=1.0)
            over = [b - a for a, b in zip(stated, whole, strict=True)]
            inside = F.pad(inside, torch_pads(over))
        else:
            inside = F.pad(inside, torch_pads(whole))
        return total / _window_sums(inside, w)

    return padded


def _window_sums(x: torch.Tensor, w: _Window) -> torch.Tensor:
    rank = len(w.kernel)
    ones = torch.ones((1, 1, *w.kernel), dtype=x.dtype, device=x.device)
    planes = x.reshape(-1, 1, *x.shape[2:])
    sums: torch.Tensor = _CONV[rank](planes, ones, None, w.strides, 0, w.dilations)
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


def _lp_pool(node: NodeView) -> Kernel:
    w = _window(node)
    p = node.integer("p", 2)

    def pool(x: torch.Tensor) -> torch.Tensor:
        _, whole = w.spans(x.shape[2:])
        return _window_sums(F.pad(x.abs() ** p, torch_pads(whole)), w) ** (1.0 / p)

    return pool


def _global_average_pool(node: NodeView) -> Kernel:
    return lambda x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def _global_max_pool(node: NodeView) -> Kernel:
    return lambda x: x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


def _global_lp_pool(node: NodeView) -> Kernel:
    p = node.integer("p", 2)
    return lambda x: (x.abs() ** p).sum(dim=tuple(range(2, x.ndim)), keepdim=True) ** (1.0 / p)


TABLE: dict[str, Builder] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": _global_max_pool,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
