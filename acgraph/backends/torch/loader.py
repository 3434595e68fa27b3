"""Training batches in a seeded order; the next batch is read while the current one trains."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.backends.torch.augment import augment
from acgraph.backends.training import TrainConfig, steps_per_pass
from acgraph.data import Batch as Examples
from acgraph.data import Dataset, Indices, are_class_numbers, cut_indices

#: Keys of the independent random streams of a fit.
_ORDER, _AUGMENT = 1, 2


@dataclass(frozen=True, slots=True)
class Batch:
    """The examples of one step.

    Attributes:
        examples: Inputs of the network, and labels if there are any.
        indices: Indices of the examples in the data set.
        share: Their share of the batch of all processes.
        rest: Further examples of the step, with other input sizes.
    """

    examples: Examples
    indices: Indices
    share: float = 1.0
    rest: tuple["Batch", ...] = ()

    def of_one_size(self) -> tuple["Batch", ...]:
        """Split the step into batches whose examples have one size each."""
        return (replace(self, rest=()), *self.rest) if self.rest else (self,)


class Loader:
    """Reads the batches of one fit; step ``k`` depends only on the seed, the fit and ``k``.

    A pass visits every image once, in batches whose sizes differ by at most one, because a last
    batch of a single image would break BatchNormalization. If several processes train, each reads
    its own part of a batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        fit_number: int,
        *,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self._dataset = dataset
        self._rank, self._size = rank, size
        self._config = config
        self._key = (config.seed, fit_number)
        self.steps_per_pass = count_steps(dataset, config.batch_size)
        self._pass = -1
        self._chunks: list[Indices] = []

    def indices(self, step: int) -> Indices:
        """Return the indices of the images of a step, in all processes."""
        number, place = divmod(step, self.steps_per_pass)
        if number != self._pass:
            rng = np.random.default_rng((*self._key, _ORDER, number))
            order = rng.permutation(len(self._dataset)).astype(np.int64)
            self._chunks = self._cut(order, rng)
            self._pass = number
        return self._chunks[place]

    def _cut(self, order: Indices, rng: np.random.Generator) -> list[Indices]:
        """Split a pass into batches; as many as possible have examples of a single size."""
        groups, size = self._dataset.groups, self._config.batch_size
        if groups is None:
            return np.array_split(order, self.steps_per_pass)
        chunks: list[Indices] = []
        rest: list[Indices] = []
        for group in np.unique(groups):
            mine = order[groups[order] == group]
            whole = len(mine) // size * size
            chunks += np.split(mine[:whole], range(size, whole, size)) if whole else []
            rest.append(mine[whole:])
        left = np.concatenate(rest)
        if len(left):
            chunks += np.array_split(left, steps_per_pass(len(left), size))
        return [chunks[place] for place in rng.permutation(len(chunks))]

    def read(self, step: int) -> Batch:
        """Read and augment this process's part of the batch of a step."""
        whole = self.indices(step)
        indices = np.array_split(whole, self._size)[self._rank]
        if self._dataset.groups is not None:
            parts = cut_indices(self._dataset, indices, len(indices))
            first, *rest = (
                Batch(self._dataset.batch(part), part, len(part) / len(whole)) for part in parts
            )
            return replace(first, rest=tuple(rest))
        examples = self._dataset.batch(indices)
        if is_augmented(self._dataset, self._config):
            stream = (_AUGMENT, self._rank) if self._rank else (_AUGMENT,)
            rng = np.random.default_rng((*self._key, *stream, step))
            x = _augment_in_layout(examples.x, self._dataset.layout, self._config, rng)
            examples = examples.with_inputs({next(iter(examples.inputs)): x})
        return Batch(examples, indices, len(indices) / len(whole))

    def iterate(self, first: int, last: int) -> Iterator[Batch]:
        """Yield the batches of steps ``first`` to ``last`` (exclusive), reading one batch ahead."""
        if first >= last:
            return
        with ThreadPoolExecutor(1, thread_name_prefix="acgraph-loader") as pool:
            ahead = pool.submit(self.read, first)
            for step in range(first, last):
                batch = ahead.result()
                if step + 1 < last:
                    ahead = pool.submit(self.read, step + 1)
                yield batch


def count_steps(dataset: Dataset, batch_size: int) -> int:
    """Return the number of steps of a pass over all examples."""
    if dataset.groups is None:
        return steps_per_pass(len(dataset), batch_size)
    _, counts = np.unique(dataset.groups, return_counts=True)
    whole, left = int((counts // batch_size).sum()), int((counts % batch_size).sum())
    return whole + steps_per_pass(left, batch_size)


def is_augmented(dataset: Dataset, config: TrainConfig) -> bool:
    """Whether images are augmented; never with labels of positions, which would not be moved."""
    if dataset.labels is not None and not are_class_numbers(dataset.labels):
        return False
    wanted = config.crop > 0 or bool(config.flip) or config.erase > 0
    return config.augment and dataset.is_image and wanted


def _augment_in_layout(
    x: npt.NDArray[Any], layout: str, config: TrainConfig, rng: np.random.Generator
) -> npt.NDArray[Any]:
    if layout == "NCHW":
        return augment(x, config, rng)
    moved = augment(x.transpose(0, 3, 1, 2), config, rng)
    return np.ascontiguousarray(moved.transpose(0, 2, 3, 1))
