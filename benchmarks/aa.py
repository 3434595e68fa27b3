"""Compare a model with itself, as ``measure --against`` does; write the error to docs/mobile.md.

    python benchmarks/aa.py [--times 10] [--doc docs/mobile.md]

Best while the machine is busy with other work. The model is the ResNet-20 of ACGRAPH_SHARED (or
../shared), else that of the demo. Every comparison is made as for a user: two sessions of their
own, so that what their memory lies on differs each time, too.
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
#: How far off a comparison of equal models may be.
NEAR = 0.03


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a model with itself: by pairs, and by the medians of both."""

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
    """The result in words and one row for each comparison."""
    near = sum(abs(one.ratio.median - 1.0) <= NEAR for one in found)
    by_medians = sum(abs(one.medians - 1.0) <= NEAR for one in found)
    covered = sum(one.ratio.low <= 1.0 <= one.ratio.high for one in found)
    false = sum(one.ratio.is_faster for one in found)
    seconds = np.mean([one.seconds for one in found])
    load = np.mean([one.load for one in found])
    lines = [
        f"`{path.name}` against itself, {len(found)} times, {seconds:.0f} s each, load of the "
        f"{os.cpu_count()} cores {load:.1f}: the ratio is within {1 - NEAR:.2f} and {1 + NEAR:.2f} "
        f"in **{near} of {len(found)}** comparisons (the ratio of the two medians would be in "
        f"{by_medians}); its 95 % interval holds 1 in {covered}; called faster: {false}. "
        f"ONNX Runtime {ort.__version__}, {platform.machine()}, one thread; written by "
        "`python benchmarks/aa.py`.",
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
