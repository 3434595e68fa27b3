"""Operators that act on every element, with broadcasting."""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

Tensor = torch.Tensor

#: PyTorch data types by ``TensorProto.DataType`` of ONNX.
DTYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
_BY_NUMPY = {
    np.dtype(name): getattr(torch, name)
    for name in (
        "float16",
        "float32",
        "float64",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "bool",
    )
}


def torch_dtype(node: NodeView, attribute: str) -> torch.dtype:
    """Return the data type in an attribute, which is an ONNX enum value or a NumPy type."""
    raw = node.node.attrs[attribute]
    found = DTYPES.get(raw) if isinstance(raw, int) else _BY_NUMPY.get(np.dtype(raw))
    if found is None:
        raise node.unsupported(f"the type {raw}")
    return found


def _unary(fn: Callable[[Tensor], Tensor]) -> Builder:
    return lambda node: fn


def _binary(fn: Callable[[Any, Any], Any]) -> Builder:
    """Return a builder that passes a known scalar operand as a Python number, which is faster."""

    def build(node: NodeView) -> Kernel:
        for index in (1, 0):
            value, other = node.peek(index), node.peek(1 - index)
            if value is None or value.ndim > 0 or other is not None:
                continue
            number = node.number(index)
            if index == 1:
                return lambda a, _: fn(a, number)
            return lambda _, b: fn(number, b)
        return fn

    return build


def _tensor_binary(fn: Callable[[Tensor, Tensor], Tensor]) -> Builder:
    return lambda node: fn


def _variadic(fn: Callable[[Tensor, Tensor], Tensor]) -> Builder:
    return lambda node: lambda *xs: reduce(fn, xs)


def _mean(node: NodeView) -> Kernel:
    return lambda *xs: reduce(torch.add, xs) / len(xs)


def _divide(a: Any, b: Any) -> Any:
    reference = a if isinstance(a, Tensor) else b
    if reference.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


def _mod(node: NodeView) -> Kernel:
    return torch.fmod if node.integer("fmod", 0) else torch.remainder


def _pow(node: NodeView) -> Kernel:
    exponent = node.peek(1)
    if exponent is not None and exponent.ndim == 0 and node.peek(0) is None:
        node.value(1)
        number: float = exponent.item()
        return lambda x, _: torch.pow(x, number).to(x.dtype)
    return lambda x, y: torch.pow(x, y).to(x.dtype)


def _clip(node: NodeView) -> Kernel:
    """Clip; the bounds are attributes before opset 11, and inputs from then on."""
    attrs = node.node.attrs
    low, high = attrs.get("min"), attrs.get("max")
    if node.opset < 11:
        return lambda x: torch.clamp(x, low, high)
    dynamic = [i for i in (1, 2) if node.has(i) and node.peek(i) is None]
    if dynamic:
        return lambda x, lo=None, hi=None: torch.clamp(x, lo, hi)
    low, high = node.number(1), node.number(2)
    if low is None and high is None:
        return lambda x, *_: x
    return lambda x, *_: torch.clamp(x, low, high)


def _cast(node: NodeView) -> Kernel:
    dtype = torch_dtype(node, "to")
    return lambda x: x.to(dtype)


def _hard_sigmoid(node: NodeView) -> Kernel:
    alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid
    return lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0)


def _gelu(node: NodeView) -> Kernel:
    how = node.text("approximate", "none")
    return lambda x: F.gelu(x, approximate=how)


def _leaky_relu(node: NodeView) -> Kernel:
    alpha = node.real("alpha", 0.01)
    return lambda x: F.leaky_relu(x, alpha)


def _elu(node: NodeView) -> Kernel:
    alpha = node.real("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


def _celu(node: NodeView) -> Kernel:
    alpha = node.real("alpha", 1.0)
    return lambda x: F.celu(x, alpha)


def _selu(node: NodeView) -> Kernel:
    alpha = node.real("alpha", 1.67326319217681884765625)
    gamma = node.real("gamma", 1.05070102214813232421875)
    return lambda x: gamma * F.elu(x, alpha)


def _thresholded_relu(node: NodeView) -> Kernel:
    alpha = node.real("alpha", 1.0)
    return lambda x: F.threshold(x, alpha, 0.0)


def _swish(node: NodeView) -> Kernel:
    alpha = node.real("alpha", 1.0)
    return F.silu if alpha == 1.0 else lambda x: x * torch.sigmoid(alpha * x)


def _shrink(node: NodeView) -> Kernel:
    lambd, bias = node.real("lambd", 0.5), node.real("bias", 0.0)

    def shrink(x: Tensor) -> Tensor:
        high = torch.where(x > lambd, x - bias, torch.zeros_like(x))
        return torch.where(x < -lambd, x + bias, high)

    return shrink


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _bit_shift(node: NodeView) -> Kernel:
    left = node.text("direction", "LEFT") == "LEFT"
    return torch.bitwise_left_shift if left else torch.bitwise_right_shift


def _is_inf(node: NodeView) -> Kernel:
    negative, positive = node.integer("detect_negative", 1), node.integer("detect_positive", 1)
    if negative and positive:
        return torch.isinf
    return torch.isneginf if negative else torch.isposinf


TABLE: dict[str, Builder] = {
    "Abs": _unary(torch.abs),
    "Acos": _unary(torch.acos),
    "Acosh": _unary(torch.acosh),
    "Add": _binary(torch.add),
    "And": _tensor_binary(torch.logical_and),
    "Asin": _unary(torch.asin),
    "Asinh": _unary(torch.asinh),
    "Atan": _unary(torch.atan),
    "Atanh": _unary(torch.atanh),
    "BitShift": _bit_shift,
    "BitwiseAnd": _tensor_binary(torch.bitwise_and),
    "BitwiseNot": _unary(torch.bitwise_not),
    "BitwiseOr": _tensor_binary(torch.bitwise_or),
    "BitwiseXor": _tensor_binary(torch.bitwise_xor),
    "Cast": _cast,
    "CastLike": _tensor_binary(lambda x, like: x.to(like.dtype)),
    "Ceil": _unary(torch.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Cosh": _unary(torch.cosh),
    "Div": _binary(_divide),
    "Elu": _elu,
    "Equal": _tensor_binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Gelu": _gelu,
    "Greater": _tensor_binary(torch.gt),
    "GreaterOrEqual": _tensor_binary(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(F.hardswish),
    "IsInf": _is_inf,
    "IsNaN": _unary(torch.isnan),
    "LeakyRelu": _leaky_relu,
    "Less": _tensor_binary(torch.lt),
    "LessOrEqual": _tensor_binary(torch.le),
    "Log": _unary(torch.log),
    "Max": _variadic(torch.maximum),
    "Mean": _mean,
    "Min": _variadic(torch.minimum),
    "Mish": _unary(F.mish),
    "Mod": _mod,
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _tensor_binary(torch.logical_or),
    "PRelu": _tensor_binary(_prelu),
    "Pow": _pow,
    "Reciprocal": _unary(torch.reciprocal),
    "Relu": _unary(torch.relu),
    "Round": _unary(torch.round),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Sinh": _unary(torch.sinh),
    "Softplus": _unary(F.softplus),
    "Softsign": _unary(F.softsign),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(torch.sub),
    "Sum": _variadic(torch.add),
    "Swish": _swish,
    "Tan": _unary(torch.tan),
    "Tanh": _unary(torch.tanh),
    "ThresholdedRelu": _thresholded_relu,
    "Where": lambda node: torch.where,
    "Xor": _tensor_binary(torch.logical_xor),
}
