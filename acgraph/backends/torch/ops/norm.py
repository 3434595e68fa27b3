"""Normalisations, Softmax and Dropout."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView


def _batch_norm(node: NodeView) -> Kernel:
    if node.integer("training_mode", 0):
        return _batch_norm_always(node)
    eps = node.real("epsilon", 1e-5)
    if not {3, 4} <= node.statistics:
        return node.with_unused_outputs(
            lambda x, s, b, mean, var: _normalise(x, s, b, mean, var, eps)
        )
    # ONNX: running = running * m + batch * (1 - m). PyTorch: momentum is the weight of the batch.
    given = node.momentum
    momentum = 1.0 - node.real("momentum", 0.9) if given is None else given
    is_training = node.training and not node.is_frozen

    def norm(
        x: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        var: torch.Tensor,
    ) -> torch.Tensor:
        return F.batch_norm(x, mean, var, scale, bias, is_training, momentum, eps)

    return node.with_unused_outputs(norm)


def _normalise(
    x: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    mean: torch.Tensor,
    var: torch.Tensor,
    eps: float,
) -> torch.Tensor:
    """Normalise by statistics that the graph computes, with gradients through them."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    gain = scale * torch.rsqrt(var + eps)
    return x * gain.reshape(shape) + (bias - mean * gain).reshape(shape)


def _batch_norm_always(node: NodeView) -> Kernel:
    """Use batch statistics even in ``eval()``, as in exported weight standardisation."""
    eps, m = node.real("epsilon", 1e-5), node.real("momentum", 0.9)

    def norm(
        x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor, mean: Any = None, var: Any = None
    ) -> torch.Tensor:
        return F.batch_norm(x, None, None, scale, bias, True, 0.0, eps)

    if not any(node.used[1:]):
        return node.with_unused_outputs(norm)

    def norm_and_statistics(
        x: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        var: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        axes = tuple(a for a in range(x.ndim) if a != 1)
        now, spread = x.mean(dim=axes), x.var(dim=axes, unbiased=False)
        return norm(x, scale, bias), mean * m + now * (1 - m), var * m + spread * (1 - m)

    return norm_and_statistics


def _instance_norm(node: NodeView) -> Kernel:
    eps = node.real("epsilon", 1e-5)
    return lambda x, scale, bias: F.instance_norm(x, weight=scale, bias=bias, eps=eps)


def _layer_norm(node: NodeView) -> Kernel:
    axis, eps = node.integer("axis", -1), node.real("epsilon", 1e-5)

    def norm(
        x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        shape = x.shape[axis:]
        if scale.shape == shape and (bias is None or bias.shape == shape):
            return F.layer_norm(x, shape, scale, bias, eps)
        out = F.layer_norm(x, shape, None, None, eps) * scale
        return out if bias is None else out + bias

    if not any(node.used[1:]):
        return node.with_unused_outputs(norm)

    def norm_and_statistics(
        x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        axes = tuple(range(axis % x.ndim, x.ndim))
        mean = x.mean(dim=axes, keepdim=True)
        var = x.var(dim=axes, unbiased=False, keepdim=True)
        return norm(x, scale, bias), mean, torch.rsqrt(var + eps)

    return norm_and_statistics


def _rms_norm(node: NodeView) -> Kernel:
    axis, eps = node.integer("axis", -1), node.real("epsilon", 1e-5)
    return lambda x, scale: F.rms_norm(x, x.shape[axis:], None, eps) * scale


def _group_norm(node: NodeView) -> Kernel:
    groups, eps = node.integer("num_groups", 1), node.real("epsilon", 1e-5)

    def norm(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        channels = x.shape[1]
        if scale.shape[0] != channels:  # one scale per group in opset 18, per channel in opset 21
            scale = scale.repeat_interleave(channels // groups)
            bias = bias.repeat_interleave(channels // groups)
        return F.group_norm(x, groups, scale, bias, eps)

    return norm


def _lrn(node: NodeView) -> Kernel:
    size = node.integer("size", 1)
    alpha, beta = node.real("alpha", 1e-4), node.real("beta", 0.75)
    k = node.real("bias", 1.0)
    before, after = (size - 1) // 2, size // 2

    def norm(x: torch.Tensor) -> torch.Tensor:
        squares = F.pad(x * x, [0, 0] * (x.ndim - 2) + [before, after])
        sums = squares.unfold(1, size, 1).sum(-1)
        return x / (k + alpha / size * sums) ** beta

    return norm


def _lp_norm(node: NodeView) -> Kernel:
    axis, p = node.integer("axis", -1), node.integer("p", 2)
    return lambda x: x / x.norm(p=p, dim=axis, keepdim=True)


def _mean_variance_norm(node: NodeView) -> Kernel:
    axes = node.ints("axes") or (0, 2, 3)

    def norm(x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=axes, keepdim=True)
        return (x - mean) / (x.var(dim=axes, unbiased=False, keepdim=True).sqrt() + 1e-9)

    return norm


def _softmax_like(fn: Callable[..., torch.Tensor]) -> Builder:
    def build(node: NodeView) -> Kernel:
        axis = node.integer("axis", -1 if node.opset >= 13 else 1)
        if node.opset >= 13:
            return lambda x: fn(x, dim=axis)
        # Before opset 13, all axes from ``axis`` on are flattened to one row.
        return lambda x: fn(x.flatten(axis % x.ndim), dim=-1).reshape(x.shape)

    return build


def _hardmax(x: torch.Tensor, dim: int) -> torch.Tensor:
    return torch.zeros_like(x).scatter_(dim, x.argmax(dim=dim, keepdim=True), 1.0)


def _dropout(node: NodeView) -> Kernel:
    ratio = node.number(1) if node.has(1) else node.real("ratio", 0.5)
    node.value(2)  # consume training_mode; train() and eval() determine the mode instead
    if ratio is None:
        raise node.unsupported("a Dropout ratio that is computed")
    if not node.training:
        return _with_mask(lambda x: x, node)
    return _with_mask(lambda x: F.dropout(x, ratio, training=True), node)


def _with_mask(kernel: Callable[[torch.Tensor], torch.Tensor], node: NodeView) -> Kernel:
    if len(node.used) == 1:
        return lambda x, *_: kernel(x)
    if node.used[1]:
        raise node.unsupported("the mask output of Dropout")
    return lambda x, *_: (kernel(x), None)


TABLE: dict[str, Builder] = {
    "BatchNormalization": _batch_norm,
    "Dropout": _dropout,
    "GroupNormalization": _group_norm,
    "Hardmax": _softmax_like(_hardmax),
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": _softmax_like(F.log_softmax),
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance_norm,
    "RMSNormalization": _rms_norm,
    "Softmax": _softmax_like(F.softmax),
}
