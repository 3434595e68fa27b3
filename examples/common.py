"""The two commands that every example runs, and what they print."""

import argparse
from pathlib import Path
from typing import Any

import acgraph


def run(model: Path, data: Any) -> None:
    """Cut a network to half of its multiply-accumulates, first at once and then by training."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target-rate", default="2x")
    parser.add_argument("--time-budget", default="20m")
    parser.add_argument("-o", "--output", type=Path, default=Path("compressed"))
    options = parser.parse_args()
    goal = {"target_rate": options.target_rate, "metric": "macs"}

    pruned = acgraph.prune(model, data=data, **goal)
    print(pruned)
    compressed = acgraph.compress(
        model, data=data, **goal, time_budget=options.time_budget, status=print
    )
    print(compressed)
    print("written to", compressed.save(options.output))
