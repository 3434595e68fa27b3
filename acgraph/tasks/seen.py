"""What a rule that guesses a task looks at."""

from dataclasses import dataclass

from acgraph.tasks.facts import ModelFacts, OutputFacts
from acgraph.tasks.kinds import Array, Kind, OutputTask


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a rule may look at for one output.

    Attributes:
        facts: Of the output.
        model: Of all outputs.
        values: What the original makes of some examples; None where nothing was run.
        labels: Of the data, for the first output; None where there are none.
    """

    facts: OutputFacts
    model: ModelFacts
    values: Array | None
    labels: Array | None

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The sizes, empty where they are not known."""
        return self.facts.shape or ()

    @property
    def columns(self) -> int | None:
        """How many numbers an example has, where it has one vector: axes of one position aside."""
        rest = [size for size in self.shape[1:] if size != 1]
        return rest[0] if len(rest) == 1 and rest[0] is not None else None

    def task(self, kind: Kind, reason: str, **options: object) -> OutputTask:
        """Make a task of the output."""
        known: dict[str, object] = {
            "axis": self.facts.channel_axis if len(self.shape) != 2 else 1,
            "form": self.facts.form,
            "shape": self.shape,
        }
        return OutputTask(output=self.facts.name, kind=kind, reason=reason,
                          **{**known, **options})  # type: ignore[arg-type]  # fmt: skip
