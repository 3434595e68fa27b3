"""Matrix products."""

import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

Tensor = torch.Tensor


def _gemm(node: NodeView) -> Kernel:
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    trans_a, trans_b = bool(node.integer("transA", 0)), bool(node.integer("transB", 0))

    def plain(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        # ``linear`` adds the bias in the same call if it is a vector.
        weight = b if trans_b else b.t()
        if c is None or c.ndim == 1:
            return F.linear(a, weight, c)
        return F.linear(a, weight) + c

    if alpha == 1.0 and beta == 1.0 and not trans_a:
        return plain

    def scaled(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        out = (a.t() if trans_a else a) @ (b.t() if trans_b else b)
        out = out if alpha == 1.0 else alpha * out
        if c is None or beta == 0.0:
            return out
        return out + (c if beta == 1.0 else beta * c)

    return scaled


def _einsum(node: NodeView) -> Kernel:
    equation = node.text("equation", "").replace(" ", "")
    return lambda *xs: torch.einsum(equation, *xs)


TABLE: dict[str, Builder] = {
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": lambda node: torch.matmul,
}
