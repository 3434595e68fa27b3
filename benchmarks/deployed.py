"""Compress for speed, then measure the deployed result: the ``.ort`` file and its latency.

    python benchmarks/deployed.py [--work DIR] [--doc docs/mobile.md]

The networks are that of the demo and the CIFAR-10 ResNets of ACGRAPH_SHARED (or ../shared). The
target is a quarter of the parameters, with column patterns, or a latency. By default nothing is
trained (``--epochs 0``), because latency does not depend on training. A run whose results are in
``--work`` is not repeated.
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
#: Target of the speed-up, as a share of the MACs rate.
TARGET = 0.7
DEMO = ("--data", "acgraph.models.demo:train", "--eval-data", "acgraph.models.demo:test")
PARAMS = ("--target-rate", "4x", "--column-pattern", "auto")
LATENCY = ("--target-rate", "2.5x", "--metric", "latency")


@dataclass(frozen=True, slots=True)
class Case:
    """One run of ``compress``; ``network`` is ``demo`` or the name of a file of the models."""

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
    """Run a case, unless its results exist; return the folder of the results."""
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
    """Measure original and result in interleaved runs, and compare the result's two formats."""
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
        "| network | options | params | MACs | before, ms | after, ms | speed-up | 95 % interval "
        "| speed-up / MACs rate | error of `.ort` |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        lines.append(row(case, compress(case, epochs, work)))
        print(lines[-1], flush=True)
    lines += [
        "",
        f"`compress --epochs {epochs}`; ONNX Runtime {ort.__version__}, {platform.machine()}, one "
        f"thread, batch 1, NCHWc off; {os.cpu_count()} cores with a load of "
        f"{os.getloadavg()[0]:.1f}. Target: a speed-up of at least {TARGET:.0%} of the MACs rate, "
        "and of 2.3x for a target latency of 2.5x. Written by `python benchmarks/deployed.py`.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", default="0")
    parser.add_argument("--work", type=Path, help="folder in which the results are kept")
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
