"""The schema of ``report.json``."""

from typing import Literal

from pydantic import Field

from acgraph.report.schema_base import Part
from acgraph.report.schema_cost import Int8, OutputTaskChoice, Rates, Side, Verification
from acgraph.report.schema_layers import Fence, LayerChange, Obstacle
from acgraph.report.schema_run import FrontierPoint, Round, SearchPoint, TrainingPass

#: The quantity by which models are evaluated, see ``Report.measure``.
Measure = Literal["accuracy", "agreement", "score", "own score"]


class ModelInfo(Part):
    """The original model.

    Attributes:
        path: Its path, as on the command line.
        opset: Version of the default operator set.
        nodes: Number of nodes before and after.
        inputs: Shape of each input in this run by name, including the batch.
    """

    path: str
    opset: int | None = None
    nodes: tuple[int, int] | None = None
    inputs: dict[str, tuple[int, ...]] = Field(default_factory=dict)


class Target(Part):
    """The target of the run, and whether it was met.

    Attributes:
        metric: The cost that the rate applies to.
        rate: The requested rate; None if the highest rate within ``max_drop`` was requested.
        met: Whether the rate was reached. Without a requested rate: whether a round cut something
            and the result is within ``max_drop`` on the selection split.
        max_drop: Largest allowed loss of accuracy, in percentage points; None for no limit.
        drop_met: Whether the result is within ``max_drop`` on the report split.
    """

    metric: Literal["params", "macs", "size", "latency"]
    rate: float | None
    met: bool
    max_drop: float | None = None
    drop_met: bool = True


class Report(Part):
    """The report of a run; ``to_json`` serialises it.

    Attributes:
        schema_version: Version of the schema; its JSON key is ``schema``.
        model: The original model.
        measure: The meaning of every ``accuracy``. ``accuracy`` is the share of correct classes,
            ``agreement`` is the agreement with the original if there are no labels, ``score`` is
            the metric of a task other than classification, and ``own score`` is the result of the
            user's function.
        tasks: The task of each output.
        target: The target, and whether it was met.
        before: Cost and accuracy of the original.
        after: Cost and accuracy of the result.
        rate: The rates between them.
        int8: The quantised model, if one was requested.
        verify: The equivalence check.
        layers: All layers before and after.
        fences: All nodes that prevent a cut, by their share of the weights, largest first.
        obstacles: Obstacles that prevent most weights from being cut; the JSON key is ``holding``.
        warnings: Warnings of the run.
        runtime: The runtime in which latencies were measured.
        rounds: All rounds, in order.
        search: All candidates that the searches evaluated, in order.
        training: All passes over the training data, in order.
        frontier: All rates that were tried, if ``max_drop`` was given.
        options: The options of the run that differ from their defaults, as in a configuration file.
        seed: Seed of the random numbers.
        versions: Versions of the packages by name.
        host: Facts about the machine by name.
        seconds: Duration of the run.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    model: ModelInfo
    measure: Measure = "accuracy"
    tasks: tuple[OutputTaskChoice, ...] = ()
    target: Target
    before: Side
    after: Side
    rate: Rates
    int8: Int8 | None = None
    verify: Verification
    layers: tuple[LayerChange, ...] = ()
    fences: tuple[Fence, ...] = ()
    obstacles: tuple[Obstacle, ...] = Field(
        default=(), validation_alias="holding", serialization_alias="holding"
    )
    warnings: tuple[str, ...] = ()
    runtime: Literal["ort", "ort-mobile"] = "ort-mobile"
    rounds: tuple[Round, ...] = ()
    search: tuple[SearchPoint, ...] = ()
    training: tuple[TrainingPass, ...] = ()
    frontier: tuple[FrontierPoint, ...] = ()
    options: dict[str, object] = Field(default_factory=dict)
    seed: int = 0
    versions: dict[str, str] = Field(default_factory=dict)
    host: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return the report as JSON."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    @property
    def is_met(self) -> bool:
        """Whether both the target rate and the limit on the loss of accuracy were met."""
        return self.target.met and self.target.drop_met

    @property
    def exit_code(self) -> int:
        """0 if the target was met; 3 if it was missed; 1 if the equivalence check failed."""
        if not self.verify.passed:
            return 1
        return 0 if self.is_met else 3
