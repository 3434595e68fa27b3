"""Torch-Pruning on the CIFAR-10 networks: pruned once, fine-tuned by the same recipe.

    pip install torch-pruning==1.6.1
    python benchmarks/rival_accuracy.py resnet56 --rate 2.1x --metric macs --epochs 8

Wants the networks and images of ACGRAPH_SHARED (or ../shared) and the rival's script there, which
says what it does: channels inside the blocks are cut by group magnitude, then SGD with one cycle,
learning rate 0.05, batch 128, crop and flip, bfloat16. The last epoch's accuracy on all 5,000 test
images goes to docs/results/, where benchmarks/results.py quotes it.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT / ".." / "shared"))
RESULT = re.compile(
    r"RESULT (?P<name>\S+) params (?P<params>[\d.]+)x MACs (?P<macs>[\d.]+)x "
    r"epochs (?P<epochs>\d+) accuracy (?P<accuracy>[\d.]+)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=("resnet20", "resnet56"))
    parser.add_argument("--rate", default="4x")
    parser.add_argument("--metric", default="params", choices=("params", "macs"))
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    script = SHARED / "bench" / "torch_pruning_cifar10.py"
    if not script.exists():
        sys.exit(f"{script}: not here; set ACGRAPH_SHARED")
    start = time.perf_counter()
    command = [sys.executable, str(script), given.name, given.rate.removesuffix("x"), given.metric]
    with subprocess.Popen(
        [*command, str(given.epochs)], stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        lines = []
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    match = RESULT.search("".join(lines))
    if match is None:
        sys.exit("the rival printed no result")
    result = {
        "network": given.name,
        "params": float(match["params"]),
        "macs": float(match["macs"]),
        "epochs": int(match["epochs"]),
        "accuracy_all": float(match["accuracy"]),
        "seconds": time.perf_counter() - start,
    }
    stem = f"torch_pruning_{given.name}_{given.metric}_{given.rate}_{given.epochs}ep"
    path = ROOT / "docs" / "results" / f"{stem}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
