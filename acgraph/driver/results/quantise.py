"""Quantise the compact model, calibrated on training images."""

from collections.abc import Callable, Iterator
from pathlib import Path

from acgraph.backends.ort.examples import feeds_of
from acgraph.backends.ort.inputs import fixed_batch
from acgraph.backends.ort.quantise import quantise_static
from acgraph.backends.ort.session import Session
from acgraph.data import Array, Dataset, iterate_batches
from acgraph.driver.state.context import Context
from acgraph.errors import BackendError

#: Largest number of training examples to calibrate the ranges of activations on.
EXAMPLES = 300
_BATCH = 32


def quantise(context: Context, source: Path, target: Path, warn: Callable[[str], None]) -> int:
    """Quantise a written model to int8; a failure is only a warning in the report.

    It is not an error, because the result of hours of training must not be lost.

    Args:
        context: The context of the run.
        source: The file to quantise.
        target: The file to write.
        warn: Callback for the warning.

    Returns:
        The number of training examples that the ranges were calibrated on; 0 if it failed.
    """
    data, sizes = context.data.train, context.original.model.sizes
    examples = min(EXAMPLES, len(data))
    try:
        quantise_static(source, target, _feeds(Session(source, sizes=sizes), data, examples))
    except BackendError as error:
        warn(f"model.int8.onnx was not written: {error.diagnostic.message}")
        return 0
    return examples


def _feeds(session: Session, data: Dataset, examples: int) -> Iterator[dict[str, Array]]:
    """Yield examples in batches of the model's batch size; the last one is padded by repetition.

    Ranges are minima and maxima, which repeated examples do not change.
    """
    size = fixed_batch(session)
    for batch in iterate_batches(data, size or _BATCH, examples):
        rows = [row % len(batch) for row in range(size or len(batch))]
        yield feeds_of(session, batch.take(rows))
