"""The schema of ``report.json``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
#: Relative differences of latency below this are measurement noise, even on an idle machine.
LATENCY_NOISE = 0.02


#: The quantity by which models are evaluated, see ``Report.measure``.
Measure = Literal["accuracy", "agreement", "score", "own score"]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, ser_json_inf_nan="null"
    )


class ModelInfo(_Part):
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


class Target(_Part):
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


class LatencyMs(_Part):
    """Latency of one inference in milliseconds.

    Attributes:
        p50: The median.
        p90: The 90th percentile.
    """

    p50: float
    p90: float


class OutputMetric(_Part):
    """The metric of one output, or of the outputs of one detector.

    With labels, the output is compared with the labels, else with the output of the original.

    Attributes:
        output: Name of the output; several names are separated by commas.
        task: Its task.
        value: Score from 0 to 1, 1 is the best; ``Side.accuracy`` is the mean over all outputs.
        text: The result as text, in the usual unit of the metric.
        numbers: The numbers in ``text``, by name.
    """

    output: str
    task: str
    value: float
    text: str
    numbers: dict[str, float] = Field(default_factory=dict)


class OutputTaskChoice(_Part):
    """The task of an output.

    Attributes:
        output: Name of the output.
        task: Its task.
        reason: Why this task was chosen, as part of a sentence.
    """

    output: str
    task: str
    reason: str


class Side(_Part):
    """Cost and accuracy of one model; None if not measured.

    Attributes:
        params: Number of parameters.
        macs: Number of multiply-accumulate operations; a lower bound if ``macs_unknown`` is not
            empty.
        bytes: Size of the file.
        latency_ms: Latency of one inference.
        speed_up: Speed-up over the original: the median ratio over pairs of adjacent runs, which
            load on the machine affects less than the ratio of two medians.
        accuracy: The quantity that ``Report.measure`` names, from 0 to 1.
        macs_unknown: Names of the nodes whose MACs are unknown.
        outputs: The metric of each output; empty for an original that would be compared with
            itself.
    """

    params: int
    macs: int
    bytes: int
    latency_ms: LatencyMs | None = None
    speed_up: float | None = None
    accuracy: float | None = None
    macs_unknown: tuple[str, ...] = ()
    outputs: tuple[OutputMetric, ...] = ()


class Rates(_Part):
    """Each cost before divided by the cost after.

    A rate is None if one of its costs was not measured, or is only a lower bound.

    Attributes:
        params: Rate of the parameters.
        macs: Rate of the multiply-accumulate operations.
        bytes: Rate of the file sizes.
        latency: Rate of the latencies.
    """

    params: float
    macs: float | None
    bytes: float
    latency: float | None = None


class Int8(_Part):
    """The compact model quantised to 8-bit integers, in a separate file.

    The equivalence check does not include it, because quantisation changes its outputs.

    Attributes:
        bytes: Size of its file.
        bytes_rate: Size of the compact model's file divided by ``bytes``.
        latency_ms: Latency, measured alternately with the compact model; None if not measured.
        latency_rate: Speed-up over the compact model, by pairs of adjacent runs.
        accuracy: As ``Side.accuracy``, on the same examples; None if not measured.
        examples: Number of calibration examples for the ranges of activations; 0 if activations are
            quantised dynamically.
    """

    bytes: int
    bytes_rate: float
    latency_ms: LatencyMs | None = None
    latency_rate: float | None = None
    accuracy: float | None = None
    examples: int = 0


class Verification(_Part):
    """The equivalence check of the compact and the masked model.

    Attributes:
        max_abs_error: Largest absolute error over all outputs; None if it is not finite, with the
            reason in ``notes``.
        max_rel_error: Largest relative error, likewise.
        passed: Whether every output is within the tolerance.
        vacuous: Whether no output depends on the inputs, so that the check is inconclusive.
        notes: Outputs that could not be compared, or that are constant.
    """

    max_abs_error: float | None
    max_rel_error: float | None
    passed: bool
    vacuous: bool = False
    notes: tuple[str, ...] = ()

    @property
    def shows_equivalence(self) -> bool:
        """Whether the check passed and was conclusive."""
        return self.passed and not self.vacuous


class LayerChange(_Part):
    """One layer; each pair is the value before and after.

    Attributes:
        name: Name of the layer.
        op_type: Its operator.
        filters: Numbers of filters.
        columns: Numbers of columns.
        lowering: The form in which the layer is stored.
        latency_ms: Sum of the median times of the layer's operators, from ONNX Runtime's profiler.
            The network's latency is measured without the profiler, so that the times of all layers
            need not add up to it.
    """

    name: str
    op_type: str
    filters: tuple[int, int]
    columns: tuple[int, int]
    lowering: str = "dense"
    latency_ms: tuple[float, float] | None = None


class Fence(_Part):
    """A node that prevents a cut.

    Attributes:
        node: Name of the node, or of the value.
        reason: Why it prevents the cut.
    """

    node: str
    reason: str


class Obstacle(_Part):
    """Nodes that prevent weights from being cut for the same reason.

    Attributes:
        nodes: Names of the nodes, by the number of weights, largest first.
        reason: Why they prevent the cut.
        share: Share of the weights that cannot be cut, among all constants of the original; 0 to 1.
        inexact: Whether ``--allow-inexact`` would allow the cut.
    """

    nodes: tuple[str, ...]
    reason: str
    share: float
    inexact: bool


class AdmmUpdate(_Part):
    """Relative residuals of one update of ADMM; both are 0 at convergence.

    Attributes:
        primal: Distance of the weights from the nearest point that meets the constraint.
        dual: Change of that point in this update.
        rho: The penalty.
    """

    primal: float
    dual: float
    rho: float


class Round(_Part):
    """One round of search, training and shrinking.

    Attributes:
        rate: The rate after the round, in the metric of the target.
        accuracy: The accuracy after the round, on the selection split.
        epochs: Epochs of training in this round.
        seconds: Duration.
        evaluations: Number of candidates that the search evaluated.
        admm: Residuals after each update of ADMM.
    """

    rate: float
    accuracy: float | None
    epochs: float
    seconds: float
    evaluations: int
    admm: list[AdmmUpdate] = Field(default_factory=list)


class FrontierPoint(_Part):
    """A rate that was tried; the last one is the result after fine-tuning.

    Attributes:
        rate: The rate that was reached, in the metric of the target.
        accuracy: The accuracy on the selection split after ``epochs``.
        epochs: Epochs of training at this rate.
        within_floor: Whether the loss of accuracy is within the target's ``max_drop``.
    """

    rate: float
    accuracy: float
    epochs: float
    within_floor: bool


class SearchPoint(_Part):
    """A candidate that a search evaluated.

    Attributes:
        round: Number of the round.
        score: Score of the candidate.
        best: Best score of the search so far.
    """

    round: int
    score: float
    best: float


class Report(_Part):
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
        fences: All nodes that prevent a cut.
        obstacles: Obstacles that prevent most weights from being cut; the JSON key is ``holding``.
        warnings: Warnings of the run.
        runtime: The runtime in which latencies were measured.
        rounds: All rounds, in order.
        search: All candidates that the searches evaluated, in order.
        frontier: All rates that were tried, if ``max_drop`` was given.
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
    frontier: tuple[FrontierPoint, ...] = ()
    seed: int = 0
    versions: dict[str, str] = {}
    host: dict[str, str] = {}
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


def rates_between(before: Side, after: Side) -> Rates:
    """Divide the costs before by the costs after.

    The rate of the latency is that of pairs of adjacent runs if both models have a ``speed_up``.
    """
    latency = None
    if before.speed_up is not None and after.speed_up is not None:
        latency = after.speed_up / before.speed_up
    elif before.latency_ms is not None and after.latency_ms is not None:
        latency = before.latency_ms.p50 / after.latency_ms.p50
    is_known = not before.macs_unknown and not after.macs_unknown
    return Rates(
        params=before.params / after.params,
        macs=before.macs / after.macs if is_known and after.macs else None,
        bytes=before.bytes / after.bytes,
        latency=latency,
    )
