"""Metrics with labels: how often a network is correct, in the metric of its task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from acgraph.diagnostics import Location
from acgraph.errors import DataError
from acgraph.tasks.agreement import Result, groups
from acgraph.tasks.average_precision import AveragePrecision
from acgraph.tasks.classes import SameDecision
from acgraph.tasks.kinds import Array, OutputTask
from acgraph.tasks.maps import ConfusionMatrix, classes_of, is_mask
from acgraph.tasks.metrics import CosineSimilarity, MetricValue, NormalisedError, percent
from acgraph.tasks.sequences import EqualSequences, blank_of, decode

#: Pads sequences and lists of boxes. Map positions with this label, or with 255, are ignored.
PADDING = -1
_IGNORED = 255


class LabelMetric(MetricValue, Protocol):
    """A metric that compares the outputs of a network with labels."""

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Add a batch.

        Raises:
            ValueError: The shape of the labels does not fit the outputs.
        """
        ...


@dataclass(slots=True)
class Accuracy:
    """``classification``: accuracy over examples, or over positions.

    Labels are class numbers, or one-hot.

    Attributes:
        axis: The axis of the classes.
    """

    axis: int
    _correct: int = 0
    _count: int = 0

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Add a batch."""
        found = outputs[0].argmax(self.axis)
        is_one_hot = labels.ndim == outputs[0].ndim and labels.shape == outputs[0].shape
        truth = labels.argmax(self.axis) if is_one_hot else labels.reshape(found.shape)
        self._correct += int(np.count_nonzero(found == truth))
        self._count += found.size

    @property
    def value(self) -> float:
        """The accuracy, from 0 to 1."""
        return self._correct / max(self._count, 1)

    @property
    def text(self) -> str:
        """The accuracy as text."""
        return f"accuracy {percent(self.value)}"

    @property
    def numbers(self) -> dict[str, float]:
        """The accuracy by name."""
        return {"accuracy": self.value}


@dataclass(slots=True)
class IoUWithLabels:
    """``segmentation``: mean over classes of the intersection over union (IoU) with the labels.

    Labels are maps of class numbers; positions with 255 or a negative number are ignored.

    Attributes:
        task: The task of the output.
    """

    task: OutputTask
    _confusion: ConfusionMatrix = field(init=False)

    def __post_init__(self) -> None:
        self._confusion = ConfusionMatrix(is_mask(self.task))

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Add a batch."""
        mine, count = classes_of(self.task, outputs[0])
        truth = labels.reshape(mine.shape).astype(np.int64)
        if is_mask(self.task):
            truth = np.where((truth > 0) & (truth != _IGNORED), 1, truth)
        self._confusion.add(mine, np.where(truth == _IGNORED, PADDING, truth), count)

    @property
    def value(self) -> float:
        """The mean IoU; 0 if the labels of a mask are empty."""
        return self._confusion.mean_iou or 0.0

    @property
    def text(self) -> str:
        """The mean IoU as text."""
        return f"mean IoU {percent(self.value)}"

    @property
    def numbers(self) -> dict[str, float]:
        """The mean IoU by name."""
        return {"mean IoU": self.value}


@dataclass(slots=True)
class CharacterError:
    """``ctc``: character error rate, and the share of correct sequences.

    Labels are class numbers ``[N, L]``, padded with -1.

    Attributes:
        task: The task of the output.
    """

    task: OutputTask
    _sequences: EqualSequences = field(init=False)
    _blank: int | None = field(init=False)

    def __post_init__(self) -> None:
        self._sequences = EqualSequences(self.task)
        self._blank = self.task.blank

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Add a batch."""
        best = self._sequences.best(outputs[0])
        if self._blank is None:
            axis = -1 if self.task.axis is None else self.task.axis
            self._blank = blank_of(best, outputs[0].shape[axis])
        truth = [tuple(int(entry) for entry in row[row != PADDING]) for row in labels]
        self._sequences.compare(decode(best, self._blank), truth)

    @property
    def value(self) -> float:
        """1 minus the error rate, at least 0."""
        return max(0.0, 1.0 - self._sequences.error_rate)

    @property
    def text(self) -> str:
        """The error rate as text."""
        return (
            f"character error rate {percent(self._sequences.error_rate)}, "
            f"{percent(self._sequences.equal)} of the sequences correct"
        )

    @property
    def numbers(self) -> dict[str, float]:
        """Both numbers by name."""
        return {
            "character error": self._sequences.error_rate,
            "correct sequences": self._sequences.equal,
        }


@dataclass(slots=True)
class AgreementWithLabels:
    """A metric of agreement, with labels in place of the original's output.

    Labels have the size of the output.

    Attributes:
        metric: The metric.
    """

    metric: NormalisedError | CosineSimilarity | SameDecision

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Add a batch."""
        self.metric.add(outputs, [labels.reshape(outputs[0].shape).astype(np.float64)])

    @property
    def value(self) -> float:
        """The score of the metric, from 0 to 1."""
        return self.metric.value

    @property
    def text(self) -> str:
        """The result of the metric as text."""
        return self.metric.text

    @property
    def numbers(self) -> Mapping[str, float]:
        """The numbers of the metric by name."""
        return self.metric.numbers


