"""Expand ONNX Runtime's own operators (``com.microsoft``) into standard operators.

Models saved by ONNX Runtime's optimiser contain fused operators: FusedConv, Gelu,
SkipLayerNormalization, Attention. The analysis, the training and the lowering support standard
operators only, so these nodes are expanded on import. ONNX Runtime fuses them again when it loads
the written file.
"""

from acgraph.ir.microsoft.expand import as_microsoft, expand_operators, expanded_remark

__all__ = ["as_microsoft", "expand_operators", "expanded_remark"]
