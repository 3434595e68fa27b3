"""Figures with labels: how often a network is right, in the measure of its task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from acgraph.diagnostics import Location
from acgraph.errors import DataError
from acgraph.tasks.average_precision import AveragePrecision
from acgraph.tasks.classes import SameDecision
from acgraph.tasks.figures import Cosine, NormalisedError, Told, percent
from acgraph.tasks.judge import Result, groups
from acgraph.tasks.kinds import Array, OutputTask
from acgraph.tasks.maps import Overlaps, classes_of, is_mask
from acgraph.tasks.sequences import EqualSequences, blank_of, decode

#: Fills sequences and lists of boxes up; positions of maps with it, or 255, are not judged.
PADDING = -1
_NOT_JUDGED = 255


class LabelFigure(Told, Protocol):
    """A figure over many labelled examples."""

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Take in a batch."""
        ...


@dataclass(slots=True)
class Accuracy:
    """``classification``: share of right classes, of examples or of positions.

    Labels are class numbers, or 0 and 1 for each class.
    """

    axis: int
    _right: int = 0
    _count: int = 0

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Take in a batch."""
        found = outputs[0].argmax(self.axis)
        is_one_hot = labels.ndim == outputs[0].ndim and labels.shape == outputs[0].shape
        truth = labels.argmax(self.axis) if is_one_hot else labels.reshape(found.shape)
        self._right += int(np.count_nonzero(found == truth))
        self._count += found.size

    @property
    def value(self) -> float:
        """The share."""
        return self._right / max(self._count, 1)

    @property
    def text(self) -> str:
        """In words."""
        return f"accuracy {percent(self.value)}"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        return {"accuracy": self.value}


@dataclass(slots=True)
class LabelOverlap:
    """``segmentation``: mean over classes of the intersection over union with the labels.

    Labels are maps of class numbers; positions of 255 or below 0 are not judged.
    """

    task: OutputTask
    _overlaps: Overlaps = field(init=False)

    def __post_init__(self) -> None:
        self._overlaps = Overlaps(is_mask(self.task))

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Take in a batch."""
        mine, count = classes_of(self.task, outputs[0])
        truth = labels.reshape(mine.shape).astype(np.int64)
        if is_mask(self.task):
            truth = np.where((truth > 0) & (truth != _NOT_JUDGED), 1, truth)
        self._overlaps.add(mine, np.where(truth == _NOT_JUDGED, PADDING, truth), count)

    @property
    def value(self) -> float:
        """The overlap; 0 where the labels mark nothing."""
        return self._overlaps.mean or 0.0

    @property
    def text(self) -> str:
        """In words."""
        return f"mean IoU {percent(self.value)}"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        return {"mean IoU": self.value}


@dataclass(slots=True)
class CharacterError:
    """``ctc``: edits for each character of the labels, which are ``[N, L]`` filled up with -1."""

    task: OutputTask
    _sequences: EqualSequences = field(init=False)
    _blank: int | None = field(init=False)

    def __post_init__(self) -> None:
        self._sequences = EqualSequences(self.task)
        self._blank = self.task.blank

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Take in a batch."""
        best = self._sequences.best(outputs[0])
        if self._blank is None:
            axis = -1 if self.task.axis is None else self.task.axis
            self._blank = blank_of(best, outputs[0].shape[axis])
        truth = [tuple(int(entry) for entry in row[row != PADDING]) for row in labels]
        self._sequences.compare(decode(best, self._blank), truth)

    @property
    def value(self) -> float:
        """1 minus the error rate, not below 0."""
        return max(0.0, 1.0 - self._sequences.error_rate)

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"character error rate {percent(self._sequences.error_rate)}, "
            f"{percent(self._sequences.equal)} of the sequences correct"
        )

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        return {
            "character error": self._sequences.error_rate, "right sequences": self._sequences.equal
        }  # fmt: skip


@dataclass(slots=True)
class Numbers:
    """``regression`` and ``embedding``: the figures without labels, with these as the original."""

    figure: NormalisedError | Cosine | SameDecision

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Take in a batch."""
        self.figure.add(outputs, [labels.reshape(outputs[0].shape).astype(np.float64)])

    @property
    def value(self) -> float:
        """As of the figure."""
        return self.figure.value

    @property
    def text(self) -> str:
        """As of the figure."""
        return self.figure.text

    @property
    def numbers(self) -> Mapping[str, float]:
        """As of the figure."""
        return self.figure.numbers


@dataclass(slots=True)
class Correctness:
    """How often a network is right: the figure of its first output, or of the detector with it.

    Attributes:
        tasks: Of all outputs.
    """

    tasks: Sequence[OutputTask]
    _places: tuple[int, ...] = field(init=False)
    _figure: LabelFigure = field(init=False)

    def __post_init__(self) -> None:
        self._places = next(iter(groups(self.tasks)))
        self._figure = _figure([self.tasks[place] for place in self._places])

    def add(self, outputs: Sequence[Array], labels: Array) -> None:
        """Take in a batch.

        Raises:
            DataError: the labels have another shape than the outputs ask for.
        """
        chosen = [outputs[place] for place in self._places]
        try:
            self._figure.add(chosen, labels)
        except ValueError as error:
            raise DataError(
                f"labels of shape {list(labels.shape)} do not fit output "
                f"'{self.tasks[0].output}' of shape {list(chosen[0].shape)}",
                hint=f"{self.tasks[0].kind} needs {EXPECTED[self.tasks[0].kind]}",
            ) from error

    @property
    def value(self) -> float:
        """From 0 to 1."""
        return self._figure.value

    @property
    def result(self) -> Result:
        """The figure."""
        names = ", ".join(self.tasks[place].output for place in self._places)
        numbers = dict(self._figure.numbers)
        return Result(names, self.tasks[0].kind, self.value, self._figure.text, numbers)


def check_fit(tasks: Sequence[OutputTask], labels: Array, where: Location) -> None:
    """Check labels against what the first output means, before anything is run.

    Args:
        tasks: Of all outputs.
        labels: Of some examples.
        where: What to name in the message.

    Raises:
        DataError: they are of another kind or shape, or of classes that the output does not have.
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
    known = labels[labels != _NOT_JUDGED] if task.kind == "segmentation" else labels
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
#: What labels look like, by task.
EXPECTED: Mapping[str, str] = {
    "classification": "class numbers [N], or 0 and 1 for each class",
    "segmentation": "maps of class numbers [N, H, W]",
    "ctc": "class numbers [N, L], padded with -1",
    "regression": "numbers in the shape of the output",
    "embedding": "vectors in the shape of the output",
    "imitate": "numbers in the shape of the output",
    "detection": "[N, boxes, 5]: class, left, top, right, bottom; padded with boxes of class -1",
}


def _figure(tasks: Sequence[OutputTask]) -> LabelFigure:
    task = tasks[0]
    axis = task.axis
    makers: Mapping[str, Callable[[], LabelFigure]] = {
        "classification": lambda: (
            Numbers(SameDecision()) if task.form == "sigmoid"
            else Accuracy(1 if axis is None else axis)
        ),
        "segmentation": lambda: LabelOverlap(task),
        "ctc": lambda: CharacterError(task),
        "regression": lambda: Numbers(NormalisedError(axis)),
        "imitate": lambda: Numbers(NormalisedError(axis)),
        "embedding": lambda: Numbers(Cosine(-1 if axis is None else axis)),
        "detection": lambda: AveragePrecision(tasks),
    }  # fmt: skip
    return makers[task.kind]()
