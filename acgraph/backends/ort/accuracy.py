"""Accuracy of a model on labelled data, and agreement of two models on any data."""

from collections.abc import Iterator, Sequence

import numpy as np

from acgraph.backends.ort.examples import feeds_of
from acgraph.backends.ort.inputs import fixed_batch
from acgraph.backends.ort.session import Session
from acgraph.backends.training import Evaluate, score_of
from acgraph.data import (
    Batch,
    Dataset,
    Labels,
    Subset,
    check_label_range,
    iterate_batches,
)
from acgraph.diagnostics import Location
from acgraph.errors import DataError
from acgraph.ir import Array
from acgraph.tasks import Agreement, Correctness, OutputTask

_BATCH = 64


def accuracy(session: Session, dataset: Dataset, *, limit: int | None = None) -> float:
    """Return the accuracy of the first output, from 0 to 1.

    The predicted class is the index of the largest value along axis 1, or the value itself if the
    output is integer. Labels with several axes (segmentation) are compared position by position.

    Args:
        session: The classifier; its batch size may be fixed.
        dataset: Labelled data.
        limit: Largest number of examples, evenly spaced; None for all.

    Raises:
        DataError: There are no labels, their number differs from that of the predictions, or a
            label exceeds the number of classes.
    """
    _check_not_empty(dataset)
    right = total = 0
    for batch in iterate_batches(dataset, _BATCH, limit):
        labels = batch.labels
        if labels is None:
            raise DataError("the data has no labels", hint="give data with labels y")
        output = _first_output(session, batch)
        found = _classes(output)
        truth = _labels(labels, found, session)
        classes = output.shape[1] if output.dtype.kind == "f" else None
        check_label_range(truth, classes, Location(model=dataset.name))
        right += int(np.count_nonzero(found == truth))
        total += truth.size
    return right / total


def custom_score(session: Session, dataset: Dataset, evaluate: Evaluate) -> float:
    """Return a custom metric, averaged over the examples.

    Args:
        session: The model.
        dataset: The data.
        evaluate: The metric: outputs of a batch, and its labels or None -> a number.

    Raises:
        UsageError: The metric does not return a finite number.
        DataError: There are no examples.
    """
    _check_not_empty(dataset)
    total = 0.0
    for batch in iterate_batches(dataset, _BATCH):
        start = 0
        for count, outputs in _outputs(session, batch):
            labels = None if batch.labels is None else batch.labels[start : start + count]
            total += score_of(evaluate, outputs, labels) * count
            start += count
    return total / len(dataset)


def correctness(
    session: Session,
    dataset: Dataset,
    tasks: Sequence[OutputTask],
    *,
    limit: int | None = None,
) -> Correctness:
    """Evaluate a model on labels, with the metric of its first output's task.

    Args:
        session: The model.
        dataset: Labelled data.
        tasks: Task of each output.
        limit: Largest number of examples, evenly spaced; None for all.

    Raises:
        DataError: There are no labels, or they do not fit the output.
    """
    _check_not_empty(dataset)
    result = Correctness(tasks)
    for batch in iterate_batches(dataset, _BATCH, limit):
        if batch.labels is None:
            raise DataError("the data has no labels", hint="give data with labels y")
        start = 0
        for count, outputs in _outputs(session, batch, tasks):
            result.add(outputs, batch.labels[start : start + count])
            start += count
    return result


def agreement(
    session: Session, reference: Session, dataset: Dataset, *, limit: int | None = None
) -> float:
    """Return the agreement of a model with another, from 0 to 1, see ``acgraph.tasks.Agreement``.

    Args:
        session: The model.
        reference: The model to agree with.
        dataset: Inputs; labels are not used.
        limit: Largest number of examples, evenly spaced; None for all.

    Raises:
        DataError: There are no examples, or the outputs have different shapes.
    """
    return compare(session, reference, dataset, limit=limit).value


