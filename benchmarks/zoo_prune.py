"""Prune the graphs of the zoo at half, and run the equivalence check on each in ONNX Runtime.

    OMP_NUM_THREADS=2 python benchmarks/zoo_prune.py [--write] [NAME ...]

For each graph: the rate in params, the largest error of the shrunk model against the dense model
with the same filters and columns zeroed (relative to the largest output), how many nodes stop
cuts, seconds of processor time for the analysis and for the cut, and how much memory both took at
their peak beside the size of the file. ``--write`` keeps the numbers in docs/results/zoo_prune.json
and the table in docs/zoo.md. Where torch-pruning is installed, its time on a ResNet-50 written in
PyTorch is measured next to ours on the same network.
"""

import argparse
import importlib.metadata
import io
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from torch_resnet50 import resnet50_in_torch

from acgraph.analysis.dependency import analyse
from acgraph.ir import count_params, model_from_proto, proto_from_model
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import masked_model, shrink
from acgraph.pruning.tie import retie_constants, write_once

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT.parent / "shared"))
SPARSITY = 0.5
TOLERANCE = 1e-4
#: Least share of the other exporter's rate.
ALIKE = 0.9
Row = dict[str, Any]


def prune_graph(name: str, proto: onnx.ModelProto) -> Row:
    """Cut one graph and measure it."""
    size = proto.ByteSize()
    model = model_from_proto(proto, name)
    copies = untie_constants(model)
    constants = model.constants()
    before_kib = reset_peak()
    start = time.process_time()
    dependency = analyse(model)
    analysed = time.process_time()
    plan = magnitude_plan(dependency, constants, SPARSITY)
    shrunk = shrink(dependency, plan).model
    cut = time.process_time()
    peak_kib = resident("VmHWM")
    masked = masked_model(dependency, plan)
    write_once(shrunk, copies)
    retie_constants(masked, copies)
    small, zeroed = proto_from_model(shrunk), proto_from_model(masked)
    onnx.checker.check_model(small)
    error, same_shapes = compare(small, zeroed)
    fences = dependency.all_fences()
    return {
        "name": name,
        "nodes": len(proto.graph.node),
        "params": [count_params(proto), count_params(small)],
        "rate": round(count_params(proto) / count_params(small), 3),
        "error": float(f"{error:.1e}"),
        "passed": bool(error <= TOLERANCE and same_shapes),
        "families": [len(dependency.prunable()), len(dependency.families)],
        "fenced_nodes": len(dependency.fences),
        "first_fences": [str(f).removeprefix(f"{name}: ") for f in fences[:3]],
        "analyse_s": round(analysed - start, 2),
        "cut_s": round(cut - analysed, 2),
        "peak_mib": round((peak_kib - before_kib) / 1024, 1),
        "file_mib": round(size / 2**20, 1),
    }


def resident(what: str) -> int:
    """Return KiB in memory, now (``VmRSS``) or at the peak (``VmHWM``)."""
    status = Path("/proc/self/status").read_text()
    return int(next(x for x in status.splitlines() if x.startswith(what)).split()[1])


def reset_peak() -> int:
    """Let the peak of memory start again; return what is in memory now, in KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def compare(small: onnx.ModelProto, zeroed: onnx.ModelProto) -> tuple[float, bool]:
    """Return the largest relative error on random inputs, and whether all shapes agree."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    sessions = [
        ort.InferenceSession(p.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for p in (small, zeroed)
    ]
    rng = np.random.default_rng(0)
    feeds = {
        x.name: rng.standard_normal([s if isinstance(s, int) else 1 for s in x.shape], np.float32)
        for x in sessions[0].get_inputs()
    }
    ours, theirs = (session.run(None, feeds) for session in sessions)
    error = max(
        float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))
        for a, b in zip(ours, theirs, strict=True)
    )
    return error, all(a.shape == b.shape for a, b in zip(ours, theirs, strict=True))


def in_child(name: str) -> Row:
    """Prune a graph in a process of its own, so that its peak of memory is its own."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_child, args=(name, sender))
    child.start()
    sender.close()
    try:
        row: Row = receiver.recv()
    except EOFError:
        row = {"name": name, "failed": f"the process ended with code {child.exitcode}"}
    child.join()
    return row


def _child(name: str, sender: Connection) -> None:
    sys.path.insert(0, str(SHARED / "zoo"))
    import zoo

    try:
        sender.send(prune_graph(name, zoo.load(name)))
    except Exception as error:  # a row of the table says so; the run goes on
        sender.send({"name": name, "failed": f"{type(error).__name__}: {error}"})


def measure_resnet50() -> Row:
    """Time our grouping and cut of a ResNet-50, and torch-pruning's where it is installed."""
    network = resnet50_in_torch().eval()
    example = torch.zeros(1, 3, 224, 224)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the old one
        torch.onnx.export(network, (example,), data, dynamo=False)
    model = model_from_proto(onnx.load_model_from_string(data.getvalue()), "resnet50")
    start = time.process_time()
    dependency = analyse(model)
    shrink(dependency, magnitude_plan(dependency, model.constants(), SPARSITY))
    found: Row = {"acgraph_s": round(time.process_time() - start, 2)}
    try:
        import torch_pruning
    except ImportError:
        return found
    start = time.process_time()
    torch_pruning.pruner.MagnitudePruner(
        network,
        example,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=SPARSITY,
        ignored_layers=[network.fc],
    ).step()
    found["torch_pruning_s"] = round(time.process_time() - start, 2)
    found["torch_pruning"] = importlib.metadata.version("torch-pruning")
    return found


