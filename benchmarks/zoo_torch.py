"""Run the zoo through the PyTorch backend and compare with ONNX Runtime.

    OMP_NUM_THREADS=1 python benchmarks/zoo_torch.py [NAME ...]

Prints for every graph: seconds to load and to run, the largest error relative to the largest
output of ONNX Runtime, whether all weights get a finite gradient, whether the export equals the
original, and how a batch of two runs.
"""

import gc
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

SHARED = Path(os.environ.get("ACGRAPH_SHARED", "../shared")).resolve()
sys.path.insert(0, str(SHARED / "zoo"))

import zoo  # noqa: E402

from acgraph.backends.torch.graph_module import GraphModule, export_model  # noqa: E402
from acgraph.errors import AcgraphError  # noqa: E402
from acgraph.ir import Model, model_from_proto  # noqa: E402


def run_reference(data: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def relative_error(reference: list[np.ndarray], outputs: tuple[torch.Tensor, ...]) -> float:
    return max(
        float(np.abs(a - b.numpy()).max() / max(np.abs(a).max(), 1e-12))
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


def export_equals(module: GraphModule, model: Model) -> bool:
    before, after = model.constants(), export_model(module, model).constants()
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
            return f"fixed ({str(error)[:110]})"
    error = max(
        float((torch.cat(pair) - b).abs().max() / b.abs().max())
        for *pair, b in zip(*alone, both, strict=True)
    )
    return "ok" if error < 1e-3 else f"WRONG {error:.1e}"


def check(name: str) -> tuple[float, float]:
    proto = zoo.load(name)
    data = proto.SerializeToString()
    model = model_from_proto(proto, source=name)
    del proto
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
    error = relative_error(reference, outputs)
    equal = export_equals(module, model)
    two = batch_of_two(module, inputs)
    grads = gradients(module, inputs)
    print(
        f"{name:44s} load {load_s:5.2f}s run {run_s:5.2f}s error {error:.1e} "
        f"weights {len(module.weights()):4d} gradients {grads} export {equal} batch2 {two}",
        flush=True,
    )
    return load_s, error


def main() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    results, failures = [], []
    for name in sys.argv[1:] or zoo.names():
        try:
            results.append(check(name))
        except AcgraphError as error:
            failures.append(name)
            print(f"{name:44s} FAILED {error}", flush=True)
        gc.collect()
    loads, errors = zip(*results, strict=True)
    print(
        f"{len(results)} ran, {len(failures)} failed {failures}; median load "
        f"{statistics.median(loads):.2f}s, largest error {max(errors):.1e}, "
        f"{sum(e > 1e-4 for e in errors)} above 1e-4"
    )


if __name__ == "__main__":
    main()
