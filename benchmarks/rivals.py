"""Compare models written by other pruners and by ``acgraph prune``, at equal parameter counts.

    python benchmarks/rivals.py [--torch-pruning DIR] [--onnxsim DIR] [--doc docs/benchmarks.md]

The CIFAR-10 ResNets of ACGRAPH_SHARED (or ../shared) are cut to a quarter of their parameters by
magnitude, without training, because latency does not depend on training. All models of a network
run interleaved. The other pruners are not requirements of the project: install each into a folder
of its own (``pip install --no-deps --target DIR torch-pruning==1.6.1``), and pass the folders.
"""

import argparse
import ast
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort
import torch
from formats import largest_difference
from pages import rewrite

from acgraph.analysis.cost import Cost, file_cost
from acgraph.backends.ort.latency import Ratio, compare_latency, measure_latency
from acgraph.backends.ort.mobile import write_ort
from acgraph.backends.ort.session import SessionSettings
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.prune import prune
from acgraph.ir import read_model, write_model
from acgraph.lowering.base import Chooser
from acgraph.lowering.cost_model import CostModelChooser

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT / ".." / "shared"))
RATE = 4.0
#: Steps of the bisection for the share that reaches the rate.
STEPS = 9
#: Measuring time for each model, in seconds.
BUDGET_S = 4.0
#: Share of the columns that is removed in addition to filters.
COLUMNS_BESIDE = 0.5
#: Target of the speed-up, as a share of the MACs rate.
TARGET = 0.7

