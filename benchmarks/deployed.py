"""Compress for speed, then measure what is deployed: the ``.ort`` file and the latency.

    python benchmarks/deployed.py [--work DIR] [--doc docs/mobile.md]

The network of the demo and the CIFAR-10 ResNets of ACGRAPH_SHARED (or ../shared): a quarter of the
params with columns in patterns, and a latency as the target. Nothing is trained unless ``--epochs``
says so: latency does not depend on it. A run whose results lie in ``--work`` is not run again.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort
from cifar import PIXELS, SHARED, specs, write_images
from formats import largest_difference
from pages import rewrite

from acgraph.analysis.cost import file_cost
from acgraph.backends.ort.latency import compare_latency, measure_latency
from acgraph.backends.ort.session import SessionSettings
from acgraph.models.demo import model_path

#: Measuring time for each model, in seconds.
BUDGET_S = 4.0
#: Share of the MACs rate that the latency should gain.
ASKED = 0.7
DEMO = ("--data", "acgraph.models.demo:train", "--eval-data", "acgraph.models.demo:test")
PARAMS = ("--target-rate", "4x", "--column-pattern", "auto")
LATENCY = ("--target-rate", "2.5x", "--metric", "latency")


@dataclass(frozen=True, slots=True)
class Case:
    """One call of ``compress``; ``network`` is ``demo`` or names a file of the models."""

    network: str
    options: tuple[str, ...]

    @property
    def model(self) -> Path:
        return (
            model_path() if self.network == "demo" else SHARED / "models" / f"{self.network}.onnx"
        )

    @property
    def key(self) -> str:
        return "_".join((self.network, *(word.lstrip("-") for word in self.options)))


CASES = (
    Case("demo", PARAMS),
    Case("cifar10_resnet20_bn", PARAMS),
    Case("cifar10_resnet56_bn", PARAMS),
    Case("cifar10_resnet56_bn", LATENCY),
)


def compress(case: Case, epochs: str, work: Path) -> Path:
    """Return the folder of the results."""
    out = work / f"{case.key}_{epochs}"
    if (out / "report.json").exists():
        return out
    data: tuple[str, ...] = DEMO
    if case.network != "demo":
        train, test = specs(write_images(work))
        data = ("--data", train, "--eval-data", test, *PIXELS)
    command = [
        sys.executable, "-m", "acgraph.cli.main", "compress", str(case.model), *case.options,
        *data, "--epochs", epochs, "-o", str(out),
    ]  # fmt: skip
    code = subprocess.run(command, check=False).returncode
    if code not in (0, 3):
        sys.exit(code)
    return out


def row(case: Case, out: Path) -> str:
    """Measure the original and the result by turns, and the result's two formats."""
    small = out / "model.onnx"
    before, after = file_cost(case.model), file_cost(small)
    latencies = measure_latency([str(case.model), str(small)], SessionSettings(), budget_s=BUDGET_S)
    ratio = compare_latency(*latencies)
    macs = before.macs / after.macs
    error = largest_difference(small, out / "model.ort")
    return (
        f"| {case.model.stem if case.network != 'demo' else 'demo'} | `{' '.join(case.options)}` "
        f"| {before.params / after.params:.2f}x | {macs:.2f}x "
        f"| {latencies[0].p50_ms:.3f} | {latencies[1].p50_ms:.3f} | {ratio.median:.2f}x "
        f"| {ratio.low:.2f} to {ratio.high:.2f} | {ratio.median / macs:.1%} | {error:.0e} |"
    )


def table(epochs: str, work: Path) -> str:
    lines = [
        "| network | options | params | MACs | before, ms | after, ms | speed-up | 95 % "
        "| of the MACs rate | `.ort` against `.onnx` |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        lines.append(row(case, compress(case, epochs, work)))
        print(lines[-1], flush=True)
    lines += [
        "",
        f"`compress --epochs {epochs}`; ONNX Runtime {ort.__version__}, {platform.machine()}, one "
        f"thread, batch 1, NCHWc off; load of the {os.cpu_count()} cores {os.getloadavg()[0]:.1f}. "
        f"Asked: at least {ASKED:.0%} of the MACs rate, and 2.3x where the target is a latency of "
        "2.5x. Written by `python benchmarks/deployed.py`.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", default="0")
    parser.add_argument("--work", type=Path, help="folder of the results, kept")
    parser.add_argument("--doc", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = given.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        text = table(given.epochs, work)
    print(text)
    if given.doc is not None:
        rewrite(given.doc, "deployed", text)


if __name__ == "__main__":
    main()
