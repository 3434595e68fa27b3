"""Operator domains: ONNX's default domain, and the fences of other domains."""

MICROSOFT = "com.microsoft"

QUANTISED = "the values are quantised: prune the model before quantisation"
HEADS = "the attention heads inside the operator are not analysed"
UNKNOWN = "the operator is not understood"
LAID_OUT = (
    "the operator uses a data layout for one kind of machine: prune the model before it is "
    "optimised, or optimise it at ORT_ENABLE_EXTENDED, which writes no such operators"
)

#: Fenced operators of ONNX Runtime's own domain, by reason.
MICROSOFT_FENCED = {
    QUANTISED: (
        "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "GatherBlockQuantized",
        "MatMulBnb4", "MatMulFpQ4", "MatMulInteger16", "MatMulIntegerToFloat", "MatMulNBits",
        "MulInteger", "QAttention", "QEmbedLayerNormalization", "QGemm", "QLinearAdd",
        "QLinearAveragePool", "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool",
        "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax",
        "QLinearWhere", "QMoE", "QuantizeLinear", "ReduceSumInteger",
    ),
    HEADS: (
        "Attention", "DecoderAttention", "DecoderMaskedMultiHeadAttention",
        "DecoderMaskedSelfAttention", "GroupQueryAttention", "LongformerAttention",
        "MultiHeadAttention", "PackedAttention", "PackedMultiHeadAttention", "PagedAttention",
        "RotaryEmbedding", "SparseAttention",
    ),
}  # fmt: skip
#: Domains whose operators ONNX Runtime generates for a particular machine.
_INTERNAL = ("com.microsoft.nchwc", "com.ms.internal.")


def is_standard(domain: str | None) -> bool:
    """Return whether a domain is ONNX's default domain, in any of its spellings."""
    return domain in (None, "", "ai.onnx")


def foreign_fence(op: str, domain: str | None) -> str:
    """Return why an operator that is not in the table is fenced."""
    domain = domain or ""
    if domain.startswith(_INTERNAL) or (domain == MICROSOFT and op.startswith("Nhwc")):
        return LAID_OUT
    if domain == MICROSOFT:
        return next((why for why, ops in MICROSOFT_FENCED.items() if op in ops), UNKNOWN)
    return UNKNOWN
