"""The task of an output: what its values mean, and how they are laid out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from acgraph.diagnostics import printable
from acgraph.errors import UsageError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

Kind = Literal[
    "classification", "regression", "embedding", "segmentation", "detection", "ctc", "imitate"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: The function that made scores into probabilities; ``logits`` are raw scores.
Form = Literal["logits", "softmax", "log-softmax", "sigmoid"]
#: The part of a detector that an output contains: boxes and class scores, without or with a column
#: of objectness; final detections after non-maximum suppression; boxes only; scores only.
Part = Literal["head", "objectness head", "final", "boxes", "scores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTask:
    """The task of one output.

    Attributes:
        output: The name of the output.
        kind: The task.
        reason: Why this task was chosen, as part of a sentence such as "it ends in Softmax".
        shape: The sizes; None for an unknown size, empty if the rank is unknown.
        axis: The axis of the classes of scores, of the columns of a detector's head, or of the
            channels of other outputs; None if unknown.
        form: The form of scores.
        part: The part of a detector; None for other tasks.
        batch_axis: The axis of the examples.
        blank: For ctc, the class that stands for no character; None if unknown.
        is_sure: Whether the graph, the labels or the user determine the task. If not, the values of
            the output for some examples are considered, too.
    """

    output: str
    kind: Kind
    reason: str = ""
    shape: tuple[int | None, ...] = ()
    axis: int | None = None
    form: Form = "logits"
    part: Part | None = None
    batch_axis: int = 0
    blank: int | None = None
    is_sure: bool = True

    @property
    def positions(self) -> tuple[int | None, ...]:
        """The number of positions: the product of all sizes except the batch and ``axis``.

        If a size is unknown, the single sizes are returned instead.
        """
        last = len(self.shape) - 1 if self.axis is None else self.axis
        if self.part == "scores" and len(self.shape) == 2:
            last = 0  # scores of one class have no class axis
        rest = [size for index, size in enumerate(self.shape) if index not in (0, last)]
        known = [size for size in rest if size is not None]
        return (int(np.prod(known)),) if len(known) == len(rest) else tuple(rest)

    @property
    def described(self) -> str:
        """The name and the sizes, for messages."""
        sizes = [
            "N" if index == self.batch_axis else "?" if size is None else str(size)
            for index, size in enumerate(self.shape)
        ]
        shown = f" [{', '.join(sizes)}]" if sizes else ""
        return printable(f"'{self.output}'{shown}")


def parse_tasks(texts: Sequence[str]) -> dict[str, Kind]:
    """Parse ``TASK``, for all outputs, and ``OUTPUT=TASK``.

    Returns:
        Tasks by output name; the empty name stands for all outputs.

    >>> parse_tasks(["imitate", "boxes:0=detection"])
    {'': 'imitate', 'boxes:0': 'detection'}

    Raises:
        UsageError: A task does not exist, or an output has two.
    """
    found: dict[str, Kind] = {}
    for text in texts:
        output, _, name = text.rpartition("=")
        if name not in KINDS:
            raise UsageError(f"there is no task '{name}'", hint=f"use one of {', '.join(KINDS)}")
        if output in found:
            whose = f"output '{output}'" if output else "all outputs"
            raise UsageError(f"two tasks are given for {whose}", hint="give only one of them")
        found[output] = name
    return found


def check_outputs(stated: Mapping[str, Kind], outputs: Sequence[str]) -> None:
    """Check that the outputs exist for which the user set tasks.

    Raises:
        UsageError: One does not exist.
    """
    for name in stated:
        if name and name not in outputs:
            raise UsageError(
                f"the network has no output '{name}'", hint=f"the outputs are {', '.join(outputs)}"
            )


def stated_for(task: OutputTask, stated: Mapping[str, Kind]) -> Kind | None:
    """Return the task that the user set for an output; None if none was set."""
    return stated.get(task.output, stated.get(""))


def as_stated(task: OutputTask, kind: Kind) -> OutputTask:
    """Return a guessed task with the kind that the user set."""
    if kind == task.kind:
        return replace(task, reason="as stated")
    return replace(task, kind=kind, reason="as stated", part=None)


def learns_no_labels(tasks: Sequence[OutputTask]) -> bool:
    """Whether labels are only used for evaluation: a detector is trained by distillation."""
    return bool(tasks) and tasks[0].kind == "detection"
