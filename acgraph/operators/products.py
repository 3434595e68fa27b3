"""Operators with multiply-accumulates: layers, matrix products, attention and recurrence."""

from acgraph.operators.domains import HEADS
from acgraph.operators.entry import DATA, Input, Operator, Role, Trait

_WEIGHT, _BIAS, _FACTOR = Input(Role.WEIGHT), Input(Role.BIAS), Input(Role.FACTOR)


def _recurrent(name: str, inputs: tuple[Input, ...]) -> Operator:
    return Operator(
        name=name, rule="recurrent", resize="hidden_size", macs="recurrent", inputs=inputs,
        batch="recurrent", kernel=name,
        note="input features and hidden units can be cut, the same units in both directions",
    )  # fmt: skip


_GATED = (DATA, _WEIGHT, _WEIGHT, _BIAS)

TABLE = (
    Operator(name="Attention", fence=HEADS, macs="attention", batch="attention",
             kernel="Attention"),
    Operator(
        name="Conv", rule="conv", resize="groups", macs="conv", layer="conv",
        inputs=(DATA, _WEIGHT, _BIAS), batch="first_axis", kernel="Conv",
        note="supported in 1D, 2D and 3D, grouped and depthwise included",
        traits=frozenset([Trait.SPATIAL, Trait.WINDOW]),
    ),
    Operator(
        name="ConvTranspose", rule="conv_transpose", resize="groups", macs="conv_transpose",
        layer="conv_transpose", inputs=(DATA, _WEIGHT, _BIAS), batch="first_axis",
        kernel="ConvTranspose", traits=frozenset([Trait.SPATIAL]),
    ),
    Operator(
        name="DeformConv", rule="deform_conv", macs="conv", batch="data_first",
        kernel="DeformConv",
        inputs=(DATA, _WEIGHT, DATA, _BIAS, DATA), note="fenced where it has groups",
    ),
    Operator(
        name="Einsum", rule="einsum", macs="einsum", inputs=(_FACTOR,), batch="einsum",
        kernel="Einsum", note="equations with ellipses or repeated letters in a term are fenced",
        traits=frozenset([Trait.LEARNT, Trait.CARRIES]),
    ),
    Operator(
        name="Gemm", rule="gemm", macs="gemm", layer="gemm", inputs=(_FACTOR, _WEIGHT, _BIAS),
        batch="gemm", kernel="Gemm",
        note="both operands may be transposed", traits=frozenset([Trait.LEARNT]),
    ),
    _recurrent("GRU", _GATED),
    _recurrent("LSTM", (*_GATED, DATA, DATA, DATA, _WEIGHT)),
    Operator(
        name="MatMul", rule="matmul", macs="matmul", layer="matmul", inputs=(_FACTOR, _WEIGHT),
        batch="matmul", kernel="MatMul", note="either operand may be a constant, or neither",
        traits=frozenset([Trait.LEARNT, Trait.CARRIES]),
    ),
    _recurrent("RNN", _GATED),
    Operator(name="RotaryEmbedding", fence=HEADS),
)  # fmt: skip
