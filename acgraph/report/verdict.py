"""The verdict in words: what a reader must know first."""

from acgraph.diagnostics import counted
from acgraph.pruning.rate import format_rate
from acgraph.report.schema import LATENCY_NOISE, Int8, Report, Verification
from acgraph.report.shortfall import blame, is_little, remedy

_METRICS = {"params": "params", "macs": "MACs", "size": "bytes", "latency": "latency"}
#: Changes below this are the rounding of two shares to binary fractions.
_NO_POINTS = 1e-9
#: Nodes that are named where a line must stay short; the report has them all.
_SHOWN_NODES = 5


def reached(report: Report) -> float | None:
    """Rate reached in the metric of the target."""
    key = "bytes" if report.target.metric == "size" else report.target.metric
    rate: float | None = getattr(report.rate, key)
    return rate


def verdict(report: Report) -> str:
    """Say in one line whether the target was met, and what it cost."""
    return ", ".join(verdict_parts(report))


def verdict_parts(report: Report) -> list[str]:
    """The verdict, most important first."""
    target = report.target
    rate = reached(report)
    metric = _METRICS[target.metric]
    more = "faster" if target.metric == "latency" else f"fewer {metric}"
    got = f"{format_rate(rate)} {more}" if rate is not None else f"unknown rate of {metric}"
    word = "met" if target.met else "missed"
    floor = "" if target.drop_met else ", allowed drop exceeded"
    parts = [f"target {word}{floor}: {got} (asked for {_asked(target.rate)}){_scant_text(report)}"]
    drop = drop_points(report)
    if drop is not None:
        parts.append(_drop_text(drop, report))
    parts += _worst_figure(report)
    speed = report.rate.latency
    if target.metric != "latency" and speed is not None:
        parts.append(speed_text(speed))
    return _with_check(parts, report.verify)


def is_scant(report: Report) -> bool:
    """Say whether less than a tenth of what was asked for was cut; anything, where no rate was."""
    rate, asked = reached(report), report.target.rate
    if rate is None:
        return False
    return rate <= 1 if asked is None else is_little(1 - 1 / asked, 1 - 1 / rate)


def _scant_text(report: Report) -> str:
    """Say that hardly anything was cut, and what holds most of the weights."""
    if not is_scant(report):
        return ""
    held = blame(report.holding)
    return f": almost nothing could be cut{f'; {held}' if held else ''}"


def hint(report: Report) -> str:
    """Say what would help where the target was missed; empty where it was met."""
    return "" if report.target.met else remedy(report.holding, {})


def _asked(rate: float | None) -> str:
    return "the highest rate within --max-drop" if rate is None else format_rate(rate)


def _with_check(parts: list[str], check: Verification) -> list[str]:
    """Add what a reader must not take for granted: a check that failed or is incomplete."""
    if not check.passed:
        return ["the equivalence check FAILED: the compact and the masked model differ", *parts]
    if check.vacuous:
        return ["the equivalence check is INCONCLUSIVE: no output depends on the inputs", *parts]
    if not check.notes:
        return parts
    more = f" and {len(check.notes) - 1} more" if len(check.notes) > 1 else ""
    return [*parts, f"the equivalence check is incomplete ({check.notes[0]}{more})"]


def frontier_text(report: Report) -> list[str]:
    """Say what each rate that was tried came to, where the reader must choose among them.

    That is where no rate was stated, and where rate and floor were not to be had together.
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
    """Name the nodes whose MACs could not be found; empty where there are none."""
    names = list(dict.fromkeys([*report.before.macs_unknown, *report.after.macs_unknown]))
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN_NODES} more" if len(names) > _SHOWN_NODES else ""
    return f"the MACs of {', '.join(names[:_SHOWN_NODES])}{more} are unknown"


def format_error(error: float | None) -> str:
    """Print an error of the equivalence check; ``unbounded`` where no number says it."""
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


def figure_lines(report: Report) -> list[str]:
    """Say how the compact model does what each output is for, the original beside it if judged.

    Empty where the network has one output of classes, which the table shows.
    """
    figures = report.after.outputs
    if len(figures) == 1 and figures[0].task == "classification":
        return []
    before = {figure.output: figure.text for figure in report.before.outputs}
    return [
        f"{figure.output}: {figure.text}"
        + (f" (original: {before[figure.output]})" if figure.output in before else "")
        for figure in figures
    ]


def _worst_figure(report: Report) -> list[str]:
    """The figure that lost most, in the words of its field; none for classes, which have points."""
    figures = [figure for figure in report.after.outputs if figure.task != "classification"]
    if not figures:
        return []
    worst = min(figures, key=lambda figure: figure.value)
    return [worst.text if len(report.after.outputs) == 1 else f"{worst.output}: {worst.text}"]


def measure_text(report: Report) -> str:
    """Name what the model is judged by, as a reader must not take one for the other."""
    if report.measure == "agreement":
        return "agreement with the original"
    return _score_name(report) if report.measure == "score" else report.measure


def _score_name(report: Report) -> str:
    """Name what labels of a task are judged by; an error counts as what is left of 1."""
    names = {
        "segmentation": "mean IoU", "ctc": "1 - character error rate", "detection": "mAP",
        "embedding": "cosine", "regression": "1 - normalised error",
        "imitate": "1 - normalised error",
    }  # fmt: skip
    task = report.tasks[0].task if report.tasks else ""
    return names.get(task, "score")


def speed_text(rate: float) -> str:
    """Say how much faster, without flattery."""
    if rate <= 1 + LATENCY_NOISE:
        return f"not faster ({format_rate(rate)})"
    return f"{format_rate(rate)} faster"


def paired_text(report: Report) -> str:
    """Say why a rate of latency is not the quotient of the medians beside it; empty where it is."""
    if report.rate.latency is None or report.after.speed_up is None:
        return ""
    return (
        "the latency rate is the median over pairs of adjacent runs, not the ratio of the two "
        "medians, because load on the machine slows both runs of a pair"
    )


def int8_text(int8: Int8) -> str:
    """Say what quantisation won beside the compact model, and where it won nothing."""
    rate = int8.bytes_rate
    parts = [f"{format_rate(rate)} fewer bytes" if rate > 1 else f"not smaller ({rate:.2f}x)"]
    if int8.latency_rate is not None:
        parts.append(speed_text(int8.latency_rate))
    return f"int8: {', '.join(parts)} than the compact model"


def drop_points(report: Report) -> float | None:
    """Accuracy or agreement lost, in percentage points; negative where it rose."""
    before, after = report.before.accuracy, report.after.accuracy
    return None if before is None or after is None else 100 * (before - after)


def format_bytes(size: float) -> str:
    """Print a number of bytes in the unit that fits.

    >>> format_bytes(1_234_567)
    '1.23 MB'
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def format_points(change: float) -> str:
    """Print a change in percentage points; one that is too small for two digits gets more.

    >>> format_points(-0.67), format_points(0.0), format_points(-0.0004)
    ('-0.67 points', '0 points', '-0.0004 points')
    """
    if abs(change) < _NO_POINTS:
        return "0 points"
    return f"{change:+.2f} points" if abs(change) >= 0.005 else f"{change:+.1g} points"


def format_percent(share: float | None) -> str:
    """Print a share from 0 to 1."""
    return "-" if share is None else f"{100 * share:.2f} %"
