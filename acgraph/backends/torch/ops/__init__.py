"""How each ONNX operator runs in PyTorch: kernels by the names in the table of operators."""

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView
from acgraph.backends.torch.ops.table import BUILDERS, KERNELS

__all__ = ["BUILDERS", "KERNELS", "Builder", "Kernel", "NodeView"]
