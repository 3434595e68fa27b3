"""The operators of the default domain that the PyTorch backend runs."""

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
    resize,
    sampling,
)
from acgraph.backends.torch.ops.node import Builder

BUILDERS: dict[str, Builder] = {
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
    **resize.TABLE,
    **sampling.TABLE,
}
