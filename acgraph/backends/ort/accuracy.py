"""Accuracy of a classifier on labelled data, and agreement of two models on any data."""

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
    """Return the part of the labels that the first output gives, from 0 to 1.

    The class is the largest entry along axis 1; an integer output is the class itself. Labels of
    more than one axis (segmentation) are compared position by position.

    Args:
        session: The classifier. A batch that its file fixes is obeyed.
        dataset: The data.
        limit: Use only so many examples, evenly spaced.

    Raises:
        DataError: there are no labels, or they do not fit the output: another number, or classes
            that the output does not have.
    """
    _check_not_empty(dataset)
    right = total = 0
    for batch in iterate_batches(dataset, _BATCH, limit):
        labels = batch.labels
        if labels is None:
            raise DataError("no labels", hint="accuracy needs data with labels y")
        output = _first_output(session, batch)
        found = _classes(output)
        truth = _labels(labels, found, session)
        classes = output.shape[1] if output.dtype.kind == "f" else None
        check_label_range(truth, classes, Location(model=dataset.name))
        right += int(np.count_nonzero(found == truth))
        total += truth.size
    return right / total


def own_score(session: Session, dataset: Dataset, evaluate: Evaluate) -> float:
    """Judge a model by a user's metric, averaged over the examples.

    Args:
        session: The model.
        dataset: The data.
        evaluate: Outputs and labels or None of a batch -> a number.

    Raises:
        UsageError: that gives no finite number.
        DataError: there are no examples.
    """
    _check_not_empty(dataset)
    total = 0.0
    for batch in iterate_batches(dataset, _BATCH):
        start = 0
        for outputs in _outputs(session, batch):
            count = min(fixed_batch(session) or len(batch), len(batch) - start)
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
    """Judge a model by labels, in the measure of its first output's task.

    Args:
        session: The model.
        dataset: Labelled data.
        tasks: What the outputs mean.
        limit: Use only so many examples, evenly spaced.

    Raises:
        DataError: there are no labels, or they do not fit the output.
    """
    _check_not_empty(dataset)
    result = Correctness(tasks)
    for batch in iterate_batches(dataset, _BATCH, limit):
        if batch.labels is None:
            raise DataError("no labels", hint="give labels y")
        start = 0
        for count, outputs in _runs(session, batch):
            size = fixed_batch(session) or count
            result.add(
                [_rows(task, output, count, size) for task, output in
                 zip(tasks, outputs, strict=True)],
                batch.labels[start : start + count],
            )  # fmt: skip
            start += count
    return result


def _rows(task: OutputTask, output: Array, count: int, size: int) -> Array:
    """Leave out what only fills a batch."""
    if output.ndim <= task.batch_axis or output.shape[task.batch_axis] != size or count == size:
        return output
    return output.take(range(count), axis=task.batch_axis)


def agreement(
    session: Session, reference: Session, dataset: Dataset, *, limit: int | None = None
) -> float:
    """Return how far a model agrees with another, from 0 to 1; labels are not needed.

    The rule is that of ``acgraph.data.Agreement``, as in training.

    Raises:
        DataError: there are no examples, or the two make outputs of different shapes.
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
        reference: What it is to agree with.
        dataset: Inputs.
        tasks: What the outputs mean; guessed by their values where that is not given.
        limit: Use only so many examples, evenly spaced.

    Raises:
        DataError: there are no examples, or the two make outputs of different shapes.
    """
    _check_not_empty(dataset)
    result = Agreement(tasks)
    for batch in iterate_batches(dataset, _BATCH, limit):
        pairs = zip(_outputs(session, batch), _outputs(reference, batch), strict=True)
        for ours, theirs in pairs:
            result.add(ours, theirs)
    return result


def answers(session: Session, dataset: Dataset, *, limit: int | None = None) -> list[Array]:
    """Return all outputs for some examples, one after the other along their first axis.

    Where examples have several sizes, they are of the size that most have.
    """
    if dataset.groups is not None:
        most = np.bincount(dataset.groups).argmax()
        dataset = Subset(dataset, np.flatnonzero(dataset.groups == most))
    parts = [
        outputs
        for batch in iterate_batches(dataset, _BATCH, limit)
        for outputs in _outputs(session, batch)
    ]
    return [
        np.concatenate([np.atleast_1d(part) for part in each]) for each in zip(*parts, strict=True)
    ]


def _check_not_empty(dataset: Dataset) -> None:
    if len(dataset) == 0:
        raise DataError(
            "holds no examples", location=Location(model=dataset.name), hint="give at least one"
        )


def _first_output(session: Session, batch: Batch) -> Array:
    """Run the examples; ``[n, ...]``."""
    parts = []
    for count, outputs in _runs(session, batch):
        first, size = outputs[0], fixed_batch(session) or count
        if first.ndim == 0 or len(first) != size:
            raise DataError(
                f"{size} examples give an output of shape {list(first.shape)}",
                location=Location(model=session.source, value=session.outputs[0].name),
                hint="the first output must have one row for each example",
            )
        parts.append(first[:count])
    return np.concatenate(parts)


def _outputs(session: Session, batch: Batch) -> Iterator[list[Array]]:
    """Run the examples; yield the outputs of every run, without rows that only fill a batch."""
    for count, outputs in _runs(session, batch):
        size = fixed_batch(session)
        yield [
            output[:count] if output.ndim and len(output) == size else output for output in outputs
        ]


def _runs(session: Session, batch: Batch) -> Iterator[tuple[int, list[Array]]]:
    """Run the examples in batches of the size that the file wants.

    Yields:
        How many examples it were, and the outputs; a last batch is filled up with its last example.
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
            f"an output of shape {list(output.shape)} holds no classes",
            hint="the first output must be [examples, classes, ...], two classes at least",
        )
    return np.asarray(np.argmax(output, axis=1))


def _labels(labels: Labels, found: Array, session: Session) -> Labels:
    if labels.size != found.size or len(labels) != len(found):
        raise DataError(
            f"labels of shape {list(labels.shape)} for classes of shape {list(found.shape)}",
            location=Location(model=session.source),
            hint="the labels y must be class numbers",
        )
    return labels.reshape(found.shape)