def table(result: Row) -> str:
    """Write docs/zoo.md."""
    rows = [r for r in result["graphs"] if "failed" not in r]
    seconds = [r["analyse_s"] + r["cut_s"] for r in rows]
    enough = sum(r["passed"] and r["rate"] >= 1.5 for r in rows)
    lines = [
        "# Pruning the zoo to half",
        "",
        f"`python benchmarks/zoo_prune.py --write` writes this page. The zoo has "
        f"{len(result['graphs'])} graphs of 50 architectures of torchvision and timm, from two "
        "exporters. Half of the coupled sets of every family are removed by magnitude, with exact "
        f"cuts only. {sum(r['passed'] for r in rows)} graphs pass the equivalence check at "
        f"{TOLERANCE:g}, and {enough} become at least 1.5x smaller. Analysis and cut take "
        f"{statistics.median(seconds):.2f} s (median), and {max(seconds):.2f} s at most "
        f"({result['host']}).",
        "",
        f"For a ResNet-50, acgraph takes {result['resnet50']['acgraph_s']} s"
        + (
            f" and torch-pruning {result['resnet50']['torch_pruning']} takes "
            f"{result['resnet50']['torch_pruning_s']} s."
            if "torch_pruning_s" in result["resnet50"]
            else "."
        ),
        "",
        "The rate is the ratio of the number of params before and after the cut. The error is the "
        "largest difference, relative to the largest output. Families are listed as those that "
        "can be cut, and all. Fences are nodes that no cut can cross. Memory is the peak that "
        "analysis and cut added.",
        "",
        "| graph | nodes | rate | error | families, can be cut / all | fences | analysis, s "
        "| cut, s | memory, MiB | file, MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['name']} | {r['nodes']} | {r['rate']:.2f}x | {r['error']:.0e} "
        f"| {r['families'][0]} / {r['families'][1]} | {r['fenced_nodes']} | {r['analyse_s']:.2f} "
        f"| {r['cut_s']:.2f} | {r['peak_mib']:.0f} | {r['file_mib']:.0f} |"
        for r in rows
    ]
    lines += [
        f"| {r['name']} | | | {r['failed']} | | | | | | |"
        for r in result["graphs"]
        if "failed" in r
    ]
    lines += ["", *exporters(rows)]
    low = [r for r in rows if r["rate"] < 1.5]
    if low:
        lines += ["", "These graphs stay below 1.5x. The list names the first fences of each:", ""]
        lines += [f"- {r['name']}: {'; '.join(r['first_fences'])}" for r in low]
    return "\n".join(lines) + "\n"


def exporters(rows: list[Row]) -> list[str]:
    """Compare the two exports of each architecture."""
    by_name = {r["name"]: r for r in rows}
    pairs = [
        (name.removesuffix(".dynamo"), new, by_name[name.replace(".dynamo", ".legacy")])
        for name, new in by_name.items()
        if name.endswith(".dynamo") and name.replace(".dynamo", ".legacy") in by_name
    ]
    apart = [pair for pair in pairs if pair[1]["rate"] < ALIKE * pair[2]["rate"]]
    lines = [
        f"Most architectures have an export of the new exporter (dynamo) and one of the old "
        f"(legacy). For {len(pairs) - len(apart)} of {len(pairs)} of them, the rate of the new "
        f"export is at least {ALIKE:g} times that of the old one."
    ]
    lines += [
        f"{name} reaches {new['rate']:.2f}x (new) and {old['rate']:.2f}x (old): the files have "
        f"{new['params'][0]:,} and {old['params'][0]:,} params before the cut, and "
        f"{new['params'][1]:,} and {old['params'][1]:,} after it."
        for name, new, old in apart
    ]
    return [" ".join(lines)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if not (SHARED / "zoo").is_dir():
        print(f"no zoo at {SHARED}: set ACGRAPH_SHARED", file=sys.stderr)
        return 2
    all_names = sorted(p.name.removesuffix(".onnx.gz") for p in (SHARED / "zoo").glob("*.onnx.gz"))
    resnet50 = measure_resnet50()
    print(json.dumps(resnet50), flush=True)
    rows = []
    for name in arguments.names or all_names:
        row = in_child(name)
        rows.append(row)
        print(json.dumps({k: v for k, v in row.items() if k != "first_fences"}), flush=True)
    host = f"{platform.machine()}, Python {platform.python_version()}, ORT {ort.__version__}"
    result = {
        "sparsity": SPARSITY, "host": host, "resnet50": resnet50, "graphs": rows,
    }  # fmt: skip
    if arguments.write:
        (ROOT / "docs/results").mkdir(exist_ok=True)
        (ROOT / "docs/results/zoo_prune.json").write_text(json.dumps(result, indent=1) + "\n")
        (ROOT / "docs/zoo.md").write_text(table(result))
    bad = [r["name"] for r in rows if not r.get("passed") or r["rate"] < 1.5]
    print(
        f"{len(rows) - len(bad)} of {len(rows)} pass the equivalence check and are at least 1.5x "
        "smaller; not:"
    )
    print(" ".join(bad) or "none")
    return 0


if __name__ == "__main__":
    sys.exit(main())
