"""The evidence from which a rule guesses the task of an output."""

from dataclasses import dataclass

from acgraph.tasks.facts import ModelFacts, OutputFacts
from acgraph.tasks.kinds import Array, Kind, OutputTask


@dataclass(frozen=True, slots=True)
class OutputEvidence:
    """An output, with everything that is known about it.

    Attributes:
        facts: Facts about the output, from the graph.
        model: Facts about all outputs and inputs.
        values: The output of the original for some examples; None if it was not run.
        labels: Labels of some examples; None if there are none, or for another output.
    """

    facts: OutputFacts
    model: ModelFacts
    values: Array | None
    labels: Array | None

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The sizes of the output; empty if its rank is unknown."""
        return self.facts.shape or ()

    @property
    def columns(self) -> int | None:
        """Length of the vector of an example; None if an example is not one vector.

        Axes of size 1 are ignored.
        """
        rest = [size for size in self.shape[1:] if size != 1]
        return rest[0] if len(rest) == 1 and rest[0] is not None else None

    def task(self, kind: Kind, reason: str, **options: object) -> OutputTask:
        """Make a task for the output.

        Args:
            kind: The task.
            reason: Why it was chosen, as part of a sentence.
            options: Other fields of :class:`OutputTask`, in place of the defaults from the graph.
        """
        known: dict[str, object] = {
            "axis": self.facts.channel_axis if len(self.shape) != 2 else 1,
            "form": self.facts.form,
            "shape": self.shape,
        }
        return OutputTask(output=self.facts.name, kind=kind, reason=reason,
                          **{**known, **options})  # type: ignore[arg-type]  # fmt: skip
