"""Run the zoo through the PyTorch backend and compare with ONNX Runtime.

    OMP_NUM_THREADS=1 python benchmarks/zoo_torch.py [NAME ...] [--cache FILE] [--write]

For every graph, this reports the seconds to load, run and export it, the largest error relative to
the largest output of ONNX Runtime, whether all weights get a finite gradient, whether the export
equals the original, and whether a batch of two runs. If the error is above 1e-4, both results are
also compared with a run in float64, which shows which of them is inaccurate.

Graphs in ``--cache`` are not run again. ``--write`` writes the table to docs/torch.md.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from pages import rewrite

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT / ".." / "shared")).resolve()
sys.path.insert(0, str(SHARED / "zoo"))

import zoo  # noqa: E402

from acgraph.backends.torch.export import export_model  # noqa: E402
from acgraph.backends.torch.graph_module import GraphModule  # noqa: E402
from acgraph.errors import AcgraphError  # noqa: E402
from acgraph.ir import Model, model_from_proto  # noqa: E402

#: Largest error, relative to the largest output of ONNX Runtime.
TOLERANCE = 1e-4


def run_reference(data: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def relative_error(reference: list[np.ndarray], outputs: list[np.ndarray]) -> float:
    return max(
        float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12))
        for a, b in zip(reference, outputs, strict=True)
    )


def gradients(module: GraphModule, inputs: list[torch.Tensor]) -> str:
    module.eval()
    outputs = module(*inputs)
    sum(o.square().mean() for o in outputs).backward()
    names = module.parameter_names()
    missing = [names[k] for k, p in module.named_parameters() if p.grad is None]
    broken = [
        names[k]
        for k, p in module.named_parameters()
        if p.grad is not None and not p.grad.isfinite().all()
    ]
    if missing or broken:
        return f"NO({len(missing)} missing {missing[:3]}, {len(broken)} not finite {broken[:3]})"
    return "yes"


def is_equal(model: Model, other: Model) -> bool:
    before, after = model.constants(), other.constants()
    return list(before) == list(after) and all(
        before[k].dtype == after[k].dtype and before[k].tobytes() == after[k].tobytes()
        for k in before
    )


def batch_of_two(module: GraphModule, inputs: list[torch.Tensor]) -> str:
    rng = torch.Generator().manual_seed(1)
    others = [torch.randn(x.shape, generator=rng) for x in inputs]
    module.eval()
    with torch.no_grad():
        alone = [module(*inputs), module(*others)]
        try:
            both = module(*(torch.cat(pair) for pair in zip(inputs, others, strict=True)))
        except AcgraphError as error:
            return f"fixed: {error.diagnostic.message}"
    error = max(
        float((torch.cat(pair) - b).abs().max() / b.abs().max())
        for *pair, b in zip(*alone, both, strict=True)
    )
    return "ok" if error < 1e-3 else f"WRONG {error:.1e}"


def in_float64(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model in double precision, as an accurate reference."""
    double = onnx.ModelProto()
    double.CopyFrom(proto)
    graph = double.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for tensor in graph.initializer:
        widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                widen(attribute.t)
            if node.op_type == "Cast" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.DOUBLE
    return double


def widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == onnx.TensorProto.FLOAT:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def outputs_in_float64(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    module = GraphModule(model_from_proto(in_float64(proto))).eval()
    with torch.no_grad():
        found = module(*(torch.from_numpy(feeds[n]).double() for n in module.input_names))
    if any(o.is_floating_point() and o.dtype != torch.float64 for o in found):
        sys.exit("a constant or a cast is not float64, so the reference is not accurate")
    return [o.numpy() for o in found]


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    load_s: float
    export_s: float
    run_s: float
    error: float
    ort_error: float | None  # against float64, where the error is above TOLERANCE
    torch_error: float | None
    weights: int
    gradients: str
    export: bool
    batch2: str


def check(name: str) -> Row:
    proto = zoo.load(name)
    data = proto.SerializeToString()
    model = model_from_proto(proto, source=name)
    start = time.perf_counter()
    module = GraphModule(model).eval()
    load_s = time.perf_counter() - start
    rng = np.random.default_rng(0)
    feeds = {
        t.name: rng.standard_normal([d if isinstance(d, int) else 1 for d in t.shape]).astype("f")
        for t in model.graph.inputs
    }
    reference = run_reference(data, feeds)
    del data
    inputs = [torch.from_numpy(feeds[n]) for n in module.input_names]
    start = time.perf_counter()
    with torch.no_grad():
        outputs = module(*inputs)
    run_s = time.perf_counter() - start
    error = relative_error(reference, [o.numpy() for o in outputs])
    ort_error = torch_error = None
    if error > TOLERANCE:
        exact = outputs_in_float64(proto, feeds)
        ort_error = relative_error(exact, reference)
        torch_error = relative_error(exact, [o.numpy() for o in outputs])
    start = time.perf_counter()
    exported = export_model(module, model)
    export_s = time.perf_counter() - start
    return Row(
        name=name,
        load_s=load_s,
        export_s=export_s,
        run_s=run_s,
        error=error,
        ort_error=ort_error,
        torch_error=torch_error,
        weights=len(module.weights()),
        gradients=gradients(module, inputs),
        export=is_equal(model, exported),
        batch2=batch_of_two(module, inputs),
    )


def read_cache(cache: Path | None) -> dict[str, Row]:
    if cache is None or not cache.exists():
        return {}
    rows = [Row(**json.loads(text)) for text in cache.read_text().splitlines()]
    return {row.name: row for row in rows}


def run_all(names: list[str], cache: Path | None) -> tuple[list[Row], list[str]]:
    done, failures = read_cache(cache), []
    for name in names:
        if name in done:
            continue
        try:
            done[name] = check(name)
        except AcgraphError as error:
            failures.append(name)
            print(f"{name:44s} FAILED {error}", flush=True)
            continue
        print(line(done[name]), flush=True)
        if cache is not None:
            with cache.open("a") as file:
                file.write(json.dumps(asdict(done[name])) + "\n")
        gc.collect()
    return [done[name] for name in names if name in done], failures


def line(row: Row) -> str:
    exact = "" if row.ort_error is None else f" ({row.ort_error:.0e}, {row.torch_error:.0e})"
    return (
        f"| {row.name} | {row.load_s:.2f} | {row.export_s:.2f} | {row.run_s:.2f} | "
        f"{row.error:.0e}{exact} | {row.weights} | {row.gradients} | "
        f"{'yes' if row.export else 'NO'} | {row.batch2.partition(':')[0]} |"
    )


def table(rows: list[Row], failures: list[str]) -> str:
    both = [row.load_s + row.export_s for row in rows]
    off = [row for row in rows if row.error > TOLERANCE]
    fixed = [
        f"- {row.name}: {row.batch2.removeprefix('fixed: ')}" for row in rows if row.batch2 != "ok"
    ]
    return "\n".join(
        [
            f"{len(rows)} graphs run, {len(failures)} do not. Loading and exporting together take "
            f"{statistics.median(both):.2f} s (median), {max(both):.2f} s (maximum), on "
            f"{torch.get_num_threads()} thread ({platform.machine()}, PyTorch "
            f"{torch.__version__.partition('+')[0]}, ONNX Runtime {onnxruntime.__version__}). "
            f"{len(rows) - len(off)} graphs agree with ONNX Runtime within {TOLERANCE:g} of the "
            "largest output. For the others, the errors of ONNX Runtime and of PyTorch relative to "
            "float64 follow in brackets.",
            "",
            "| graph | load, s | export, s | first run, s | error | weights | finite gradients "
            "| export equal | batch of two |",
            "|" + "---|" * 9,
            *map(line, rows),
            *(["", "Graphs with a fixed batch size, and the reason:", "", *fixed] if fixed else []),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=zoo.names())
    parser.add_argument("--cache", type=Path, help="JSON lines with the results of graphs")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    rows, failures = run_all(list(options.names), options.cache)
    text = table(rows, failures)
    print(text)
    if options.write:
        rewrite(ROOT / "docs" / "torch.md", "zoo", text)


if __name__ == "__main__":
    main()
