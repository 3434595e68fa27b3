"""Run two files in ONNX Runtime on realistic inputs, from outside of acgraph; print JSON.

    python benchmarks/field_check.py NAME SMALL ZEROED

ZEROED is the original file with zeros where SMALL was cut. An output counts as equal where it
differs by at most 1e-4 of its largest value, or by at most four times what rounding alone does:
the zeroed file is run without ONNX Runtime's optimisations, and on inputs moved by one unit in the
last place, and its own change is measured. Of a file with 16-bit weights it is at least one unit in
the last place of 16 bits: integers at the input cannot be moved. A Sigmoid or Softmax at the end
may be saturated and hide everything: what it reads is compared as well.
"""

import json
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from field_files import FILES, FieldFile
from field_inputs import Shape

LAW = 1e-4
NOISE_TIMES = 4
SEEDS = 2
#: One unit in the last place of float16 and bfloat16, relative.
HALF = {onnx.TensorProto.FLOAT16: 2.0**-11, onnx.TensorProto.BFLOAT16: 2.0**-8}
SATURATING = ("Sigmoid", "HardSigmoid", "Softmax", "LogSoftmax", "Tanh", "Clip", "ArgMax")
Feeds = dict[str, np.ndarray]


def feeds(file: FieldFile, sizes: Mapping[str, Shape], seed: int) -> Feeds:
    """Make realistic inputs of the given sizes."""
    rng = np.random.default_rng(seed)
    return {name: np.asarray(file.inputs[name](rng, shape)) for name, shape in sizes.items()}


def squeezed(model: onnx.ModelProto) -> list[tuple[int, str, str]]:
    """List what saturating operators at the end read: number of the output, operator, tensor."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found = []
    for number, output in enumerate(model.graph.output):
        node = makers.get(output.name)
        while node is not None and node.op_type in SATURATING:
            found.append((number, node.op_type, node.input[0]))
            node = makers.get(node.input[0])
    return found


def widened(paths: Sequence[str]) -> list[bytes]:
    """Read files, and let them return what their last operators would squeeze."""
    models = [onnx.load(path) for path in paths]
    told = [squeezed(model) for model in models]
    if len({tuple(entry[:2] for entry in one) for one in told}) == 1:
        for model, entries in zip(models, told, strict=True):
            known = {output.name for output in model.graph.output}
            names = dict.fromkeys(name for *_, name in entries if name not in known)
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return [model.SerializeToString() for model in models]


def grain(path: str) -> float:
    """Return what one rounding of the coarsest weights of a file is worth, relative."""
    graph = onnx.load(path).graph
    kinds = {tensor.data_type for tensor in graph.initializer}
    kinds |= {a.t.data_type for n in graph.node for a in n.attribute if a.HasField("t")}
    return max((HALF[kind] for kind in kinds if kind in HALF), default=0.0)


def session(path: bytes, *, plain: bool = False) -> ort.InferenceSession:
    """Load a model on the CPU; ``plain`` without optimisations."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def nudge(values: Feeds, rng: np.random.Generator) -> Feeds:
    """Move every float by one unit in the last place, up or down."""
    return {
        name: np.nextafter(a, rng.choice([-np.inf, np.inf], a.shape).astype(a.dtype))
        if a.dtype.kind == "f"
        else a
        for name, a in values.items()
    }


def distances(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> list[float]:
    """Return for each output the largest difference, as a share of its largest value."""
    found = []
    for a, b in zip(ours, theirs, strict=True):
        if a.shape != b.shape:
            found.append(float("inf"))
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        gap = np.abs(x - y)
        gap[(x == y) | (np.isnan(x) & np.isnan(y))] = 0
        largest = float(np.abs(y[np.isfinite(y)]).max(initial=1e-30))
        found.append(float(gap.max(initial=0.0)) / largest)
    return found


def check(file: FieldFile, small: str, zeroed: str) -> dict[str, object]:
    """Compare on every size; tell the worst error beside what rounding explains of it."""
    files = widened((small, zeroed))
    ours, theirs, plain = session(files[0]), session(files[1]), session(files[1], plain=True)
    names, least = {x.name for x in ours.get_inputs()}, grain(zeroed)
    worst = {"error": 0.0, "noise": 0.0, "equal": True, "moved": False}
    first: list[np.ndarray] | None = None
    for sizes in file.sizes:
        for seed in range(SEEDS):
            given = feeds(file, sizes, seed)
            fed = {k: v for k, v in given.items() if k in names}
            expected = theirs.run(None, given)
            moved = nudge(given, np.random.default_rng(seed))
            noise = [
                max(*pair, least)
                for pair in zip(
                    distances(plain.run(None, given), expected),
                    distances(theirs.run(None, moved), expected),
                    strict=True,
                )
            ]
            errors = distances(ours.run(None, fed), expected)
            for error, floor in zip(errors, noise, strict=True):
                worst["equal"] &= error <= max(LAW, NOISE_TIMES * floor)
                worst["error"] = max(worst["error"], error)
                worst["noise"] = max(worst["noise"], floor)
            if first is not None and sizes is file.sizes[0]:
                worst["moved"] |= any(distances(expected, first))
            first = expected if first is None else first
    return worst


def main() -> None:
    name, small, zeroed = sys.argv[1:]
    (file,) = (f for f in FILES if f.name == name)
    print(json.dumps(check(file, small, zeroed)))


if __name__ == "__main__":
    main()
