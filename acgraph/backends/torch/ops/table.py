"""All kernel builders of the PyTorch backend, by kernel name and by operator."""

from acgraph.backends.torch.ops import (
    attention,
    conv,
    elementwise,
    indexing,
    matmul,
    movement,
    norm,
    pooling,
    recurrent,
    reduce,
    regions,
    resize,
    sampling,
)
from acgraph.backends.torch.ops.node import Builder
from acgraph.operators import OPERATORS

#: Builders by the kernel name in the table of operators.
KERNELS: dict[str, Builder] = {
    **attention.TABLE,
    **conv.TABLE,
    **elementwise.TABLE,
    **indexing.TABLE,
    **matmul.TABLE,
    **movement.TABLE,
    **norm.TABLE,
    **pooling.TABLE,
    **recurrent.TABLE,
    **reduce.TABLE,
    **regions.TABLE,
    **resize.TABLE,
    **sampling.TABLE,
}
#: Builders by operator of the default domain.
BUILDERS: dict[str, Builder] = {
    name: KERNELS[operator.kernel] for name, operator in OPERATORS.items() if operator.kernel
}
