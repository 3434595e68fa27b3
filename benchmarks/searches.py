"""What each search finds with the same number of evaluations: nothing is trained.

    python benchmarks/searches.py [--network demo|resnet20] [--rate 8x] [--seeds 3]

One round, reconstructed and recalibrated, no epochs. The score is what the search saw (1,000 images
of the selection split); accuracy is that of the model as written, on images that chose nothing.
Runs that docs/results/ holds are not run again; the table goes to docs/method.md.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablations import FASTEST, ROOT, network_options
from pages import rewrite

from acgraph.config_merge import make_config
from acgraph.driver.compress import compress

#: Methods, and how many evaluations each may use; ``global`` and ``uniform`` use one.
ARMS: tuple[tuple[str, int], ...] = (
    ("uniform", 1),
    ("global", 1),
    ("random", 32),
    ("dp", 32),
    ("annealing", 32),
    ("random", 96),
    ("dp", 96),
    ("annealing", 96),
)
ALONE = ("purify=false", "rounds=1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("demo", "resnet20"), default="demo")
    parser.add_argument("--rate", default="8x")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    path = ROOT / "docs" / "results" / f"searches_{given.network}_{given.rate}.json"
    done: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    known = {(run["method"], run["evaluations"], run["seed"]) for run in done}
    for seed in range(given.seeds):
        for method, evaluations in ARMS:
            if (method, evaluations, seed) not in known:
                done.append(run(given, method, evaluations, seed))
                path.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
                rewrite(ROOT / "docs" / "method.md", "searches", tables())


def run(given: argparse.Namespace, method: str, evaluations: int, seed: int) -> dict[str, Any]:
    """Search once; return what it found."""
    with tempfile.TemporaryDirectory() as folder:
        options = {
            **network_options(given.network, Path(folder)),
            "target_rate": given.rate, "epochs": 0, "seed": seed, "timing": False,
            "output": Path(folder) / "out",
            "search": {"method": method, "evaluations": evaluations},
        }  # fmt: skip
        report = compress(make_config(options, settings=(*FASTEST, *ALONE)))
    (only,) = report.rounds
    score = max(point.score for point in report.search)
    print(f"{method}, {evaluations}, seed {seed}: {score:.4f} {report.after.accuracy}", flush=True)
    return {
        "method": method,
        "evaluations": evaluations,
        "seed": seed,
        "score": score,
        "accuracy": report.after.accuracy,
        "params": report.rate.params,
        "used": only.evaluations,
        "seconds": only.seconds,
    }


def tables() -> str:
    """Lay out every file of results."""
    parts = []
    for path in sorted((ROOT / "docs" / "results").glob("searches_*.json")):
        _, network, rate = path.stem.split("_")
        parts.append(table(f"{network}, params {rate}", json.loads(path.read_text())))
    return "\n\n".join(parts)


def table(title: str, runs: Sequence[dict[str, Any]]) -> str:
    """Lay out one table: a row for each method and number of evaluations, the mean over seeds."""
    seeds = len({run["seed"] for run in runs})
    lines = [
        f"{title}, no training, {seeds} seeds. By `python benchmarks/searches.py`.",
        "",
        "| search | evaluations | score, % | accuracy, % | each seed | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for method, evaluations in ARMS:
        found = [
            run for run in runs if (run["method"], run["evaluations"]) == (method, evaluations)
        ]
        if found:
            each = ", ".join(f"{100 * run['accuracy']:.2f}" for run in found)
            lines.append(
                f"| {method} | {statistics.mean(run['used'] for run in found):.0f} "
                f"| {100 * statistics.mean(run['score'] for run in found):.2f} "
                f"| {100 * statistics.mean(run['accuracy'] for run in found):.2f} | {each} "
                f"| {statistics.mean(run['seconds'] for run in found):.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
