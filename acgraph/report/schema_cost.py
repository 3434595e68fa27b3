"""Cost and accuracy of the models, in ``report.json``."""

from pydantic import Field

from acgraph.report.schema_base import Part

#: Relative differences of latency below this are measurement noise, even on an idle machine.
LATENCY_NOISE = 0.02


class LatencyMs(Part):
    """Latency of one inference in milliseconds.

    Attributes:
        p50: The median.
        p90: The 90th percentile.
    """

    p50: float
    p90: float


class OutputMetric(Part):
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


class OutputTaskChoice(Part):
    """The task of an output.

    Attributes:
        output: Name of the output.
        task: Its task.
        reason: Why this task was chosen, as part of a sentence.
    """

    output: str
    task: str
    reason: str


class Side(Part):
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


class Rates(Part):
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


class Int8(Part):
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


class Verification(Part):
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
