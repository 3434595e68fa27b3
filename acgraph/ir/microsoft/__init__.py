"""Operators of ONNX Runtime's own, written as the standard operators that they stand for.

ONNX Runtime's optimiser saves what it fused: FusedConv, Gelu, SkipLayerNormalization, Attention.
All that follows channels, trains and lowers knows the standard operators; so these nodes are taken
apart when a file is read, and ONNX Runtime fuses them again when it loads what was written.
"""

from acgraph.ir.microsoft.expand import as_microsoft, expand_operators, expanded_remark

__all__ = ["as_microsoft", "expand_operators", "expanded_remark"]
