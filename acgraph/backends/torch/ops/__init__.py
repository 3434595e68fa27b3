"""How each ONNX operator runs in PyTorch: one plain table of builders."""

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView
from acgraph.backends.torch.ops.table import BUILDERS

__all__ = ["BUILDERS", "Builder", "Kernel", "NodeView"]
