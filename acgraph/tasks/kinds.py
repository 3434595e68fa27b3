"""What an output of a network means, and how it is read."""

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
#: How scores are stated: raw, or by which function they were made probabilities.
Form = Literal["logits", "softmax", "log-softmax", "sigmoid"]
#: What of a detector an output holds: all of it, with or without a column that says whether there
#: is anything; detections that were chosen already; boxes alone; scores alone.
Part = Literal["head", "objectness head", "final", "boxes", "scores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTask:
    """What one output means.

    Attributes:
        output: Its name.
        kind: The task.
        reason: What speaks for it, a part of a sentence such as "its network ends in Softmax".
        shape: Sizes as far as they are known, the batch first; empty where they are not.
        axis: Where the classes of scores lie, the channels of anything else, the columns of a
            detector's head; None where that is not known.
        form: How scores are stated.
        part: What of a detector it is; None for other tasks.
        batch_axis: Which axis counts the examples.
        blank: Of ctc: the class of a step that writes nothing; None where that is not known.
        is_sure: Whether graph, labels or the user say so; what else a network makes of examples may
            then be left out of account.
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
        """Sizes beside the batch and the axis of columns or classes."""
        last = len(self.shape) - 1 if self.axis is None else self.axis
        if self.part == "scores" and len(self.shape) == 2:
            last = 0  # of one class
        rest = [size for place, size in enumerate(self.shape) if place not in (0, last)]
        known = [size for size in rest if size is not None]
        return (int(np.prod(known)),) if len(known) == len(rest) else tuple(rest)

    @property
    def described(self) -> str:
        """The name with the sizes."""
        sizes = [
            "N" if place == self.batch_axis else "?" if size is None else str(size)
            for place, size in enumerate(self.shape)
        ]
        shown = f" [{', '.join(sizes)}]" if sizes else ""
        return printable(f"'{self.output}'{shown}")


def parse_tasks(texts: Sequence[str]) -> dict[str, Kind]:
    """Read ``NAME`` and ``OUTPUT=NAME``; the first stands under the empty name, for all outputs.

    >>> parse_tasks(["imitate", "boxes:0=detection"])
    {'': 'imitate', 'boxes:0': 'detection'}

    Raises:
        UsageError: no such task, or two for one output.
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
    """Check that stated tasks are of outputs that there are.

    Raises:
        UsageError: one is not.
    """
    for name in stated:
        if name and name not in outputs:
            raise UsageError(
                f"the network has no output '{name}'", hint=f"the outputs are {', '.join(outputs)}"
            )


def stated_for(task: OutputTask, stated: Mapping[str, Kind]) -> Kind | None:
    """Return the task that the user states for an output, None where there is none."""
    return stated.get(task.output, stated.get(""))


def as_stated(task: OutputTask, kind: Kind) -> OutputTask:
    """Return a guessed task as the user states it."""
    if kind == task.kind:
        return replace(task, reason="as stated")
    return replace(task, kind=kind, reason="as stated", part=None)
