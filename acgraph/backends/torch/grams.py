"""Means and covariances of the inputs of layers, measured over data."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from acgraph.analysis.layers import Layer
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.rows import columns_at, sample_rows
from acgraph.backends.torch.runtime import evaluating
from acgraph.backends.torch.visit import visit
from acgraph.data import Batch
from acgraph.errors import DataError
from acgraph.ir import Model
from acgraph.pruning.reconstruct import Gram

log = logging.getLogger(__name__)

#: Number of output positions of an image that are sampled, anew for each batch.
POSITIONS = 64


def input_grams(
    module: GraphModule,
    model: Model,
    layers: Sequence[Layer],
    batches: Iterable[Batch],
    *,
    seed: int = 0,
    positions: int = POSITIONS,
) -> dict[str, Gram]:
    """Measure the mean and covariance of the columns that layers multiply with, in ``eval()``.

    Args:
        module: The graph to run.
        model: The model from which the module was made.
        layers: Layers of the model with one group, whose weight is the right factor.
        batches: Inputs of the graph.
        seed: Seed of the sampled positions.
        positions: Largest number of output positions of each example.

    Returns:
        The moments by the name of the weight. If several layers share a weight, they are taken over
        the inputs of all of them.

    Raises:
        DataError: There are no batches.
    """
    nodes = {node.name: node for node in model.graph.nodes}
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        name = nodes[layer.name].inputs[1 - layer.weight_input].name
        readers.setdefault(name, []).append(layer)
    sums: dict[str, _Sums] = {}
    generator = torch.Generator().manual_seed(seed)
    device = next(iter(module.parameters())).device

    def observe(name: str, value: torch.Tensor) -> None:
        for layer in readers[name]:
            node = nodes[layer.name]
            sampled = sample_rows(value, node, layer, generator, positions)
            columns = columns_at(value, node, layer, sampled)
            found, known = _Sums.of(columns), sums.get(layer.weight)
            if known is None:
                sums[layer.weight] = found
            else:
                known.add(found)

    with evaluating(module), torch.no_grad():
        for batch in batches:
            x = Inputs.of(batch, module.input_names, device)
            visit(module, sorted(readers), observe, *x.tensors)
    if layers and not sums:
        raise DataError("no data to measure layers on", hint="give at least one batch")
    return {name: sums.pop(name).gram() for name in list(sums)}


@dataclass(slots=True, eq=False)
class _Sums:
    """Sums over rows, from which the covariance follows. The large matrix is updated in place.

    Attributes:
        squares: ``sum (x - m) (x - m)^T``, ``float64 [columns, columns]``.
        mean: Mean row ``m``, ``float64 [columns]``.
        count: Number of rows.
    """

    squares: torch.Tensor
    mean: torch.Tensor
    count: int

    @classmethod
    def of(cls, rows: torch.Tensor) -> "_Sums":
        """Sum over rows ``[samples, columns]``.

        The products are computed in float32 for speed. Columns are centred and scaled first, so
        that a large mean, or a very large or small scale, does not reduce the precision.
        """
        mean = rows.mean(dim=0, dtype=torch.float64)
        shifted = rows.to(torch.float64).sub_(mean)
        scale = torch.maximum(shifted.amax(dim=0), shifted.amin(dim=0).neg_())
        scale = torch.where(scale > 0, scale, 1.0)
        scaled = shifted.div_(scale).to(torch.float32)
        del shifted
        squares = (scaled.T @ scaled).to(torch.float64)
        return cls(squares.mul_(scale).mul_(scale[:, None]), mean, len(rows))

    def add(self, other: "_Sums") -> None:
        """Add the sums over other rows by the formula of Chan, Golub and LeVeque (1983)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        self.squares.add_(other.squares)
        self.squares.addr_(delta * (self.count * other.count / count), delta)
        self.mean = self.mean + delta * (other.count / count)
        self.count = count

    def gram(self) -> Gram:
        """Return the moments; this overwrites the sums."""
        covariance = self.squares.div_(self.count)
        return Gram(covariance=covariance.cpu().numpy(), mean=self.mean.cpu().numpy())
