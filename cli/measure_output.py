"""The output of ``acgraph measure``, as JSON and as text."""

import importlib.metadata
import io
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from acgraph.backends.ort.latency import compare_latency
from acgraph.backends.ort.measurement import Measurement, MeasureOptions
from acgraph.diagnostics import counted, printable
from acgraph.pruning.rate import format_rate

Result = dict[str, Any]
_SHOWN_OPERATORS = 20


def result_from_measurements(
    names: Sequence[str], measured: Sequence[Measurement], options: MeasureOptions
) -> Result:
    """Return the result as JSON values.

    The entries of MODEL are at the top level, those of the other model in ``against``. Every rate
    is the value of ``against`` divided by that of MODEL: above 1 if MODEL is smaller or faster,
    null if a value is unknown.

    Args:
        names: The path of MODEL and, if there is one, of the other model.
        measured: The measurements of both.
        options: The settings of the measurement.
    """
    result: Result = {
        "schema": 1,
        **_entry(names[0], measured[0]),
        "runtime": options.runtime.value,
        "threads": options.session.threads,
        "nchwc": options.session.nchwc,
    }
    if len(measured) > 1:
        result |= _comparison(names[1], measured[0], measured[1])
    result["host"] = host()
    result["versions"] = versions() | dict(measured[0].versions or {})
    return result


