"""Quantise what a run made, by the training images."""

from collections.abc import Callable, Iterator
from pathlib import Path

from acgraph.backends.ort.examples import feeds_of
from acgraph.backends.ort.inputs import fixed_batch
from acgraph.backends.ort.quantise import quantise_static
from acgraph.backends.ort.session import Session
from acgraph.data import Array, Dataset, iterate_batches
from acgraph.driver.state.context import Context
from acgraph.errors import BackendError

#: Training examples that give the ranges of the activations, where there are so many.
EXAMPLES = 300
_BATCH = 32


def quantise(context: Context, source: Path, target: Path, warn: Callable[[str], None]) -> int:
    """Quantise a written model to int8; the report warns of one that cannot be quantised.

    Hours of training are not thrown away for it, so that is no error.

    Args:
        context: The run.
        source: The file to quantise.
        target: Where the result goes.
        warn: Who is told why there is none.

    Returns:
        How many training examples gave the ranges of the activations; 0 where there is no result.
    """
    data, sizes = context.data.train, context.original.model.sizes
    examples = min(EXAMPLES, len(data))
    try:
        quantise_static(source, target, _feeds(Session(source, sizes=sizes), data, examples))
    except BackendError as error:
        warn(f"there is no model.int8.onnx: {error.diagnostic.message}")
        return 0
    return examples


def _feeds(session: Session, data: Dataset, examples: int) -> Iterator[dict[str, Array]]:
    """Read examples in batches of the size that the model wants; a last, smaller one repeats some.

    Ranges are minima and maxima, which repeated examples do not change.
    """
    size = fixed_batch(session)
    for batch in iterate_batches(data, size or _BATCH, examples):
        rows = [row % len(batch) for row in range(size or len(batch))]
        yield feeds_of(session, batch.take(rows))
