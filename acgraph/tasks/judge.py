"""All outputs of a network together: a figure for each, and one number."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.errors import DataError
from acgraph.tasks.classes import SameClass, SameDecision
from acgraph.tasks.detections import DetectionsKept
from acgraph.tasks.figures import Cosine, Explained, Figure, NormalisedError
from acgraph.tasks.guess import guess_by_values
from acgraph.tasks.kinds import Array, OutputTask
from acgraph.tasks.maps import MeanOverlap
from acgraph.tasks.sequences import EqualSequences


@dataclass(frozen=True, slots=True)
class Result:
    """The figure of an output, or of the outputs of one detector.

    Attributes:
        name: Of the outputs.
        kind: The task.
        value: From 0 to 1.
        text: In the words of the field.
        numbers: Those in the text, by name.
    """

    name: str
    kind: str
    value: float
    text: str
    numbers: Mapping[str, float]


@dataclass(slots=True)
class Agreement:
    """How far a network does what the original does, from 0 to 1: the mean over its figures.

    Each output has a figure; the outputs of one detector have one together. Without tasks they are
    guessed from the first outputs of the original. A figure that is no number counts 0.

    >>> both = Agreement()
    >>> both.add([np.array([[0.1, 0.9], [0.7, 0.3]])], [np.array([[0.2, 0.8], [0.4, 0.6]])])
    >>> both.value
    0.5
    """

    tasks: Sequence[OutputTask] | None = None
    _figures: list[tuple[tuple[int, ...], Figure]] = field(default_factory=list)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in the outputs for a batch, in the order of the graph.

        Raises:
            DataError: the outputs have different numbers or shapes.
        """
        shapes = [[list(output.shape) for output in outputs] for outputs in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise DataError(
                f"outputs of shape {shapes[0]} and {shapes[1]} cannot be compared",
                hint="compare two versions of the same model",
            )
        if not self._figures:
            self.tasks = guess_by_values(theirs) if self.tasks is None else self.tasks
            self._figures = list(figures_of(self.tasks))
        for places, figure in self._figures:
            figure.add([ours[place] for place in places], [theirs[place] for place in places])

    @property
    def value(self) -> float:
        """The agreement over what was added.

        Raises:
            DataError: nothing was added.
        """
        return float(np.mean([each.value for each in self.results]))

    @property
    def results(self) -> tuple[Result, ...]:
        """The figure of each output.

        Raises:
            DataError: nothing was added.
        """
        if not self._figures or self.tasks is None:
            raise DataError("there are no examples to compare on", hint="give at least one example")
        found = []
        for places, figure in self._figures:
            names = ", ".join(self.tasks[place].output for place in places)
            value = figure.value if np.isfinite(figure.value) else 0.0
            kind = self.tasks[places[0]].kind
            found.append(Result(names, kind, value, figure.text, dict(figure.numbers)))
        return tuple(found)


def groups(tasks: Sequence[OutputTask]) -> Iterator[tuple[int, ...]]:
    """Yield the places of outputs that are judged together, in the order of the graph.

    Boxes and scores of a detector belong together where they have as many positions.
    """
    seen: set[int] = set()
    for place, task in enumerate(tasks):
        if place in seen:
            continue
        mates: tuple[int, ...] = (place,)
        if task.kind == "detection" and task.part in ("boxes", "scores"):
            mates = tuple(
                other for other, each in enumerate(tasks)
                if each.kind == "detection" and each.part in ("boxes", "scores")
                and each.positions == task.positions
            )  # fmt: skip
        seen.update(mates)
        yield mates


def figures_of(tasks: Sequence[OutputTask]) -> Iterator[tuple[tuple[int, ...], Figure]]:
    """Yield the figures of a network, each with the places of its outputs."""
    for places in groups(tasks):
        yield places, _figure([tasks[place] for place in places])


def _figure(tasks: Sequence[OutputTask]) -> Figure:
    first = tasks[0]
    axis = first.axis
    is_detector = any(task.part != "boxes" for task in tasks)
    makers: Mapping[str, Callable[[], Figure]] = {
        "classification": lambda: (
            SameDecision() if first.form == "sigmoid" else SameClass(1 if axis is None else axis)
        ),
        "regression": lambda: NormalisedError(axis),
        "embedding": lambda: Cosine(-1 if axis is None else axis),
        "segmentation": lambda: MeanOverlap(first),
        "detection": lambda: DetectionsKept(tasks) if is_detector else NormalisedError(axis),
        "ctc": lambda: EqualSequences(first),
        "imitate": lambda: Explained(axis),
    }
    return makers[first.kind]()
