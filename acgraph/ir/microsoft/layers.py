"""Expansion of layers fused with activations, transposing matrix products, and activations."""

import math
from typing import Any

import onnx_graphsurgeon as gs

from acgraph.ir.microsoft.known import rank_of
from acgraph.ir.microsoft.writer import Writer

#: Activations without parameters.
_PLAIN = frozenset(["Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"])
#: Activations with parameters: their attributes in ONNX Runtime's order.
_WITH = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
}


def activate(writer: Writer, x: gs.Tensor, name: str, params: list[float]) -> gs.Tensor:
    """Write an activation that ``can_activate`` accepts, with the parameters in order."""
    if not name:
        return x
    if name == "Clip":
        low, high = (writer.number(value, x) for value in params)
        return writer.op("Clip", x, low, high)
    attrs: dict[str, Any] = dict(zip(_WITH.get(name, ()), params, strict=False))
    return writer.op(name, x, **attrs)


def can_activate(writer: Writer, name: str, params: list[float]) -> bool:
    """Return whether ``activate`` can write an activation."""
    if name == "Clip":
        return len(params) == 2 and writer.opset >= 11
    return not name or name in _PLAIN or name in _WITH


def fused_conv(writer: Writer) -> bool:
    """Conv, the addition of ``Z``, and an activation."""
    attrs = dict(writer.attrs)
    name = str(attrs.pop("activation", ""))
    params = [float(value) for value in attrs.pop("activation_params", [])]
    if not can_activate(writer, name, params):
        return False
    x = writer.op("Conv", *(writer.input(i) for i in range(3)), main=True, **attrs)
    other = writer.input(3)
    if other is not None:
        x = writer.op("Add", x, other)
    writer.end(0, activate(writer, x, name, params))
    return True


def fused_gemm(writer: Writer) -> bool:
    """Gemm and an activation."""
    attrs = {k: v for k, v in writer.attrs.items() if not k.startswith("activation")}
    name = str(writer.attrs.get("activation", ""))
    given = [writer.attrs.get(f"activation_{key}") for key in ("alpha", "beta")]
    params = [float(value) for value in given if value is not None]
    if name == "Clip" or not can_activate(writer, name, params):
        return False
    x = writer.op("Gemm", *(writer.input(i) for i in range(3)), main=True, **attrs)
    writer.end(0, activate(writer, x, name, params))
    return True


def fused_matmul(writer: Writer) -> bool:
    """Transpose, MatMul, and multiplication by a factor."""
    read: list[tuple[gs.Tensor, list[int] | None]] = []
    for i, side in enumerate("AB"):
        tensor = writer.node.inputs[i]
        turned = [bool(writer.attrs.get(f"{key}{side}", 0)) for key in ("trans", "transBatch")]
        if not any(turned):
            read.append((tensor, None))
            continue
        rank = rank_of(tensor)
        if rank is None:
            return False
        if rank < 2:  # a vector is its own transpose
            read.append((tensor, None))
            continue
        perm = list(range(rank))
        if turned[1]:
            perm = [*perm[1:-1], 0, perm[-1]]
        if turned[0]:
            perm = [*perm[:-2], perm[-1], perm[-2]]
        read.append((tensor, perm))
    a, b = (t if perm is None else writer.op("Transpose", t, perm=perm) for t, perm in read)
    y = writer.op("MatMul", a, b, main=True)
    alpha = float(writer.attrs.get("alpha", 1.0))
    if alpha != 1.0:
        y = writer.op("Mul", y, writer.number(alpha, writer.node.outputs[0]))
    writer.end(0, y)
    return True


def write_gelu(writer: Writer, x: gs.Tensor, *, main: bool = False) -> gs.Tensor:
    """Write ``x / 2 * (1 + erf(x / sqrt(2)))``."""
    if writer.opset >= 20:
        return writer.op("Gelu", x, main=main)
    y = writer.op("Erf", writer.op("Div", x, writer.number(math.sqrt(2), x)), main=main)
    y = writer.op("Mul", x, writer.op("Add", y, writer.number(1, x)))
    return writer.op("Mul", y, writer.number(0.5, x))


def gelu(writer: Writer) -> bool:
    """Gelu of the sum of one or two inputs."""
    x, bias = writer.node.inputs[0], writer.input(1)
    if bias is not None:
        x = writer.op("Add", x, bias)
    writer.end(0, write_gelu(writer, x, main=True))
    return True


def fast_gelu(writer: Writer) -> bool:
    """Gelu in its tanh approximation, of the sum of one or two inputs."""
    x, bias = writer.node.inputs[0], writer.input(1)
    if bias is not None:
        x = writer.op("Add", x, bias)
    if writer.opset >= 20:
        writer.end(0, writer.op("Gelu", x, main=True, approximate="tanh"))
        return True
    cube = writer.op("Mul", x, writer.op("Mul", x, x))
    inner = writer.op("Add", x, writer.op("Mul", cube, writer.number(0.044715, x)))
    inner = writer.op("Mul", inner, writer.number(math.sqrt(2 / math.pi), x))
    y = writer.op("Add", writer.op("Tanh", inner, main=True), writer.number(1, x))
    writer.end(0, writer.op("Mul", writer.op("Mul", x, y), writer.number(0.5, x)))
    return True


def quick_gelu(writer: Writer) -> bool:
    """``x * sigmoid(alpha * x)``."""
    x = writer.node.inputs[0]
    alpha = float(writer.attrs.get("alpha", 1.702))
    scaled = x if alpha == 1.0 else writer.op("Mul", x, writer.number(alpha, x))
    writer.end(0, writer.op("Mul", x, writer.op("Sigmoid", scaled, main=True)))
    return True


def bias_split_gelu(writer: Writer) -> bool:
    """The first half of ``x + bias`` times Gelu of the second, along the last axis."""
    x, bias = writer.node.inputs[0], writer.node.inputs[1]
    width = bias.shape[-1] if isinstance(bias, gs.Constant) else None
    if width is None or width % 2 or writer.opset < 13:
        return False
    halves = writer.const([width // 2, width // 2])
    left, right = writer.op("Split", writer.op("Add", x, bias), halves, outputs=2, axis=-1)
    writer.end(0, writer.op("Mul", left, write_gelu(writer, right), main=True))
    return True


def bias_add(writer: Writer) -> bool:
    """``x + bias + skip``."""
    x, bias, skip = writer.node.inputs
    writer.end(0, writer.op("Add", writer.op("Add", x, bias), skip, main=True))
    return True


RULES = {
    "BiasAdd": bias_add,
    "BiasGelu": gelu,
    "BiasSplitGelu": bias_split_gelu,
    "FastGelu": fast_gelu,
    "FusedConv": fused_conv,
    "FusedGemm": fused_gemm,
    "FusedMatMul": fused_matmul,
    "Gelu": gelu,
    "QuickGelu": quick_gelu,
    "TransposeMatMul": fused_matmul,
}
