"""Compress the architectures of the zoo without data, and report the result of each.

    python benchmarks/zoo_compress.py [NAME ...] [--exports legacy|dynamo|either] [--cache FOLDER]
                                      [--again] [--timeout 600] [--smallest N] [--write]

Each architecture goes through ``compress --data noise:64 --epochs 0.5 --target-rate 2x`` in a
process of its own, one after the other. A run succeeds if the exit code is 0 or 3 and the compact
network equals the masked one. ``either`` takes the export of the new exporter, and the other one
only if the run on the first fails.

Results are kept in the cache. A graph with a result is not run again without ``--again``.
``--write`` writes the results to docs/results/zoo_compress.json and docs/zoo_compress.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import child
import onnx
import onnxruntime
import platformdirs
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT.parent / "shared"))
OPTIONS = ("--data", "noise:64", "--epochs", "0.5", "--target-rate", "2x")
#: Number of the 50 architectures on which the run must succeed.
ASKED = 47
Row = dict[str, Any]


def compress(name: str, limit_s: float) -> Row:
    """Compress one export of the zoo."""
    import zoo

    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / f"{name}.onnx", Path(folder) / "out"
        onnx.save(zoo.load(name), str(path))
        command = [
            sys.executable, "-W", "ignore", "-m", "acgraph.cli.main", "compress", str(path),
            *OPTIONS, "-o", str(out),
        ]  # fmt: skip
        ended = child.run(command, limit_s)
        told = out / "report.json"
        report = json.loads(told.read_text()) if ended.code in (0, 3) and told.exists() else None
        mib = path.stat().st_size / 2**20
    row: Row = {
        "name": name,
        "commit": commit(),
        "mib": round(mib, 1),
        "code": ended.code,
        "verdict": ended.first_line if report else ended.error_line.replace(folder, ""),
        "seconds": ended.seconds,
        "peak_mib": ended.peak_mib,
    }
    if report is not None:
        row["verify"] = report["verify"]
        row["rate"] = report["rate"]
    return row


def commit() -> str:
    """Return the abbreviated commit of the code that runs; empty outside a checkout."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def is_success(row: Row) -> bool:
    """Say whether a run ended as it should and passed the equivalence check.

    The check shows nothing if no output depends on the inputs; random weights may cause this.
    """
    check = row.get("verify", {})
    return row["code"] in (0, 3) and bool(check.get("passed")) and not check.get("vacuous")


def names_of(architecture: str, exports: str, known: set[str]) -> list[str]:
    """Return the exports of an architecture, in the order in which they are tried."""
    kinds = {"either": ("dynamo", "legacy")}.get(exports, (exports,))
    return [name for kind in kinds if (name := f"{architecture}.{kind}") in known]


def table(rows: list[Row], total: int) -> str:
    """Write docs/zoo_compress.md; ``total`` architectures are in the zoo."""
    best = best_rows(rows)
    through = sum(map(is_success, best))
    host = (
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"ONNX Runtime {onnxruntime.__version__}"
    )
    lines = [
        "# Compressing the zoo without data",
        "",
        "`python benchmarks/zoo_compress.py --write` writes this page. It runs `acgraph compress "
        f"MODEL {' '.join(OPTIONS)}` on {len(best)} of the {total} architectures of the zoo. "
        f"{through} of these runs succeed: the exit code is 0 or 3, and the compact network passes "
        f"the equivalence check against the masked one ({host}). The weights and the inputs are "
        "random, so the table says nothing about accuracy.",
        "",
        "The error is that of the equivalence check. The peak memory is that of the run and its "
        "workers together. If the run on the export of the new exporter (dynamo) fails, the export "
        "of the old one (legacy) has a row as well. Results are cached, so each row names the "
        "commit that it was measured on.",
        "",
        "| graph | MiB | exit code | first line | error | s | peak MiB | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        code = "out of time" if row["code"] is None else str(row["code"])
        error = f"{row['verify']['max_rel_error']:.0e}" if "verify" in row else ""
        verdict = row["verdict"].replace("|", "\\|")
        lines.append(
            f"| {row['name']} | {row['mib']:.0f} | {code} | {verdict} | {error} "
            f"| {row['seconds']:.0f} | {row['peak_mib']:.0f} | {row['commit']} |"
        )
    return "\n".join(lines) + "\n"


def best_rows(rows: list[Row]) -> list[Row]:
    """Return one row for each architecture, that of a successful run if there is one."""
    best: dict[str, Row] = {}
    for row in rows:
        architecture = row["name"].rpartition(".")[0]
        if architecture not in best or is_success(row):
            best[architecture] = row
    return list(best.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="architectures; all where none is given")
    parser.add_argument("--exports", choices=("legacy", "dynamo", "either"), default="either")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--again", action="store_true", help="run those that have a result")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each")
    parser.add_argument("--smallest", type=int, default=None, metavar="N")
    parser.add_argument("--write", action="store_true", help="write docs/zoo_compress.md")
    arguments = parser.parse_args()
    if not (SHARED / "zoo").is_dir():
        print(f"no zoo at {SHARED}: set ACGRAPH_SHARED", file=sys.stderr)
        return 2
    sys.path.insert(0, str(SHARED / "zoo"))
    files = {p.name.removesuffix(".onnx.gz"): p for p in (SHARED / "zoo").glob("*.onnx.gz")}
    known = sorted({name.rpartition(".")[0] for name in files})
    architectures = arguments.names or known
    if arguments.smallest is not None:
        order = {a: _weight(a, files) for a in architectures}
        architectures = sorted(architectures, key=lambda a: order[a])[: arguments.smallest]
    cache = arguments.cache or Path(platformdirs.user_cache_dir("acgraph")) / "zoo_compress"
    cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for architecture in architectures:
        for name in names_of(architecture, arguments.exports, set(files)):
            kept = cache / f"{name}.json"
            if not kept.exists() or arguments.again:
                kept.write_text(json.dumps(compress(name, arguments.timeout), indent=1) + "\n")
            row = json.loads(kept.read_text())
            rows.append(row)
            print(json.dumps(row), flush=True)
            if is_success(row):
                break
    if arguments.write:
        (ROOT / "docs/results/zoo_compress.json").write_text(json.dumps(rows, indent=1) + "\n")
        (ROOT / "docs/zoo_compress.md").write_text(table(rows, len(known)))
    best = best_rows(rows)
    missed = [row["name"] for row in best if not is_success(row)]
    print(f"{len(best) - len(missed)} of {len(best)} succeed ({ASKED} of 50 are required); failed: "
          f"{' '.join(missed) or 'none'}")  # fmt: skip
    return 0


def _weight(architecture: str, files: dict[str, Path]) -> int:
    """Return the MACs of an architecture, which tell how long a run takes."""
    import zoo

    from acgraph.analysis.cost import model_cost
    from acgraph.ir import model_from_proto

    name = next(n for n in sorted(files) if n.rpartition(".")[0] == architecture)
    return model_cost(model_from_proto(zoo.load(name), name)).macs


if __name__ == "__main__":
    sys.exit(main())
