"""PyTorch kernels of the ONNX operators, by the kernel names in the table of operators."""

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView
from acgraph.backends.torch.ops.table import BUILDERS, KERNELS

__all__ = ["BUILDERS", "KERNELS", "Builder", "Kernel", "NodeView"]
