"""Compare the graphs of the zoo: both exports of each architecture, and each graph with its cut.

    OMP_NUM_THREADS=1 python benchmarks/diff_zoo.py [--twins] [--pruned] [NAME ...]

Two exports of one architecture have other names, other operators and (in the zoo) other weights:
the share of the weighted layers that are paired with a layer of the same size shows how well
structure alone is matched. A graph and its cut at half: seconds of processor time of the
difference, and whether every resized constant has the shape that ``plan.json`` gives it. Without an
option, both are compared. Needs the zoo in ``$ACGRAPH_SHARED/zoo``.
"""

import argparse
import os
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import acgraph
from acgraph.analysis.layers import layers
from acgraph.difference import diff_models, explain_by_plan, match_nodes
from acgraph.ir import Model
from acgraph.ir.load import load_model

ZOO = Path(os.environ.get("ACGRAPH_SHARED", "../shared")) / "zoo"
LEGACY, DYNAMO = ".legacy", ".dynamo"


def paired_layers(first: Model, second: Model) -> tuple[int, int]:
    """Return how many layers are paired with one of the same size, and how many there are."""
    pairs = match_nodes(first, second).pairs
    theirs = {layer.name: layer for layer in layers(second)}
    found = layers(first)
    same = 0
    for layer in found:
        other = theirs.get(pairs.get(layer.name, ""))
        same += other is not None and _size(layer) == _size(other)
    return same, max(len(found), len(theirs))


def _size(layer: Any) -> tuple[object, ...]:
    return layer.filters, layer.columns, layer.kernel, layer.group


def compare_twins(zoo: Any, names: list[str]) -> None:
    """Print the share of paired layers of both exports of each architecture."""
    shares = []
    for name in names:
        models = [load_model(zoo.load(name + kind)) for kind in (LEGACY, DYNAMO)]
        start = time.process_time()
        same, count = paired_layers(models[0], models[1])
        shares.append(same / max(count, 1))
        seconds = time.process_time() - start
        print(f"{name:32} {same:4} of {count:4} layers paired, {seconds:5.1f} s", flush=True)
    if shares:
        print(
            f"{len(shares)} pairs: median {statistics.median(shares):.1%}, worst {min(shares):.1%}"
        )


def compare_pruned(zoo: Any, names: list[str]) -> None:
    """Print the time of the difference of each graph and its cut, and what it leaves open."""
    times, open_ = [], 0
    for name in names:
        result = acgraph.prune(zoo.load(name), sparsity=0.5)
        before = load_model(zoo.load(name))
        start = time.process_time()
        diff = diff_models(before, result.model)
        times.append(time.process_time() - start)
        missing = explain_by_plan(before, result.model, diff, result.plan).unexplained
        open_ += len(missing)
        resized = sum(change.shape[0] != change.shape[1] for change in diff.constants)
        print(
            f"{name:32} {times[-1]:5.1f} s, {resized:4} constants resized, "
            f"{len(missing)} not as planned {list(missing[:2])}",
            flush=True,
        )
    if times:
        print(
            f"{len(times)} graphs: median {statistics.median(times):.1f} s, "
            f"largest {max(times):.1f} s, {open_} constants not as planned"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--twins", action="store_true")
    parser.add_argument("--pruned", action="store_true")
    wanted = parser.parse_args()
    if not ZOO.is_dir():
        sys.exit(f"there is no zoo in {ZOO}: set ACGRAPH_SHARED")
    sys.path.insert(0, str(ZOO))
    import zoo

    warnings.simplefilter("ignore")
    names = [name for name in zoo.names() if not wanted.names or name in wanted.names]
    both = not (wanted.twins or wanted.pruned)
    if wanted.twins or both:
        bases = [name.removesuffix(LEGACY) for name in names if name.endswith(LEGACY)]
        compare_twins(zoo, [base for base in bases if base + DYNAMO in zoo.names()])
    if wanted.pruned or both:
        compare_pruned(zoo, names)


if __name__ == "__main__":
    main()
