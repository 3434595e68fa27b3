"""Mean and variance of each channel of activations over data, for BatchNormalization."""

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
    """Measure the mean and variance of each channel (axis 1) of tensors, in ``eval()``.

    Batches are merged by the formula of Chan, Golub and LeVeque (1983) in float64, so that the
    result does not depend on the batch size.

    Args:
        module: The graph to run, on the CPU.
        tensor_names: Tensors of the graph with at least two axes.
        batches: Inputs of the graph.

    Returns:
        Mean and biased variance by name, each ``float32 [channels]``.

    Raises:
        DataError: There are no batches.
        BackendError: A name is not a tensor of the graph.
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
