"""Run a benchmark and write its numbers where the docs quote them.

    python benchmarks/results.py demo                   # README.md
    python benchmarks/results.py resnet20 --rate 4x     # docs/benchmarks.md; needs CIFAR-10

``resnet20`` wants the CIFAR-10 network and images of ACGRAPH_SHARED (or ../shared): it trains on
50,000 images, chooses by 2,500 of the 5,000 test images and reports the other 2,500, last epoch;
for the comparison with the rival's figures (benchmarks/rival_accuracy.py) all 5,000 are measured,
too. The report of every run is kept in docs/results/. ``--set`` goes to ``compress``: such a run
is an ablation and needs a ``--tag``; its row goes to docs/method.md.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cifar import PIXELS, SHARED, specs, write_images
from pages import rewrite

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=("demo", "resnet20", "resnet56", "resnet20_folded"))
    parser.add_argument("--rate", default="4x")
    parser.add_argument("--metric", default="params")
    parser.add_argument("--epochs", default="8")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--tag", default="", help="name of a run with other options")
    parser.add_argument("--from", dest="run", type=Path, help="the -o of a run that is done")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command, key = _command(arguments, Path(folder))
        out = arguments.run or Path(folder) / "out"
        if arguments.run is None:
            code = subprocess.run([*command, "-o", str(out)], check=False).returncode
            if code not in (0, 3):
                sys.exit(code)
        report = json.loads((out / "report.json").read_text())
        if arguments.name != "demo":
            report["benchmark"] = {
                "set": arguments.set,
                "tag": arguments.tag,
                "accuracy_all": _accuracy(out / "model.onnx", Path(folder)),
            }
    report["model"]["path"] = _name(report["model"]["path"])
    options = report["options"]
    options |= {
        key: _name(options[key]) for key in ("model", "data", "eval_data") if key in options
    }
    results = ROOT / "docs" / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{key}.json").write_text(json.dumps(report, indent=1) + "\n")
    rewrite(ROOT / "README.md", "demo", _table(_load("demo")))
    rewrite(ROOT / "README.md", "tables", _tables())
    page = ROOT / "docs" / "benchmarks.md"
    if not page.exists():
        page.write_text(_HEAD)
    rewrite(page, "cifar10", _rows())
    rewrite(ROOT / "docs" / "method.md", "tagged", _rows(tagged=True))


def _name(path: str) -> str:
    """Return a path, or data in a file, without the folders of this machine."""
    return path.rpartition("/")[2]


_HEAD = """# Benchmarks

Written by `python benchmarks/results.py NAME`; the reports are in `docs/results/`. Accuracy is
that of the last epoch on images that chose nothing. Rows come from several hosts of one kind:
compare seconds within a row only.

