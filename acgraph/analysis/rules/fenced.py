"""Operators that are known, and that a cut does not pass; why is said in one line."""

from collections.abc import Callable

from acgraph.analysis.rules.base import OpRule
from acgraph.analysis.site import Site

_QUANTISED = "the numbers are quantised: prune before quantising"
_REASONS = {
    _QUANTISED: (
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
        "QLinearMatMul", "ConvInteger", "MatMulInteger",
    ),
    "the heads inside the operator are not taken apart": ("Attention", "RotaryEmbedding"),
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
