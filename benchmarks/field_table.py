"""The tables of docs/field.md, and the requirements that they check."""

import json
import platform
import re
from pathlib import Path
from typing import Any

import onnxruntime
from pages import rewrite

#: The rate that ``prune`` must reach, unless its first line says why not.
SMALLER = 1.3
#: A first line that gives a reason after the requested cut.
REASON = re.compile(r"\(asked to cut [^)]*\)\. \w")
Row = dict[str, Any]


def is_cut_fine(cut: Row) -> bool:
    """Say whether a cut is equal, and is large enough or has a reason in its first line."""
    if not cut["fine"] or not cut["check"]["equal"]:
        return False
    return cut["rate_bytes"] >= SMALLER or bool(REASON.search(cut["first"]))


def is_fine(row: Row) -> bool:
    """Say whether every command met its requirements on a file."""
    others = (row["inspect"], row.get("measure"), row.get("diff"))
    return all(is_cut_fine(row[key]) for key in ("prune", "columns")) and all(
        other is not None and other["fine"] for other in others
    )


def summary(row: Row) -> str:
    """Put one result on one line, for the terminal."""
    if "prune" not in row:
        check = row.get("check", {})
        return f"{row['name']}: {_ended(row)}, {row['first']}, {row['seconds']} s, {check}"
    told = [f"{row['name']}: {'fine' if is_fine(row) else 'NOT FINE'}"]
    told += [f"{key} {_cut(row[key])}" for key in ("prune", "columns")]
    told += [
        f"{key}: {row[key]['error']}"
        for key in ("inspect", "measure", "diff")
        if key in row and not row[key]["fine"]
    ]
    return "; ".join(told)


def _ended(row: Row) -> str:
    """Say how a command ended; it has no exit code where it ran out of time."""
    return "out of time" if row["code"] is None else f"exit {row['code']}"


def _cut(cut: Row) -> str:
    if not cut["fine"]:
        return f"{_ended(cut)}: {cut['error']}"
    check = cut["check"]
    if "failed" in check:
        return f"{cut['rate_bytes']:.2f}x, CHECK FAILED: {check['failed']}"
    return f"{cut['rate_bytes']:.2f}x{'' if check['equal'] else ' NOT EQUAL'}"


def write(root: Path, results: dict[str, list[Row]]) -> None:
    """Keep the results in docs/results/field.json, and put them into docs/field.md."""
    host = (
        f"{platform.machine()}, Python {platform.python_version()}, "
        f"ONNX Runtime {onnxruntime.__version__}"
    )
    kept = {"host": host, **results}
    (root / "docs/results/field.json").write_text(json.dumps(kept, indent=1) + "\n")
    page = root / "docs" / "field.md"
    rewrite(page, "field", _field(results["field"], host))
    rewrite(page, "field_lines", _lines(results["field"]))
    rewrite(page, "field_compress", _compress(results["compress"]))


def _field(rows: list[Row], host: str) -> str:
    fine = sum(map(is_fine, rows))
    lines = [
        f"{fine} of {len(rows)} files meet all requirements: every command ends with the expected "
        "exit code, the written files compute equal outputs on realistic inputs, and they are at "
        f"least {SMALLER}x smaller or the first line says why not ({host}). Bold entries miss a "
        "requirement.",
        "",
        "| file | network | MiB | `prune`: bytes, weights, error | `--columns`: bytes, weights, "
        "error | speed-up after `prune` | `diff` | `prune`: s, peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cut = row["prune"]
        cells = [
            row["name"], row["kind"], f"{row['mib']:.1f}", _cell(cut), _cell(row["columns"]),
            _faster(row.get("measure")), _diff(row.get("diff")),
            f"{cut['seconds']:.0f}, {cut['peak_mib']:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(cut: Row) -> str:
    if not cut["fine"]:
        return f"**{_ended(cut)}**"
    check = cut["check"]
    if "failed" in check:
        return "**check failed**"
    sizes = "; sizes stated" if "without_sizes" in cut else ""
    told = f"{cut['rate_bytes']:.2f}x, {cut['rate_weights']:.2f}x, {check['error']:.0e}{sizes}"
    return told if is_cut_fine(cut) else f"**{told}**"


def _faster(measure: Row | None) -> str:
    if measure is None:
        return ""
    return f"{measure['speedup']:.2f}x" if measure["fine"] else f"**{_ended(measure)}**"


def _diff(found: Row | None) -> str:
    if found is None:
        return ""
    if not found["fine"]:
        return f"**{_ended(found)}**"
    keys = ("resized", "lowered", "removed", "added", "rewired", "renamed")
    told = [f"{found['counts'][key]} {key}" for key in keys if found["counts"].get(key)]
    return ", ".join(told) or "nothing"


def _lines(rows: list[Row]) -> str:
    """Quote the first line where less than 1.3x came out, and every error."""
    lines = []
    for row in rows:
        for key in ("prune", "columns"):
            cut = row[key]
            if not cut["fine"]:
                lines.append(f"- {row['name']}, {key}: {_ended(cut)} {cut['error']}".rstrip())
            elif cut["rate_bytes"] < SMALLER:
                lines.append(f"- {row['name']}, {key}: {cut['first']}")
    return "\n".join(lines) or "None."


def _compress(rows: list[Row]) -> str:
    lines = [
        "| file | examples | exit code | first line | MACs | equal, error | s | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        check, report = row.get("check", {}), row.get("report")
        rate = f"{report['rate']['macs']:.2f}x" if report else ""
        equal = f"{'yes' if check['equal'] else '**no**'}, {check.get('error', 0):.0e}"
        cells = [
            row["name"], str(row["examples"]), str(row["code"]), row.get("error", row["first"]),
            rate, equal if check else "", f"{row['seconds']:.0f}", f"{row['peak_mib']:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
