"""The verdict of a run and other results, as text."""

from dataclasses import dataclass
from typing import Literal

from acgraph.diagnostics import counted, listed
from acgraph.pruning.rate import format_rate
from acgraph.report.schema import Report, Target
from acgraph.report.schema_cost import LATENCY_NOISE, Int8, Verification
from acgraph.report.shortfall import is_little, main_obstacle_text, remedy

Level = Literal["good", "warn", "bad"]
_LEVELS: tuple[Level, ...] = ("good", "warn", "bad")
#: Loss of accuracy in percentage points that is a warning, and that is bad, if no limit was asked.
WARN_DROP, BAD_DROP = 1.0, 5.0
_METRICS = {"params": "params", "macs": "MACs", "size": "bytes", "latency": "latency"}
#: Smaller changes in percentage points are rounding errors.
_NO_POINTS = 1e-9
#: Largest number of nodes that a line names; the report lists all.
_SHOWN_NODES = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the verdict, and how good it is."""

    text: str
    level: Level = "good"


def reached(report: Report) -> float | None:
    """Return the rate that was reached in the metric of the target; None if it is unknown."""
    key = "bytes" if report.target.metric == "size" else report.target.metric
    rate: float | None = getattr(report.rate, key)
    return rate


def verdict(report: Report) -> str:
    """Return one line that says whether the target was met, and how the accuracy changed."""
    return ", ".join(verdict_parts(report))


def verdict_parts(report: Report) -> list[str]:
    """Return the parts of the verdict, the most important first."""
    return [part.text for part in judged_parts(report)]


def verdict_level(report: Report) -> Level:
    """Return the worst level of the parts of the verdict."""
    return max((part.level for part in judged_parts(report)), key=_LEVELS.index)


def judged_parts(report: Report) -> list[Part]:
    """Return the parts of the verdict, the most important first, each with its level."""
    target = report.target
    rate = reached(report)
    metric = _METRICS[target.metric]
    more = "faster" if target.metric == "latency" else f"fewer {metric}"
    got = f"{format_rate(rate)} {more}" if rate is not None else f"unknown rate of {metric}"
    word = "met" if target.met else "missed"
    floor = "" if target.drop_met else ", allowed drop exceeded"
    requested = f"asked for {_request(target.rate)}"
    first = f"target {word}{floor}: {got} ({requested}){_scant_text(report)}"
    parts = [Part(first, "good" if report.is_met and not is_scant(report) else "bad")]
    drop = drop_points(report)
    if drop is not None:
        parts.append(Part(_drop_text(drop, report), _drop_level(drop, report.target)))
    parts += [Part(text) for text in _worst_metric(report)]
    speed = report.rate.latency
    if target.metric != "latency" and speed is not None:
        is_slower = speed < 1 - LATENCY_NOISE
        parts.append(Part(speed_text(speed), "warn" if is_slower else "good"))
    return _with_check(parts, report.verify)


def _drop_level(drop: float, target: Target) -> Level:
    """Judge a loss of accuracy by the requested limit, or without one by its size."""
    if target.max_drop is not None:
        return "good" if target.drop_met else "bad"
    if drop >= BAD_DROP - _NO_POINTS:
        return "bad"
    return "warn" if drop >= WARN_DROP - _NO_POINTS else "good"


def is_scant(report: Report) -> bool:
    """Return whether less than a tenth of the requested rate was cut.

    Without a requested rate: whether nothing was cut.
    """
    rate, requested = reached(report), report.target.rate
    if rate is None:
        return False
    return rate <= 1 if requested is None else is_little(1 - 1 / requested, 1 - 1 / rate)


def _scant_text(report: Report) -> str:
    """Return a clause for a run that cut almost nothing, with the main obstacle."""
    if not is_scant(report):
        return ""
    obstacle = main_obstacle_text(report.obstacles)
    return f": almost nothing could be cut{f'; {obstacle}' if obstacle else ''}"


def hint(report: Report) -> str:
    """Suggest an option if the target was missed; empty if it was met."""
    return "" if report.target.met else remedy(report.obstacles, {})


def _request(rate: float | None) -> str:
    return "the highest rate within --max-drop" if rate is None else format_rate(rate)


def _with_check(parts: list[Part], check: Verification) -> list[Part]:
    """Add a part about an equivalence check that failed or is incomplete."""
    if not check.passed:
        text = "the equivalence check FAILED: the compact and the masked model differ"
        return [Part(text, "bad"), *parts]
    if check.vacuous:
        text = "the equivalence check is INCONCLUSIVE: no output depends on the inputs"
        return [Part(text, "bad"), *parts]
    if not check.notes:
        return parts
    text = f"the equivalence check is incomplete ({listed(check.notes, 1)})"
    return [*parts, Part(text, "warn")]


def frontier_text(report: Report) -> list[str]:
    """Return a line for each rate that was tried, if the reader may want to choose among them.

    That is the case if no rate was requested, or if the target was missed.
    """
    if report.target.rate is not None and report.is_met:
        return []
    lines = []
    for point in report.frontier:
        word = "within" if point.within_floor else "exceeds"
        score = f"{measure_text(report)} {format_percent(point.accuracy)}"
        lines.append(
            f"{format_rate(point.rate)}: {score} on the selection split after "
            f"{counted(point.epochs, 'epoch', '.2g')}, {word} --max-drop"
        )
    return lines


def unknown_macs(report: Report) -> str:
    """Return a line that names the nodes whose MACs are unknown; empty if there are none."""
    names = list(dict.fromkeys([*report.before.macs_unknown, *report.after.macs_unknown]))
    if not names:
        return ""
    return f"the MACs of {listed(names, _SHOWN_NODES)} are unknown"


def format_error(error: float | None) -> str:
    """Format an error of the equivalence check; ``unbounded`` if it is not finite."""
    return "unbounded" if error is None else f"{error:.2g}"


def _drop_text(drop: float, report: Report) -> str:
    if report.measure == "agreement":
        change = f"{format_percent(report.after.accuracy)} {measure_text(report)}"
    else:
        change = f"{measure_text(report)} {format_points(-drop)}"
    if report.target.max_drop is None:
        return change
    word = "within" if report.target.drop_met else "exceeds"
    return f"{change} ({word} the allowed drop of {report.target.max_drop:g})"


def metric_lines(report: Report) -> list[str]:
    """Return a line with the metric of each output, for the result and the original.

    Empty for a network with one classification output, whose accuracy the table shows.
    """
    metrics = report.after.outputs
    if len(metrics) == 1 and metrics[0].task == "classification":
        return []
    before = {metric.output: metric.text for metric in report.before.outputs}
    return [
        f"{metric.output}: {metric.text}"
        + (f" (original: {before[metric.output]})" if metric.output in before else "")
        for metric in metrics
    ]


def _worst_metric(report: Report) -> list[str]:
    """Return the worst metric of the outputs that are not classes."""
    metrics = [metric for metric in report.after.outputs if metric.task != "classification"]
    if not metrics:
        return []
    worst = min(metrics, key=lambda metric: metric.value)
    return [worst.text if len(report.after.outputs) == 1 else f"{worst.output}: {worst.text}"]


def measure_text(report: Report) -> str:
    """Return the name of the quantity by which the models were evaluated."""
    if report.measure == "agreement":
        return "agreement with the original"
    return _score_name(report) if report.measure == "score" else report.measure


def _score_name(report: Report) -> str:
    """Return the name of the score of the first output's task."""
    names = {
        "segmentation": "mean IoU", "ctc": "1 - character error rate", "detection": "mAP",
        "embedding": "cosine", "regression": "1 - normalised error",
        "imitate": "1 - normalised error",
    }  # fmt: skip
    task = report.tasks[0].task if report.tasks else ""
    return names.get(task, "score")