@dataclass(slots=True)
class Correctness:
    """Correctness of a network by labels: the metric of its first output.

    If the first output is part of a detector, all outputs of the detector are evaluated.

    Attributes:
        tasks: The task of each output, in the order of the graph.
    """

    tasks: Sequence[OutputTask]
    _indices: tuple[int, ...] = field(init=False)
    _metric: LabelMetric = field(init=False)

    def __post_init__(self) -> None:
        self._indices = next(iter(groups(self.tasks)))
        self._metric = _metric([self.tasks[index] for index in self._indices])

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Add a batch.

        Args:
            outputs: All outputs of the network, in the order of the graph.
            labels: The labels of the examples.

        Raises:
            DataError: The shape of the labels does not fit the outputs.
        """
        chosen = [outputs[index] for index in self._indices]
        try:
            self._metric.add(chosen, labels)
        except ValueError as error:
            raise DataError(
                f"labels of shape {list(labels.shape)} do not fit output "
                f"'{self.tasks[0].output}' of shape {list(chosen[0].shape)}",
                hint=f"{self.tasks[0].kind} needs {EXPECTED[self.tasks[0].kind]}",
            ) from error

    @property
    def value(self) -> float:
        """The score, from 0 to 1; 1 is the best."""
        return self._metric.value

    @property
    def result(self) -> Result:
        """The result of the metric."""
        names = ", ".join(self.tasks[index].output for index in self._indices)
        numbers = dict(self._metric.numbers)
        return Result(names, self.tasks[0].kind, self.value, self._metric.text, numbers)


def check_fit(tasks: Sequence[OutputTask], labels: Array, where: Location) -> None:
    """Check that labels fit the task of the first output.

    Args:
        tasks: The task of each output.
        labels: The labels of some examples.
        where: The location that the message names.

    Raises:
        DataError: Their type or shape does not fit, or a class number is too large.
    """
    task = tasks[0]
    is_real = labels.dtype.kind == "f"
    shape = labels.shape[1:]
    size = None if task.axis is None or task.axis >= len(task.shape) else task.shape[task.axis]
    rest = [length for length in shape if length != 1]
    fits = {
        "classification": tuple(shape) == tuple(task.shape[1:])
        or (not is_real and len(rest) in (0, len(task.shape) - 2)),
        "segmentation": not is_real and len(rest) == 2,
        "ctc": not is_real and len(shape) == 1,
        "detection": len(shape) == 2 and shape[-1] == _BOX_COLUMNS,
    }.get(task.kind, _same_size(shape, task))
    hint = f"{task.kind} needs {EXPECTED[task.kind]}; use --task to set the task of the output"
    if not fits:
        raise DataError(
            f"labels of shape {list(labels.shape)} and type {labels.dtype} do not fit output "
            f"{task.described}, which is treated as {task.kind}",
            location=where,
            hint=hint,
        )
    is_classes = task.kind in ("segmentation", "ctc") and not is_mask(task)
    known = labels[labels != _IGNORED] if task.kind == "segmentation" else labels
    if is_classes and size is not None and known.size and int(known.max()) >= size:
        raise DataError(
            f"labels run to {int(known.max())}, but the model's classes are 0 to {size - 1}",
            location=where,
            hint=hint,
        )


def _same_size(shape: Sequence[int], task: OutputTask) -> bool:
    known = task.shape[1:]
    if None in known:
        return True
    return int(np.prod(shape)) == int(np.prod([size or 0 for size in known]))


#: Class, left, top, right, bottom.
_BOX_COLUMNS = 5
#: Form of the labels by task.
EXPECTED: Mapping[str, str] = {
    "classification": "class numbers [N], or 0 and 1 for each class",
    "segmentation": "maps of class numbers [N, H, W]",
    "ctc": "class numbers [N, L], padded with -1",
    "regression": "numbers in the shape of the output",
    "embedding": "vectors in the shape of the output",
    "imitate": "numbers in the shape of the output",
    "detection": "[N, boxes, 5]: class, left, top, right, bottom; padded with boxes of class -1",
}


def _metric(tasks: Sequence[OutputTask]) -> LabelMetric:
    task = tasks[0]
    axis = task.axis
    makers: Mapping[str, Callable[[], LabelMetric]] = {
        "classification": lambda: (
            AgreementWithLabels(SameDecision()) if task.form == "sigmoid"
            else Accuracy(1 if axis is None else axis)
        ),
        "segmentation": lambda: IoUWithLabels(task),
        "ctc": lambda: CharacterError(task),
        "regression": lambda: AgreementWithLabels(NormalisedError(axis)),
        "imitate": lambda: AgreementWithLabels(NormalisedError(axis)),
        "embedding": lambda: AgreementWithLabels(CosineSimilarity(-1 if axis is None else axis)),
        "detection": lambda: AveragePrecision(tasks),
    }  # fmt: skip
    return makers[task.kind]()
