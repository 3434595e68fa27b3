"""Split inputs into parts for a graph with a fixed batch size, and join the results."""

from collections.abc import Iterator, Sequence

import torch

from acgraph.backends.torch.batch import with_batch
from acgraph.backends.torch.inputs import Inputs

#: Fewest images from which BatchNormalization estimates mean and variance. A network with a smaller
#: fixed batch size trains with the running statistics unchanged.
MIN_STATISTICS_BATCH = 8


def cut_into_parts(x: Inputs, batch: int) -> Iterator[tuple[tuple[torch.Tensor, ...], int]]:
    """Yield parts of exactly ``batch`` examples, each with the number of its valid examples.

    A smaller last part is filled by repeating its examples; these are not valid.
    """
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        full = part.mapped(lambda tensor, axis: with_batch(tensor, batch, axis))
        yield full.tensors, len(part)


def join_parts(
    results: Sequence[Sequence[torch.Tensor]], counts: Sequence[int], batch: int
) -> tuple[torch.Tensor, ...]:
    """Join the results of parts, without those of repeated examples.

    Results whose axis 0 is the batch are concatenated there. Results without a batch axis, from
    parts of a single example, are stacked on a new axis 0. Others are concatenated on axis 0.
    """
    return tuple(_join(each, counts, batch) for each in zip(*results, strict=True))


def _join(values: Sequence[torch.Tensor], counts: Sequence[int], batch: int) -> torch.Tensor:
    if all(value.ndim and value.shape[0] == batch for value in values):
        return torch.cat([value[:count] for value, count in zip(values, counts, strict=True)])
    if all(value.shape == values[0].shape for value in values) and (
        batch == 1 or not values[0].ndim
    ):
        return torch.stack(list(values))
    return torch.cat(list(values))
