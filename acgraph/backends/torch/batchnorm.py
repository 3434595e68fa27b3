"""Per-channel statistics of activations over data, for BatchNormalization."""

from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt
import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.runtime import evaluating
from acgraph.backends.torch.visit import visit
from acgraph.data import Batch
from acgraph.errors import DataError

Floats = npt.NDArray[np.float32]


def channel_statistics(
    module: GraphModule, tensor_names: Collection[str], batches: Iterable[Batch]
) -> dict[str, tuple[Floats, Floats]]:
    """Measure mean and variance of tensors for every channel (axis 1), in ``eval()``.

    Batches are merged by Chan's formula in float64, so the result does not depend on how the data
    is cut into batches.

    Args:
        module: The graph to run.
        tensor_names: Tensors of the graph, of two axes or more.
        batches: What to run it on.

    Returns:
        ``(mean, var)``, float32 ``[channels]``, by name; the variance is the biased one.

    Raises:
        DataError: there are no batches.
        BackendError: a name is not a tensor of the graph.
    """
    counts: dict[str, int] = {}
    means: dict[str, torch.Tensor] = {}
    squares: dict[str, torch.Tensor] = {}

    def merge(name: str, x: torch.Tensor) -> None:
        _merge(name, x, counts, means, squares)

    with evaluating(module), torch.no_grad():
        for batch in batches:
            x = Inputs.of(batch, module.input_names, torch.device("cpu"))
            visit(module, tensor_names, merge, *x.tensors)
    if tensor_names and not counts:
        raise DataError("no data to measure statistics on", hint="give at least one batch")
    return {
        name: (_float32(means[name]), _float32(squares[name] / counts[name]))
        for name in tensor_names
    }


def _merge(
    name: str,
    x: torch.Tensor,
    counts: dict[str, int],
    means: dict[str, torch.Tensor],
    squares: dict[str, torch.Tensor],
) -> None:
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    x = x.to(torch.float64)
    count = x.numel() // x.shape[1]
    mean = x.mean(dim=axes)
    square = x.var(dim=axes, unbiased=False) * count
    if name not in counts:
        counts[name], means[name], squares[name] = count, mean, square
        return
    total = counts[name] + count
    delta = mean - means[name]
    squares[name] += square + delta * delta * (counts[name] * count / total)
    means[name] += delta * (count / total)
    counts[name] = total


def _float32(x: torch.Tensor) -> Floats:
    return x.cpu().numpy().astype(np.float32)