def host() -> dict[str, str | int]:
    """Describe the machine."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def versions() -> dict[str, str]:
    """Return the versions of the packages that measured."""
    packages = ("acgraph", "numpy", "onnx", "onnxruntime")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def _entry(name: str, measured: Measurement) -> Result:
    cost, latency = measured.cost, measured.latency
    entry: Result = {
        "model": name,
        "params": cost.params if cost else None,
        "macs": cost.macs if cost else None,
        "macs_unknown": list(cost.unknown) if cost else [],
        "bytes": cost.bytes if cost else measured.file_bytes,
        "run_bytes": measured.file_bytes,
        "inputs": {key: list(shape) for key, shape in measured.inputs.items()},
        "latency_ms": {"p50": latency.p50_ms, "p90": latency.p90_ms, "min": latency.min_ms},
        "runs": latency.runs,
        "load_ms": measured.load_ms,
        "accuracy": measured.accuracy,
    }
    if measured.footprint is not None:
        entry["memory"] = {
            "peak_bytes": measured.footprint.peak_bytes,
            "model_bytes": measured.footprint.model_bytes,
        }
    if measured.usability is not None:
        entry["usability"] = {
            "as_is": measured.usability.verdicts,
            "fixed_shapes": measured.usability.verdicts_fixed,
        }
    if measured.operators:
        entry["operators"] = [
            {"name": op.name, "op_type": op.op_type, "p50_ms": op.p50_ms, "share": op.share}
            for op in measured.operators
        ]
    return entry


def _comparison(name: str, model: Measurement, against: Measurement) -> Result:
    ratio = compare_latency(against.latency, model.latency)
    before, after = _entry(name, against), _entry(name, model)
    known = not before["macs_unknown"] and not after["macs_unknown"]
    return {
        "against": before,
        "rate": {
            "params": _rate(before["params"], after["params"]),
            "macs": _rate(before["macs"], after["macs"]) if known else None,
            "bytes": _rate(before["bytes"], after["bytes"]),
            "latency": ratio.median,
            "latency_low": ratio.low,
            "latency_high": ratio.high,
        },
        "faster": ratio.is_faster,
    }


def _rate(before: int | None, after: int | None) -> float | None:
    return before / after if before and after else None


def text_from_result(result: Result) -> str:
    """Format the result as text: the verdict in the first line, then a table."""
    text = io.StringIO()
    console = Console(file=text, width=100, highlight=False, markup=False)
    console.print(printable(_headline(result)), soft_wrap=True)
    console.print(_table(result))
    for entry in (result, result.get("against")):
        if entry:
            _print_details(console, entry)
    return text.getvalue()


def _headline(result: Result) -> str:
    if "against" not in result:
        return f"{result['model']}: {_ms(result['latency_ms']['p50'])}"
    rate = result["rate"]
    interval = f"({format_rate(rate['latency_low'])} to {format_rate(rate['latency_high'])})"
    word = "faster" if result["faster"] else "not faster"
    shown = format_rate(rate["latency"])
    return f"{word}: {shown} {interval}, against {result['against']['model']}"


def _table(result: Result) -> Table:
    entries = [result, result["against"]] if "against" in result else [result]
    rate = result.get("rate", {})
    table = Table(show_edge=False, pad_edge=False)
    table.add_column(f"{result['runtime']}, {counted(result['threads'], 'thread')}")
    for name in _short_names([entry["model"] for entry in entries]):
        table.add_column(printable(name), justify="right", overflow="fold")
    if rate:
        table.add_column("rate", justify="right")
    rows: list[tuple[str, list[str], str | None]] = [
        ("params", [_count(e["params"]) for e in entries], "params"),
        ("MACs", [_macs(e) for e in entries], "macs"),
        ("bytes", [_count(e["bytes"]) for e in entries], "bytes"),
        ("latency, median", [_ms(e["latency_ms"]["p50"]) for e in entries], "latency"),
        ("latency, 90th percentile", [_ms(e["latency_ms"]["p90"]) for e in entries], None),
        ("latency, minimum", [_ms(e["latency_ms"]["min"]) for e in entries], None),
        ("runs", [str(e["runs"]) for e in entries], None),
        ("load", [_ms(e["load_ms"]) for e in entries], None),
    ]
    if all("memory" in e for e in entries):
        rows.append(("memory, bytes", [_count(e["memory"]["model_bytes"]) for e in entries], None))
    if result["accuracy"] is not None:
        rows.append(("accuracy", [f"{e['accuracy']:.2%}" for e in entries], None))
    for label, cells, key in rows:
        value = rate.get(key) if key else None
        shown = format_rate(value) if value is not None else ""
        table.add_row(label, *cells, *([shown] if rate else []))
    return table


def _short_names(paths: Sequence[str]) -> list[str]:
    """Shorten paths to the shortest distinct suffixes.

    >>> _short_names(["runs/a/model.onnx", "runs/b/model.onnx"]), _short_names(["a/x.ort", "y.ort"])
    (['a/model.onnx', 'b/model.onnx'], ['x.ort', 'y.ort'])
    """
    parts = [Path(path).parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = [str(Path(*part[-length:])) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def _print_details(console: Console, entry: Result) -> None:
    name = printable(entry["model"])
    if entry["macs_unknown"]:
        nodes = printable(", ".join(entry["macs_unknown"][:5]))
        count = len(entry["macs_unknown"])
        console.print(
            f"{name}: the MACs of {counted(count, 'node')} are unknown: {nodes}", soft_wrap=True
        )
    if "usability" in entry:
        fixed = entry["usability"]["fixed_shapes"]
        verdicts = [
            f"{provider} {verdict}"
            + (f" ({fixed[provider]} with fixed shapes)" if provider in fixed else "")
            for provider, verdict in entry["usability"]["as_is"].items()
        ]
        console.print(
            f"{name}: suitability for execution providers: {', '.join(verdicts)}", soft_wrap=True
        )
    operators = entry.get("operators", [])
    if operators:
        table = Table(title=f"{name}: slowest operators", show_edge=False, pad_edge=False)
        table.add_column("operator")
        table.add_column("node", overflow="fold")
        table.add_column("median", justify="right")
        table.add_column("share", justify="right")
        for op in operators[:_SHOWN_OPERATORS]:
            table.add_row(
                printable(op["op_type"]),
                printable(op["name"]),
                _ms(op["p50_ms"]),
                f"{op['share']:.1%}",
            )
        console.print(table)


def _count(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _macs(entry: Result) -> str:
    bound = "at least " if entry["macs_unknown"] else ""
    return bound + _count(entry["macs"])


def _ms(value: float) -> str:
    return f"{value:.3f} ms"
