"""Agreement of a network with the original: a metric for each output, and their mean."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.errors import DataError
from acgraph.tasks.classes import SameClass, SameDecision
from acgraph.tasks.detections import DetectionsKept
from acgraph.tasks.guess import guess_by_values
from acgraph.tasks.kinds import Array, OutputTask
from acgraph.tasks.maps import IoUWithOriginal
from acgraph.tasks.metrics import (
    AgreementMetric,
    CosineSimilarity,
    ExplainedVariance,
    NormalisedError,
)
from acgraph.tasks.sequences import EqualSequences


@dataclass(frozen=True, slots=True)
class Result:
    """The value of a metric for one output, or for the outputs of one detector.

    Attributes:
        name: Names of the outputs, separated by commas.
        kind: The task.
        value: The score, from 0 to 1; 1 is the best.
        text: The result as text, in the usual unit of the metric.
        numbers: The numbers in ``text``, by name.
    """

    name: str
    kind: str
    value: float
    text: str
    numbers: Mapping[str, float]


@dataclass(slots=True)
class Agreement:
    """Agreement of a network with the original, from 0 to 1: the mean over its metrics.

    Each output has a metric; the outputs of one detector share one. A metric that is not finite
    counts as 0.

    Attributes:
        tasks: The task of each output; if None, they are guessed from the first outputs of the
            original.

    >>> both = Agreement()
    >>> both.add([np.array([[0.1, 0.9], [0.7, 0.3]])], [np.array([[0.2, 0.8], [0.4, 0.6]])])
    >>> both.value
    0.5
    """

    tasks: Sequence[OutputTask] | None = None
    _metrics: list[tuple[tuple[int, ...], AgreementMetric]] = field(default_factory=list)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch.

        Args:
            ours: The outputs of the network, in the order of the graph.
            theirs: The outputs of the original.

        Raises:
            DataError: The outputs differ in number or shape.
        """
        shapes = [[list(output.shape) for output in outputs] for outputs in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise DataError(
                f"outputs of shape {shapes[0]} and {shapes[1]} cannot be compared",
                hint="compare two versions of the same model",
            )
        if not self._metrics:
            self.tasks = guess_by_values(theirs) if self.tasks is None else self.tasks
            self._metrics = list(metrics_of(self.tasks))
        for indices, metric in self._metrics:
            metric.add([ours[index] for index in indices], [theirs[index] for index in indices])

    @property
    def value(self) -> float:
        """The agreement over all batches that were added.

        Raises:
            DataError: No batch was added.
        """
        return float(np.mean([each.value for each in self.results]))

    @property
    def results(self) -> tuple[Result, ...]:
        """The result of each metric.

        Raises:
            DataError: No batch was added.
        """
        if not self._metrics or self.tasks is None:
            raise DataError("there are no examples to compare on", hint="give at least one example")
        found = []
        for indices, metric in self._metrics:
            names = ", ".join(self.tasks[index].output for index in indices)
            value = metric.value if np.isfinite(metric.value) else 0.0
            kind = self.tasks[indices[0]].kind
            found.append(Result(names, kind, value, metric.text, dict(metric.numbers)))
        return tuple(found)


def groups(tasks: Sequence[OutputTask]) -> Iterator[tuple[int, ...]]:
    """Yield the indices of the outputs that share a metric, in the order of the graph.

    These are the boxes and scores of a detector that have the same number of positions.
    """
    seen: set[int] = set()
    for index, task in enumerate(tasks):
        if index in seen:
            continue
        members: tuple[int, ...] = (index,)
        if task.kind == "detection" and task.part in ("boxes", "scores"):
            members = tuple(
                other for other, each in enumerate(tasks)
                if each.kind == "detection" and each.part in ("boxes", "scores")
                and each.positions == task.positions
            )  # fmt: skip
        seen.update(members)
        yield members


def metrics_of(tasks: Sequence[OutputTask]) -> Iterator[tuple[tuple[int, ...], AgreementMetric]]:
    """Yield the metrics of a network, each with the indices of its outputs."""
    for indices in groups(tasks):
        yield indices, _metric([tasks[index] for index in indices])


def _metric(tasks: Sequence[OutputTask]) -> AgreementMetric:
    first = tasks[0]
    axis = first.axis
    is_detector = any(task.part != "boxes" for task in tasks)
    makers: Mapping[str, Callable[[], AgreementMetric]] = {
        "classification": lambda: (
            SameDecision() if first.form == "sigmoid" else SameClass(1 if axis is None else axis)
        ),
        "regression": lambda: NormalisedError(axis),
        "embedding": lambda: CosineSimilarity(-1 if axis is None else axis),
        "segmentation": lambda: IoUWithOriginal(first),
        "detection": lambda: DetectionsKept(tasks) if is_detector else NormalisedError(axis),
        "ctc": lambda: EqualSequences(first),
        "imitate": lambda: ExplainedVariance(axis),
    }
    return makers[first.kind]()