#: Writes a model from which a share in [0, 1) has been removed.
Cutter = Callable[[float, Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The measurement of a model from one pruner."""

    name: str
    cost: Cost
    p50_ms: float
    speed_up: Ratio | None
    ort_bytes: int
    ort_error: float


def acgraph_cut(source: Path, chooser: Chooser, *, filters: bool, columns: bool) -> Cutter:
    def cut(share: float, target: Path) -> None:
        beside = COLUMNS_BESIDE if filters else share
        found = prune(
            read_model(source),
            sparsity=share if filters else 0.0,
            columns=beside if columns else 0.0,
            column_pattern="auto",
            chooser=chooser,
        )
        write_model(found.model, target)

    return cut


def onnxsim_cut(source: Path) -> Cutter:
    from onnxsim import apply_structured_pruning

    def cut(share: float, target: Path) -> None:
        with redirect_stdout(sys.stderr):
            onnx.save(apply_structured_pruning(onnx.load(source), sparsity=share), target)

    return cut


def torch_pruning_write(depth: int, target: Path) -> None:
    """Prune to the rate with Torch-Pruning, as its benchmark in ``shared`` does."""
    import torch_pruning as tp

    script = SHARED / "bench" / "torch_pruning_cifar10.py"
    tree = ast.parse(script.read_text(encoding="utf-8"))
    tree.body.pop()  # remove the call of main, which trains
    rival = {"__file__": str(script), "__name__": "rival"}
    exec(compile(tree, str(script), "exec"), rival)
    net, example = rival["from_onnx"](depth).eval(), torch.zeros(1, 3, 32, 32)
    keep = [
        module
        for name, module in net.named_modules()
        if isinstance(module, torch.nn.Linear) or name == "conv1" or name.endswith("conv2")
    ]
    pruner = tp.pruner.MagnitudePruner(
        net, example, importance=tp.importance.GroupMagnitudeImportance(p=2), global_pruning=True,
        pruning_ratio=0.98, iterative_steps=200, ignored_layers=keep, max_pruning_ratio=0.95,
    )  # fmt: skip
    before = tp.utils.count_ops_and_params(net, example)[1]
    while before / tp.utils.count_ops_and_params(net, example)[1] < RATE:
        pruner.step()
    with redirect_stdout(sys.stderr):
        torch.onnx.export(net, (example,), target, dynamo=False)


def to_rate(cut: Cutter, dense: Path, target: Path) -> float:
    """Find the smallest share that reaches the rate of parameters by bisection; write the model."""
    params = file_cost(dense).params
    low, high = 0.0, 1.0 - 1.0 / 256
    for _ in range(STEPS):
        middle = (low + high) / 2
        cut(middle, target)
        if params / file_cost(target).params < RATE:
            low = middle
        else:
            high = middle
    cut(high, target)
    return high


def write_all(depth: int, folder: Path, rivals: set[str]) -> tuple[dict[str, Path], list[str]]:
    """Write every model; return their paths by name, and the names of missing pruners."""
    dense = SHARED / "models" / f"cifar10_resnet{depth}_folded.onnx"
    found, missing = {"dense": dense}, []
    if "onnxsim" in rivals:
        found["onnxsim 0.8.1, structured"] = path = folder / "onnxsim.onnx"
        to_rate(onnxsim_cut(dense), dense, path)
    else:
        missing.append("onnxsim 0.8.1")
    if "torch-pruning" in rivals:
        found["Torch-Pruning 1.6.1, exported"] = path = folder / "tp.onnx"
        torch_pruning_write(depth, path)
    else:
        missing.append("Torch-Pruning 1.6.1")
    timed = make_chooser("latency", timing=True)
    for name, filters, columns in (
        ("filters", True, False),
        ("columns", False, True),
        ("filters and columns", True, True),
    ):
        found[f"acgraph prune, {name}"] = path = folder / f"{filters}-{columns}.onnx"
        estimated = acgraph_cut(dense, CostModelChooser(), filters=filters, columns=columns)
        share = to_rate(estimated, dense, path)
        acgraph_cut(dense, timed, filters=filters, columns=columns)(share, path)
        print(f"resnet{depth} {name}: cut {share:.3f}", file=sys.stderr)
    return found, missing


def measure(models: dict[str, Path], folder: Path) -> list[Row]:
    latencies = measure_latency(list(models.values()), SessionSettings(), budget_s=BUDGET_S)
    rows = []
    for (name, path), latency in zip(models.items(), latencies, strict=True):
        target = folder / f"{path.stem}.ort"
        write_ort(path, target)
        rows.append(
            Row(
                name=name,
                cost=file_cost(path),
                p50_ms=latency.p50_ms,
                speed_up=compare_latency(latencies[0], latency) if name != "dense" else None,
                ort_bytes=target.stat().st_size,
                ort_error=largest_difference(path, target),
            )
        )
    return rows


def table(depth: int, rows: list[Row], missing: list[str]) -> list[str]:
    dense = rows[0]
    lines = [
        f"ResNet-{depth}:",
        "",
        "| | params | MACs | bytes | `.ort` bytes | latency, ms | speed-up | 95 % interval "
        "| speed-up / MACs rate | error of `.ort` |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rate = dense.cost.macs / row.cost.macs
        speed = ("", "", "")
        if row.speed_up is not None:
            ratio = row.speed_up
            speed = (
                f"{ratio.median:.2f}x",
                f"{ratio.low:.2f} to {ratio.high:.2f}",
                f"{ratio.median / rate:.0%}",
            )
        lines.append(
            f"| {row.name} | {row.cost.params:,} ({dense.cost.params / row.cost.params:.2f}x) "
            f"| {row.cost.macs:,} ({rate:.2f}x) | {row.cost.bytes:,} | {row.ort_bytes:,} "
            f"| {row.p50_ms:.3f} | {' | '.join(speed)} | {row.ort_error:.0e} |"
        )
    lines += [f"| {name} | not installed |" + " |" * 8 for name in missing]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-pruning", type=Path, help="folder of the installed package")
    parser.add_argument("--onnxsim", type=Path, help="folder of the installed package")
    parser.add_argument("--doc", type=Path)
    arguments = parser.parse_args()
    rivals = set()
    for name in ("torch-pruning", "onnxsim"):
        folder = getattr(arguments, name.replace("-", "_"))
        if folder is not None:
            rivals.add(name)
            sys.path.append(str(folder))
    lines = []
    for depth in (20, 56):
        with tempfile.TemporaryDirectory() as name:
            models, missing = write_all(depth, Path(name), rivals)
            lines += table(depth, measure(models, Path(name)), missing)
    lines.append(
        f"ONNX Runtime {ort.__version__}, {platform.machine()}, one thread, batch 1, NCHWc off; "
        f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}. Latencies are medians of "
        "interleaved runs; speed-ups compare runs that are close in time. Target: a speed-up of at "
        f"least {TARGET:.0%} of the MACs rate."
    )
    print("\n".join(lines))
    if arguments.doc is not None:
        rewrite(arguments.doc, "rivals", "\n".join(lines))


if __name__ == "__main__":
    main()
