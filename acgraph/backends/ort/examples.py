"""Convert examples of a data set to inputs of a session."""

from collections.abc import Iterable

import numpy as np

from acgraph.backends.ort.inputs import fixed_batch
from acgraph.backends.ort.session import Session
from acgraph.data import Array, Batch, Dataset, Indices, spread_indices
from acgraph.errors import BackendError


def real_inputs(session: Session, data: Dataset, sizes: Iterable[int]) -> list[dict[str, Array]]:
    """Make sets of inputs from examples, for several batch sizes.

    Args:
        session: The model; if its batch size is fixed, there are two sets of that size.
        data: The examples; if there are too few, some are used several times.
        sizes: The batch sizes to try.

    Returns:
        One set of inputs by name for each batch size that the model can run.

    Raises:
        BackendError: The model can run none of the batch sizes.
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
    """Return the arrays of a batch by input name, converted to the types of the inputs.

    Raises:
        DataError: The batch has no array for an input.
    """
    types = {info.name: info.dtype for info in session.inputs}
    feeds: dict[str, Array] = {}
    for name, value, _ in batch.named(list(types)):
        dtype = types[name]
        feeds[name] = value if dtype is None else value.astype(dtype, copy=False)
    return feeds


def _of_one_group(data: Dataset, order: Indices, begin: int, size: int) -> Indices:
    """Return the indices of the next examples of one size, repeated if there are too few."""
    if data.groups is not None:
        group = data.groups[order[begin % len(order)]]
        order = order[data.groups[order] == group]
    return order[np.arange(begin, begin + size) % len(order)]
