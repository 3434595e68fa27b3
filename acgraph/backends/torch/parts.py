"""Any number of examples through a graph whose batch cannot be left: in parts of that batch."""

from collections.abc import Iterator, Sequence

import torch

from acgraph.backends.torch.batch import with_batch
from acgraph.backends.torch.inputs import Inputs

#: Fewer images than these say too little of mean and variance: a network that runs on so few at
#: once trains with the running statistics that its BatchNormalization has.
LEAST_STATISTICS = 8


def cut_into_parts(x: Inputs, batch: int) -> Iterator[tuple[tuple[torch.Tensor, ...], int]]:
    """Yield inputs of exactly one batch, and how many examples of it count.

    A last, smaller part is filled up with examples of its own, which do not count.
    """
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        full = part.mapped(lambda tensor, axis: with_batch(tensor, batch, axis))
        yield full.tensors, len(part)


def join_parts(
    results: Sequence[Sequence[torch.Tensor]], counts: Sequence[int], batch: int
) -> tuple[torch.Tensor, ...]:
    """Put the results of parts together, without what fills a last part up.

    A result whose axis 0 is the batch keeps it there. One without a batch, of parts of a single
    example, gets it as a new axis 0; any other is laid one behind the other.
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