<!-- results:cifar10 -->
<!-- /results:cifar10 -->
"""


def _command(arguments: argparse.Namespace, folder: Path) -> tuple[list[str], str]:
    program = [sys.executable, "-m", "acgraph.cli.main"]
    if arguments.name == "demo":
        return [*program, "demo"], "demo"
    train, test = specs(write_images(folder))
    name, _, folded = arguments.name.partition("_")
    model = SHARED / "models" / f"cifar10_{name}_{folded or 'bn'}.onnx"
    sets = [word for setting in arguments.set for word in ("--set", setting)]
    command = [
        *program, "compress", str(model), "--target-rate", arguments.rate,
        "--metric", arguments.metric, "--epochs", arguments.epochs, "--seed", arguments.seed,
        "--data", train, "--eval-data", test, *PIXELS, *sets,
    ]  # fmt: skip
    a = arguments
    tag = f"-{a.tag}" if a.tag else ""
    return command, f"{a.name}{tag}_{a.metric}_{a.rate}_{a.epochs}ep_s{a.seed}"


def _accuracy(model: Path, folder: Path) -> float:
    """Measure a written file on all test images."""
    command = [
        sys.executable, "-m", "acgraph.cli.main", "measure", str(model), "--runs", "1",
        "--data", specs(write_images(folder))[1], *PIXELS, "--format", "json",
    ]  # fmt: skip
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(found)["accuracy"])


def _load(key: str) -> dict[str, Any] | None:
    path = ROOT / "docs" / "results" / f"{key}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _table(report: dict[str, Any] | None) -> str:
    if report is None:
        return ""
    before, after, rate = report["before"], report["after"], report["rate"]
    drop = 100 * (before["accuracy"] - after["accuracy"])
    host = f"{report['host'].get('machine', '')}, ONNX Runtime {report['versions']['onnxruntime']}"
    rows = [
        ("params", f"{before['params']:,}", f"{after['params']:,}", f"{_rate(rate['params'])}"),
        ("MACs", f"{before['macs']:,}", f"{after['macs']:,}", f"{_rate(rate['macs'])}"),
        ("bytes", f"{before['bytes']:,}", f"{after['bytes']:,}", f"{_rate(rate['bytes'])}"),
        ("latency, ms, one thread", f"{before['latency_ms']['p50']:.3f}",
         f"{after['latency_ms']['p50']:.3f}", f"{_rate(rate['latency'])}"),
        ("accuracy, %", f"{100 * before['accuracy']:.2f}", f"{100 * after['accuracy']:.2f}",
         f"{-drop:+.2f} points"),
    ]  # fmt: skip
    lines = ["| | before | after | |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    error = report["verify"]["max_rel_error"]
    lines.append("")
    lines.append(
        f"Compact against masked network: relative error {error:.0e}. {report['seconds']:.0f} s in "
        f"all ({host}). Written by `python benchmarks/results.py demo`."
    )
    return "\n".join(lines)


def _tables() -> str:
    zoo = _load("zoo_prune")
    lines = ["CIFAR-10, 2,500 test images that chose nothing, last epoch:", "", _rows()]
    if zoo is not None:
        rows = [row for row in zoo["graphs"] if row.get("rate")]
        smaller = sum(row["rate"] >= 1.5 for row in rows)
        passed = sum(row["error"] <= 1e-4 for row in rows)
        lines += [
            "",
            f"`prune --sparsity 0.5` on {len(zoo['graphs'])} exported graphs of 50 architectures: "
            f"{passed} pass the equivalence check, {smaller} are at least 1.5x smaller "
            "([docs/zoo.md](docs/zoo.md)).",
        ]
    return "\n".join(lines)


def _rows(*, tagged: bool = False) -> str:
    """Lay out the runs by default, or those with other options, which have a tag."""
    lines = [
        "| network | target | seed | epochs | params | MACs | latency | accuracy before | after "
        "| after, all 5,000 | Torch-Pruning, all 5,000 | equivalence error | seconds "
        "| Torch-Pruning, seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted((ROOT / "docs" / "results").glob("resnet*.json")):
        report = json.loads(path.read_text())
        name, metric, rate, epochs, seed = _parts(path.stem)
        if tagged != ("-" in name):
            continue
        rates = report["rate"]
        rival = _rival(name, metric, rate, epochs)
        lines.append(
            f"| {name} | {metric} {rate} | {seed} | {epochs} | {_rate(rates['params'])} | "
            f"{_rate(rates['macs'])} | {_rate(rates['latency'])} | "
            f"{100 * report['before']['accuracy']:.2f} | {100 * report['after']['accuracy']:.2f} | "
            f"{_percent(report.get('benchmark', {}).get('accuracy_all'))} | "
            f"{_percent(rival.get('accuracy_all'))} | "
            f"{report['verify']['max_rel_error']:.0e} | {report['seconds']:.0f} | "
            f"{_whole(rival.get('seconds'))} |"
        )
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _whole(number: float | None) -> str:
    return "" if number is None else f"{number:.0f}"


def _rival(name: str, metric: str, rate: str, epochs: str) -> dict[str, Any]:
    """Return what benchmarks/rival_accuracy.py measured at the same target, if it did."""
    return _load(f"torch_pruning_{name.partition('-')[0]}_{metric}_{rate}_{epochs}ep") or {}


def _rate(value: float) -> str:
    """Print a rate, rounded down: 7.999 is not 8x."""
    return f"{math.floor(100 * value) / 100:.2f}x"


def _parts(stem: str) -> tuple[str, ...]:
    match = re.fullmatch(r"(.+)_(params|macs|size|latency)_([^_]+)_([^_]+)ep_s(\d+)", stem)
    if match is None:
        sys.exit(f"docs/results/{stem}.json: not a name that this script gives")
    return match.groups()


if __name__ == "__main__":
    main()
