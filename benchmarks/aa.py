"""Compare a model with itself, as ``measure --against`` does; write the error to docs/mobile.md.

    python benchmarks/aa.py [--times 10] [--doc docs/mobile.md]

The comparison is most informative on a busy machine. The model is the ResNet-20 of ACGRAPH_SHARED
(or ../shared), otherwise that of the demo. Each comparison creates two new sessions, as for a user,
so that the memory addresses differ each time.
"""

import argparse
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from pages import rewrite

from acgraph.backends.ort.latency import Ratio, compare_latency, measure_latency
from acgraph.backends.ort.session import SessionSettings
from acgraph.models.demo import model_path

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT / ".." / "shared"))
RESNET20 = SHARED / "models" / "cifar10_resnet20_folded.onnx"
#: Largest error of a comparison of equal models that counts as accurate.
NEAR = 0.03


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a model with itself.

    Attributes:
        ratio: Ratio of the latencies, as ``measure --against`` computes it.
        medians: Ratio of the two median latencies.
        seconds: Duration of the comparison.
        load: Load of the machine.
    """

    ratio: Ratio
    medians: float
    seconds: float
    load: float


def compare(path: Path) -> Comparison:
    start = time.perf_counter()
    first, second = measure_latency([path, path], SessionSettings())
    return Comparison(
        ratio=compare_latency(first, second),
        medians=first.p50_ms / second.p50_ms,
        seconds=time.perf_counter() - start,
        load=os.getloadavg()[0],
    )


def page(path: Path, found: list[Comparison]) -> str:
    """Return a summary, and a table with one row for each comparison."""
    near = sum(abs(one.ratio.median - 1.0) <= NEAR for one in found)
    by_medians = sum(abs(one.medians - 1.0) <= NEAR for one in found)
    covered = sum(one.ratio.low <= 1.0 <= one.ratio.high for one in found)
    false = sum(one.ratio.is_faster for one in found)
    seconds = np.mean([one.seconds for one in found])
    load = np.mean([one.load for one in found])
    lines = [
        f"`{path.name}` was compared with itself {len(found)} times ({seconds:.0f} s each, on "
        f"{os.cpu_count()} cores with a load of {load:.1f}). The ratio is between {1 - NEAR:.2f} "
        f"and {1 + NEAR:.2f} in **{near} of {len(found)}** comparisons (the ratio of the two "
        f"medians: in {by_medians}). Its 95 % interval contains 1 in {covered} comparisons, and "
        f"{false} comparisons report a speed-up. ONNX Runtime {ort.__version__}, "
        f"{platform.machine()}, one thread. Written by `python benchmarks/aa.py`.",
        "",
        "| ratio | 95 % interval | ratio of medians | load |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {o.ratio.median:.3f} | {o.ratio.low:.3f} to {o.ratio.high:.3f} | {o.medians:.3f} | "
        f"{o.load:.1f} |"
        for o in found
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--doc", type=Path)
    arguments = parser.parse_args()
    path = RESNET20 if RESNET20.exists() else model_path()
    text = page(path, [compare(path) for _ in range(arguments.times)])
    print(text)
    if arguments.doc is not None:
        rewrite(arguments.doc, "aa", text)


if __name__ == "__main__":
    main()