def compare(
    session: Session,
    reference: Session,
    dataset: Dataset,
    *,
    tasks: Sequence[OutputTask] | None = None,
    limit: int | None = None,
) -> Agreement:
    """Compare a model with another, output by output.

    Args:
        session: The model.
        reference: The model to agree with.
        dataset: Inputs; labels are not used.
        tasks: Task of each output; None guesses it from the values.
        limit: Largest number of examples, evenly spaced; None for all.

    Raises:
        DataError: There are no examples, or the outputs have different shapes.
    """
    _check_not_empty(dataset)
    result = Agreement(tasks)
    # Both run the same examples at a time, even if only one file fixes the size of the batch.
    sizes = [size for each in (session, reference) if (size := fixed_batch(each))]
    for batch in iterate_batches(dataset, min([_BATCH, *sizes]), limit):
        runs = (_outputs(each, batch, tasks) for each in (session, reference))
        for (_, ours), (_, theirs) in zip(*runs, strict=True):
            result.add(ours, theirs)
    return result


def concatenated_outputs(
    session: Session, dataset: Dataset, *, limit: int | None = None
) -> list[Array]:
    """Return all outputs for some examples, concatenated along axis 0.

    If the examples have several sizes, only those of the most frequent size are used.
    """
    if dataset.groups is not None:
        most = np.bincount(dataset.groups).argmax()
        dataset = Subset(dataset, np.flatnonzero(dataset.groups == most))
    parts = [
        outputs
        for batch in iterate_batches(dataset, _BATCH, limit)
        for _, outputs in _outputs(session, batch)
    ]
    return [
        np.concatenate([np.atleast_1d(part) for part in each]) for each in zip(*parts, strict=True)
    ]


def _check_not_empty(dataset: Dataset) -> None:
    if len(dataset) == 0:
        raise DataError(
            "contains no examples",
            location=Location(model=dataset.name),
            hint="give data with at least one example",
        )


def _first_output(session: Session, batch: Batch) -> Array:
    """Run the examples; return the first output, ``[n, ...]``."""
    parts = []
    for count, outputs in _runs(session, batch):
        first, size = outputs[0], fixed_batch(session) or count
        if first.ndim == 0 or len(first) != size:
            raise DataError(
                f"the output for {size} examples has shape {list(first.shape)}",
                location=Location(model=session.source, value=session.outputs[0].name),
                hint="the first output must have one row for each example",
            )
        parts.append(first[:count])
    return np.concatenate(parts)


def _outputs(
    session: Session, batch: Batch, tasks: Sequence[OutputTask] | None = None
) -> Iterator[tuple[int, list[Array]]]:
    """Run the examples; yield the number of examples and the outputs of every run.

    Rows of examples that only fill a batch of fixed size are dropped, along the batch axis of the
    output's task, or axis 0 if there are no tasks.
    """
    for count, outputs in _runs(session, batch):
        size = fixed_batch(session) or count
        axes = [task.batch_axis for task in tasks] if tasks else [0] * len(outputs)
        yield count, [_rows(*pair, count, size) for pair in zip(outputs, axes, strict=True)]


def _rows(output: Array, axis: int, count: int, size: int) -> Array:
    if count == size or output.ndim <= axis or output.shape[axis] != size:
        return output
    return output.take(range(count), axis=axis)


def _runs(session: Session, batch: Batch) -> Iterator[tuple[int, list[Array]]]:
    """Run the examples in batches of the fixed size, if there is one.

    Yields:
        Number of examples and outputs of each run. The last batch is filled by repeating its last
        example.
    """
    size = fixed_batch(session) or len(batch)
    for start in range(0, len(batch), size):
        part = batch.take(slice(start, start + size))
        fed = part if len(part) == size else part.filled(size)
        yield len(part), list(session.run(feeds_of(session, fed)).values())


def _classes(output: Array) -> Array:
    if output.dtype.kind in "iu":
        return output
    if output.ndim < 2 or output.shape[1] < 2:
        raise DataError(
            f"an output of shape {list(output.shape)} has no classes",
            hint="the first output must be [examples, classes, ...] with at least two classes",
        )
    return np.asarray(np.argmax(output, axis=1))


def _labels(labels: Labels, found: Array, session: Session) -> Labels:
    if labels.size != found.size or len(labels) != len(found):
        raise DataError(
            f"the labels have shape {list(labels.shape)}, but the predicted classes "
            f"{list(found.shape)}",
            location=Location(model=session.source),
            hint="give labels y that are class numbers",
        )
    return labels.reshape(found.shape)
