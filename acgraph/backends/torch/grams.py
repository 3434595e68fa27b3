"""Second moments of what each layer reads, measured over data."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from acgraph.analysis.layers import Layer
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.rows import columns_at, draw
from acgraph.backends.torch.runtime import evaluating
from acgraph.backends.torch.visit import visit
from acgraph.data import Batch
from acgraph.errors import DataError
from acgraph.ir import Model
from acgraph.pruning.reconstruct import Gram

log = logging.getLogger(__name__)

#: Positions of an image that count, drawn at random, a new draw for each batch.
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
    """Measure the moments of the columns that layers multiply with, in ``eval()``.

    Args:
        module: The graph to run.
        model: What the module was made of.
        layers: Its layers, of one group each, whose weight is their right factor.
        batches: Inputs of the graph.
        seed: Of the draw of positions.
        positions: Output positions of each example that count, at most.

    Returns:
        By the name of the weight. A weight that several layers share has the mean of all.

    Raises:
        DataError: there are no batches.
    """
    nodes = {node.name: node for node in model.graph.nodes}
    readers: dict[str, list[Layer]] = {}
    for layer in layers:
        name = nodes[layer.name].inputs[1 - layer.weight_input].name
        readers.setdefault(name, []).append(layer)
    sums: dict[str, _Sums] = {}
    generator = torch.Generator().manual_seed(seed)
    device = next(iter(module.parameters())).device

    def look(name: str, value: torch.Tensor) -> None:
        for layer in readers[name]:
            node = nodes[layer.name]
            drawn = draw(value, node, layer, generator, positions)
            columns = columns_at(value, node, layer, drawn)
            found, known = _Sums.of(columns), sums.get(layer.weight)
            if known is None:
                sums[layer.weight] = found
            else:
                known.add(found)

    with evaluating(module), torch.no_grad():
        for batch in batches:
            x = Inputs.of(batch, module.input_names, device)
            visit(module, sorted(readers), look, *x.tensors)
    if layers and not sums:
        raise DataError("no data to measure layers on", hint="give at least one batch")
    return {name: sums.pop(name).gram() for name in list(sums)}


@dataclass(slots=True, eq=False)
class _Sums:
    """Central moments of so many rows, not divided yet. Matrices change in place: they are large.

    Attributes:
        squares: ``sum (x - m) (x - m)^T``, ``float64 [columns, columns]``.
        mean: ``m``, ``float64 [columns]``.
        count: Rows.
    """

    squares: torch.Tensor
    mean: torch.Tensor
    count: int

    @classmethod
    def of(cls, rows: torch.Tensor) -> "_Sums":
        """Sum over rows ``[samples, columns]``.

        The products are of float32, for speed, of rows about their mean and divided by the largest
        of their column: neither a large mean nor a large or tiny scale costs digits.
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
        """Add other rows by the formula of Chan, Golub and LeVeque (1983)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        self.squares.add_(other.squares)
        self.squares.addr_(delta * (self.count * other.count / count), delta)
        self.mean = self.mean + delta * (other.count / count)
        self.count = count

    def gram(self) -> Gram:
        """Return the moments; the sums are used up."""
        covariance = self.squares.div_(self.count)
        return Gram(covariance=covariance.cpu().numpy(), mean=self.mean.cpu().numpy())
