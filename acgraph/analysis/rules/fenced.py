"""Operators that are known, and that a cut does not pass; why is said in one line."""

from collections.abc import Callable

import onnx_graphsurgeon as gs

from acgraph.analysis.rules.base import OpRule
from acgraph.analysis.site import Site

_QUANTISED = "the numbers are quantised: prune before quantising"
_REASONS = {
    _QUANTISED: (
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
        "QLinearMatMul", "ConvInteger", "MatMulInteger",
    ),
    "the heads inside the operator are not taken apart": ("Attention", "RotaryEmbedding"),
    "it draws random numbers": (
        "Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike",
    ),
    "positions become numbers, or numbers positions": ("EyeLike", "OneHot"),
    "where the results lie depends on the data": (
        "NonZero", "NonMaxSuppression", "Compress", "Unique", "StringNormalizer", "MaxUnpool",
    ),
    "sequences and maps are not followed": (
        "SequenceConstruct", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceEmpty",
        "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement",
        "OptionalHasElement",
    ),
    "what its subgraphs do is not analysed": ("If", "Loop", "Scan", "SequenceMap"),
}  # fmt: skip

#: Operators of ONNX Runtime's own domain that have no form in standard operators here.
_MICROSOFT = {
    _QUANTISED: (
        "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "GatherBlockQuantized",
        "MatMulBnb4", "MatMulFpQ4", "MatMulInteger16", "MatMulIntegerToFloat", "MatMulNBits",
        "MulInteger", "QAttention", "QEmbedLayerNormalization", "QGemm", "QLinearAdd",
        "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool",
        "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax",
        "QLinearWhere", "QMoE", "QuantizeLinear", "ReduceSumInteger",
    ),
    "the heads inside the operator are not taken apart": (
        "Attention", "DecoderAttention", "DecoderMaskedMultiHeadAttention",
        "DecoderMaskedSelfAttention", "GroupQueryAttention", "LongformerAttention",
        "MultiHeadAttention", "PackedAttention", "PackedMultiHeadAttention", "PagedAttention",
        "RotaryEmbedding", "SparseAttention",
    ),
}  # fmt: skip
_LAID_OUT = (
    "the operator lays its data out for one machine: prune the model that was optimised, or "
    "optimise it at ORT_ENABLE_EXTENDED, which writes none"
)
#: Domains whose operators ONNX Runtime makes up for the machine it runs on.
_INTERNAL = ("com.microsoft.nchwc", "com.ms.internal.")


def reason_for(node: gs.Node) -> str:
    """Say why an operator without a rule is fenced."""
    domain = node.domain or ""
    if domain.startswith(_INTERNAL) or (domain == "com.microsoft" and node.op.startswith("Nhwc")):
        return _LAID_OUT
    if domain == "com.microsoft":
        for message, ops in _MICROSOFT.items():
            if node.op in ops:
                return message
    return "the operator is not understood"


def _fence(message: str) -> Callable[[Site], None]:
    def couple(site: Site) -> None:
        """Stop every cut."""
        site.fence_all(message, listed=message == _QUANTISED)
        # A dequantised weight is no constant: its integers must stay what they are.
        site.walk.opaque.update(t.name for t in site.node.outputs if t.name)

    return couple


RULES: dict[str, OpRule] = {
    op: OpRule(couple=_fence(message), status="fenced", note=message)
    for message, ops in _REASONS.items()
    for op in ops
}
