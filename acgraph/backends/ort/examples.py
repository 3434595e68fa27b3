"""Examples of the data as the inputs of a session, in the numbers that it takes."""

from collections.abc import Iterable

import numpy as np

from acgraph.backends.ort.inputs import fixed_batch
from acgraph.backends.ort.session import Session
from acgraph.data import Array, Batch, Dataset, Indices, spread_indices
from acgraph.errors import BackendError


def real_inputs(session: Session, data: Dataset, sizes: Iterable[int]) -> list[dict[str, Array]]:
    """Make inputs of examples, in each number that a model takes.

    Args:
        session: The model; a batch that its file fixes is the only one.
        data: The examples; where they are too few for all inputs, some are used again.
        sizes: How many examples to try at once, where the batch is free.

    Raises:
        BackendError: the model takes none of these numbers of examples.
    """
    fixed = fixed_batch(session)
    wanted = [fixed, fixed] if fixed is not None else list(sizes)
    order = spread_indices(len(data), sum(wanted))
    found: list[dict[str, Array]] = []
    refused: BackendError | None = None
    begin = 0
    for size in wanted:
        feeds = feeds_of(session, data.batch(_of_one_group(data, order, begin, size)))
        begin += size
        try:
            session.run(feeds)
        except BackendError as error:
            refused = error
            continue
        found.append(feeds)
    if not found and refused is not None:
        raise refused
    return found


def feeds_of(session: Session, batch: Batch) -> dict[str, Array]:
    """Return examples by the names of a model's inputs, in the types that these take.

    Raises:
        DataError: there is no array for an input.
    """
    types = {info.name: info.dtype for info in session.inputs}
    feeds: dict[str, Array] = {}
    for name, value, _ in batch.named(list(types)):
        dtype = types[name]
        feeds[name] = value if dtype is None else value.astype(dtype, copy=False)
    return feeds


def _of_one_group(data: Dataset, order: Indices, begin: int, size: int) -> Indices:
    """Return the next examples that fit into one batch; where they are too few, some again."""
    if data.groups is not None:
        group = data.groups[order[begin % len(order)]]
        order = order[data.groups[order] == group]
    return order[np.arange(begin, begin + size) % len(order)]