def speed_text(rate: float) -> str:
    """Describe a rate of latency; within the noise it is not faster."""
    if rate <= 1 + LATENCY_NOISE:
        return f"not faster ({format_rate(rate)})"
    return f"{format_rate(rate)} faster"


def paired_text(report: Report) -> str:
    """Explain how the rate of latency was computed if it is not the ratio of the medians."""
    if report.rate.latency is None or report.after.speed_up is None:
        return ""
    return (
        "the latency rate is the median over pairs of adjacent runs, not the ratio of the two "
        "medians, because load on the machine slows both runs of a pair"
    )


def int8_text(int8: Int8) -> str:
    """Compare the quantised model with the compact model."""
    rate = int8.bytes_rate
    parts = [f"{format_rate(rate)} fewer bytes" if rate > 1 else f"not smaller ({rate:.2f}x)"]
    if int8.latency_rate is not None:
        parts.append(speed_text(int8.latency_rate))
    return f"int8: {', '.join(parts)} than the compact model"


def drop_points(report: Report) -> float | None:
    """Return the loss of accuracy in percentage points, negative for a gain; None if unknown."""
    before, after = report.before.accuracy, report.after.accuracy
    return None if before is None or after is None else 100 * (before - after)


def format_bytes(size: float) -> str:
    """Format a number of bytes with a suitable unit.

    >>> format_bytes(1_234_567)
    '1.23 MB'
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def format_points(change: float) -> str:
    """Format a change in percentage points; very small changes get more digits.

    >>> format_points(-0.67), format_points(0.0), format_points(-0.0004)
    ('-0.67 points', '0 points', '-0.0004 points')
    """
    if abs(change) < _NO_POINTS:
        return "0 points"
    return f"{change:+.2f} points" if abs(change) >= 0.005 else f"{change:+.1g} points"


def format_percent(share: float | None) -> str:
    """Format a share from 0 to 1 as a percentage; ``-`` for None."""
    return "-" if share is None else f"{100 * share:.2f} %"
