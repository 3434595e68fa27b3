"""Examples of the data as the inputs of a session, in the numbers that it takes."""

from collections.abc import Iterable

import numpy as np

from acgraph.backends.ort.inputs import fixed_batch
from acgraph.backends.ort.session import Session
from acgraph.data import Array, Dataset, spread_indices
from acgraph.errors import BackendError


def real_inputs(session: Session, data: Dataset, sizes: Iterable[int]) -> list[dict[str, Array]]:
    """Make inputs of examples, in each number that a model of one input takes.

    Args:
        session: The model; a batch that its file fixes is the only one.
        data: The examples; where they are too few for all inputs, some are used again.
        sizes: How many examples to try at once, where the batch is free.

    Raises:
        BackendError: the model takes none of these numbers of examples.
    """
    (info,) = session.inputs
    fixed = fixed_batch(session)
    wanted = [fixed, fixed] if fixed is not None else list(sizes)
    order = spread_indices(len(data), sum(wanted))
    found: list[dict[str, Array]] = []
    refused: BackendError | None = None
    begin = 0
    for size in wanted:
        x, _ = data.batch(order[np.arange(begin, begin + size) % len(order)])
        begin += size
        try:
            session.run({info.name: x})
        except BackendError as error:
            refused = error
            continue
        found.append({info.name: x})
    if not found and refused is not None:
        raise refused
    return found
