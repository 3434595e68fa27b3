"""The report: what was done to a model, in the names that ``report.json`` promises."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
#: Latency that differs by less than this is the same latency: the noise of a quiet machine.
LATENCY_NOISE = 0.02


#: What models are judged by, see ``Report.measure``.
Measure = Literal["accuracy", "agreement", "score", "own score"]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="allow", populate_by_name=True, ser_json_inf_nan="null"
    )


class ModelInfo(_Part):
    """Which model it was.

    Attributes:
        path: As it was named on the command line.
        opset: Of the default domain.
        nodes: Before and after.
        inputs: By name: the shape of each input in this run, batch included.
    """

    path: str
    opset: int | None = None
    nodes: tuple[int, int] | None = None
    inputs: dict[str, tuple[int, ...]] = Field(default_factory=dict)


class Target(_Part):
    """What was asked for and whether it was reached; ``max_drop`` in percentage points.

    Without a ``rate``, the highest within ``max_drop`` was asked for: ``met`` says that a round cut
    something and the result is within it on the selection split; ``drop_met`` is of the report
    split.
    """

    metric: Literal["params", "macs", "size", "latency"]
    rate: float | None
    met: bool
    max_drop: float | None = None
    drop_met: bool = True


class LatencyMs(_Part):
    """Milliseconds of one run: the median and the 90th percentile."""

    p50: float
    p90: float


class OutputFigure(_Part):
    """How a model does what one output is for, or the outputs of one detector.

    Without labels it is compared with the original, with labels judged by them.

    Attributes:
        output: The name, or the names, of what is judged.
        task: What it means.
        value: From 0 to 1, 1 at best; the mean over all figures is ``Side.accuracy``.
        text: The figure in the words of the field.
        numbers: The numbers in it, by name.
    """

    output: str
    task: str
    value: float
    text: str
    numbers: dict[str, float] = Field(default_factory=dict)


class OutputMeaning(_Part):
    """What an output is taken for, and what speaks for it."""

    output: str
    task: str
    reason: str


class Side(_Part):
    """The cost of a model; None was not measured.

    ``accuracy`` is a share from 0 to 1 of what ``Report.measure`` says. Where there are nodes in
    ``macs_unknown``, ``macs`` is a lower bound: it is of the others. ``speed_up`` is over the
    original, of neighbouring runs: on a busy machine two medians drift apart, ratios hardly do.
    ``outputs`` has a figure for each output; empty for an original that is compared with itself.
    """

    params: int
    macs: int
    bytes: int
    latency_ms: LatencyMs | None = None
    speed_up: float | None = None
    accuracy: float | None = None
    macs_unknown: tuple[str, ...] = ()
    outputs: tuple[OutputFigure, ...] = ()


class Rates(_Part):
    """Before / after of each cost; None where either was not measured or is a mere bound."""

    params: float
    macs: float | None
    bytes: float
    latency: float | None = None


class Int8(_Part):
    """The compact model again, quantised to 8-bit integers: a file of its own beside it.

    The equivalence check does not cover it: it is near the compact model, not equal.

    Attributes:
        bytes: Of its file.
        bytes_rate: Bytes of the compact model / its own.
        latency_ms: Measured by turns with the compact model; None was not measured.
        latency_rate: How many times as fast as the compact model, by neighbouring runs.
        accuracy: As that of a ``Side``, on the same examples; None was not measured.
        examples: So many training examples gave the ranges of its activations; 0 where they are
            taken when it runs.
    """

    bytes: int
    bytes_rate: float
    latency_ms: LatencyMs | None = None
    latency_rate: float | None = None
    accuracy: float | None = None
    examples: int = 0


class Verification(_Part):
    """How far the compact model is from the masked one.

    Attributes:
        max_abs_error: Over all outputs; None where no number says it, with the reason in ``notes``.
        max_rel_error: Likewise.
        passed: Whether every output is within the tolerance.
        vacuous: Whether no output depends on the inputs, so that passing says nothing.
        notes: What could not be compared, and outputs that say nothing.
    """

    max_abs_error: float | None
    max_rel_error: float | None
    passed: bool
    vacuous: bool = False
    notes: tuple[str, ...] = ()

    @property
    def shows_equivalence(self) -> bool:
        """True where the comparison could have failed and did not."""
        return self.passed and not self.vacuous


class LayerChange(_Part):
    """One layer; pairs are before and after.

    ``latency_ms`` is the sum of the medians of the layer's operators, each timed by ONNX Runtime's
    profiler; no share of the network's latency, which is timed without it: the times of all
    layers need not add up to that, and may be more.
    """

    name: str
    op_type: str
    filters: tuple[int, int]
    columns: tuple[int, int]
    lowering: str = "dense"
    latency_ms: tuple[float, float] | None = None


class Fence(_Part):
    """A node that could not be cut through, and why."""

    node: str
    reason: str


class Holding(_Part):
    """What keeps weights from being cut.

    Attributes:
        nodes: Where; that which holds most first.
        reason: Why.
        share: Of the elements of all constants of the original, those that it holds, 0 to 1.
        inexact: Whether only exactness forbids the cut, so that ``--allow-inexact`` frees it.
    """

    nodes: tuple[str, ...]
    reason: str
    share: float
    inexact: bool


class AdmmUpdate(_Part):
    """How far the weights were from their constraint after one update of ADMM: relative, 0 at best.

    Attributes:
        primal: How far the weights are from the nearest point that meets the constraint.
        dual: How far that point still moved.
        rho: The penalty.
    """

    primal: float
    dual: float
    rho: float


class Round(_Part):
    """One shrinking round; rate and accuracy are those reached after it.

    The accuracy is on the selection split, that of the sides on the report split.
    """

    rate: float
    accuracy: float | None
    epochs: float
    seconds: float
    evaluations: int
    admm: list[AdmmUpdate] = Field(default_factory=list)


class FrontierPoint(_Part):
    """A rate that was tried, and what it came to; the last is the result, fine-tuned.

    Attributes:
        rate: That was reached, in the metric of the target.
        accuracy: On the selection split, after ``epochs`` of training at this rate.
        epochs: All points together are the training of the run.
        within_floor: Whether no more than the target's ``max_drop`` was lost.
    """

    rate: float
    accuracy: float
    epochs: float
    within_floor: bool


class SearchPoint(_Part):
    """One evaluated point of a search: in which round, its score, and the best until then."""

    round: int
    score: float
    best: float


class Report(_Part):
    """All of it. Serialise with ``to_json``: the key of ``schema_version`` is ``schema``.

    ``measure`` says what every ``accuracy`` in it is: the share of right labels, or, where the
    data has none, the agreement with the original model; ``score`` is what labels of another task
    than classification are judged by, named in the figure of the sides; ``own
    score`` is what a user's function gives. ``tasks`` says what each
    output is taken for. ``int8`` is there where it was asked for.
    ``runtime`` is what every latency was timed as. ``holding`` says what keeps most weights from
    being cut. ``frontier`` holds every rate that was tried,
    where a floor was stated.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    model: ModelInfo
    measure: Measure = "accuracy"
    tasks: tuple[OutputMeaning, ...] = ()
    target: Target
    before: Side
    after: Side
    rate: Rates
    int8: Int8 | None = None
    verify: Verification
    layers: tuple[LayerChange, ...] = ()
    fences: tuple[Fence, ...] = ()
    holding: tuple[Holding, ...] = ()
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
        """Serialise under the names of the contract."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    @property
    def is_met(self) -> bool:
        """True where target rate and accuracy floor were both met."""
        return self.target.met and self.target.drop_met

    @property
    def exit_code(self) -> int:
        """0 where all was met and the check passed, 1 where it failed, 3 where missed."""
        if not self.verify.passed:
            return 1
        return 0 if self.is_met else 3


def rates_between(before: Side, after: Side) -> Rates:
    """Divide the costs before by those after; latencies by pairs where they were measured so."""
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
