"""What each part of the method is worth: the same epochs, one thing changed.

    python benchmarks/ablations.py [--network demo|resnet20] [--rate 8x] [--epochs 8] [--seeds 2]

``demo`` is the embedded network on its embedded images and runs anywhere; ``resnet20`` wants the
network and images of ACGRAPH_SHARED (or ../shared). Accuracy is that of the last epoch on images
that chose nothing. Runs that docs/results/ holds are not run again, so that it can be done in
parts; the table goes to docs/method.md.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cifar import MEAN, SHARED, STD, specs, write_images
from pages import rewrite

from acgraph.config_merge import make_config
from acgraph.driver.compress import compress

ROOT = Path(__file__).resolve().parents[1]
#: The mode of training is timed although nothing else is.
FASTEST = ("train.precision=auto", "train.channels_last=auto")
ONCE = ("rounds=1", "admm_share=0", "retrain_share=0")
THRICE = ("rounds=3", "retrain_share=0.15")
#: What each arm sets; all else is as by default.
ARMS: dict[str, tuple[str, ...]] = {
    "as by default": (),
    "by magnitude, one round, no ADMM": ("criterion=magnitude", *ONCE),
    "by magnitude, three rounds, no ADMM": ("criterion=magnitude", *THRICE, "admm_share=0"),
    "by magnitude, three rounds, ADMM": ("criterion=magnitude", *THRICE, "admm_share=0.1"),
    "one round, ADMM and retraining": ("rounds=1", "admm_share=0.1", "retrain_share=0.15"),
    "three rounds, no ADMM": (*THRICE, "admm_share=0"),
    "three rounds, ADMM": (*THRICE, "admm_share=0.1"),
    "filters only": ("columns.enabled=false",),
    "columns only": ("filters=false",),
    "columns in patterns": ("columns.pattern=auto",),
    "search: dp": ("search.method=dp",),
    "search: global": ("search.method=global",),
    "search: random": ("search.method=random",),
    "search: uniform": ("search.method=uniform",),
    "search without recalibration": ("search.recalibrate=0",),
    "without purification": ("purify=false",),
    "without distillation": ("train.distill_weight=0",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("demo", "resnet20"), default="demo")
    parser.add_argument("--rate", default="8x")
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", action="append", choices=tuple(ARMS), help="may be repeated")
    given = parser.parse_args()
    path = ROOT / "docs" / "results" / f"ablations_{given.network}_{given.rate}.json"
    done: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    known = {(run["arm"], run["seed"], run["epochs"]) for run in done}
    for seed in range(given.seeds):
        for arm in given.only or ARMS:
            if (arm, seed, given.epochs) not in known:
                done.append(run(given, arm, seed))
                path.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
                rewrite(ROOT / "docs" / "method.md", "ablations", tables())


def run(given: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    """Compress once; return what the report says of it."""
    with tempfile.TemporaryDirectory() as folder:
        options = {
            **network_options(given.network, Path(folder)),
            "target_rate": given.rate, "epochs": given.epochs, "seed": seed, "timing": False,
            "output": Path(folder) / "out",
        }  # fmt: skip
        report = compress(make_config(options, settings=(*FASTEST, *ARMS[arm])))
    print(f"{arm}, seed {seed}: {report.after.accuracy}", flush=True)
    return {
        "arm": arm,
        "seed": seed,
        "epochs": given.epochs,
        "accuracy": report.after.accuracy,
        "before": report.before.accuracy,
        "params": report.rate.params,
        "macs": report.rate.macs,
        "seconds": report.seconds,
    }


def network_options(name: str, folder: Path) -> dict[str, Any]:
    """Return what ``compress`` is told of a network and its images, written to a folder."""
    if name == "demo":
        from acgraph.models.demo import model_path

        return {
            "model": str(model_path()),
            "data": "acgraph.models.demo:train",
            "eval_data": "acgraph.models.demo:test",
            "train": {"learning_rate": 0.1, "crop": 0},
        }
    train, test = specs(write_images(folder))
    return {
        "model": str(SHARED / "models" / "cifar10_resnet20_bn.onnx"),
        "data": train,
        "eval_data": test,
        "mean": MEAN,
        "std": STD,
    }


def tables() -> str:
    """Lay out every file of results."""
    parts = []
    for path in sorted((ROOT / "docs" / "results").glob("ablations_*.json")):
        _, network, rate = path.stem.split("_")
        runs = json.loads(path.read_text())
        for epochs in sorted({run["epochs"] for run in runs}):
            chosen = [run for run in runs if run["epochs"] == epochs]
            parts.append(table(f"{network}, params {rate}, {epochs:g} epochs", chosen))
    return "\n\n".join(parts)


def table(title: str, runs: Sequence[dict[str, Any]]) -> str:
    """Lay out one table: a row for each arm, the mean over its seeds."""
    before = 100 * runs[0]["before"]
    lines = [
        f"{title}; before: {before:.2f} %. By `python benchmarks/ablations.py`.",
        "",
        "| | accuracy, % | each seed | MACs | seconds |",
        "|---|---|---|---|---|",
    ]
    for arm in ARMS:
        found = [run for run in runs if run["arm"] == arm]
        if found:
            each = [100 * run["accuracy"] for run in found]
            lines.append(
                f"| {arm} | {statistics.mean(each):.2f} | {', '.join(f'{v:.2f}' for v in each)} | "
                f"{statistics.mean(run['macs'] for run in found):.2f}x | "
                f"{statistics.mean(run['seconds'] for run in found):.0f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
