"""A builder of small ONNX graphs, and ONNX Runtime as the oracle of the equivalence."""

# isort: off
import acgraph.telemetry  # noqa: F401  # before anything imports onnxruntime

# isort: on
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.ir import Model, count_params, model_from_proto, proto_from_model
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.plan import Plan
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import masked_model, shrink
from acgraph.pruning.tie import write_once

ort.set_default_logger_severity(4)


@pytest.fixture(autouse=True)
def _leave_the_process_as_it_was() -> Iterator[None]:
    """Undo what other tests leave behind for their neighbours.

    The command line takes the package's log for itself, where ``caplog`` does not see it; and
    Hypothesis refuses to run on a thread that flushes denormals.
    """
    logger = logging.getLogger("acgraph")
    before = (logger.level, logger.propagate, list(logger.handlers))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(False)
    yield
    logger.setLevel(before[0])
    logger.propagate = before[1]
    logger.handlers[:] = before[2]


class Net:
    """Adds nodes one by one; weights are random, names are given in order."""

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def input(self, *shape: int | str, name: str = "x", dtype: Any = np.float32) -> str:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def const(self, array: Any, name: str = "") -> str:
        name = name or f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int64))

    def w(self, *shape: int, name: str = "") -> str:
        fan = max(int(np.prod(shape[1:])), 1)
        return self.const((self._rng.standard_normal(shape) / np.sqrt(fan)).astype("f4"), name)

    def positive(self, *shape: int) -> str:
        return self.const(self._rng.uniform(0.5, 1.5, shape).astype("f4"))

    def op(self, op_type: str, *inputs: str, outputs: int = 1, name: str = "", **attrs: Any) -> Any:
        name = name or f"{op_type}_{len(self.nodes)}"
        made = [f"{name}:{j}" for j in range(outputs)]
        domain = attrs.pop("domain", "")
        self.nodes.append(helper.make_node(op_type, inputs, made, name, domain=domain, **attrs))
        return made[0] if outputs == 1 else made

    def conv(self, x: str, i: int, o: int, k: int = 3, bias: bool = True, **attrs: Any) -> str:
        weights = [self.w(o, i // attrs.get("group", 1), k, k)] + ([self.w(o)] if bias else [])
        attrs.setdefault("pads", [k // 2] * 4)
        return str(self.op("Conv", x, *weights, **attrs))

    def bn(self, x: str, c: int) -> str:
        scale, var = self.positive(c), self.positive(c)
        return str(self.op("BatchNormalization", x, scale, self.w(c), self.w(c), var))

    def gemm(self, x: str, i: int, o: int, **attrs: Any) -> str:
        return str(self.op("Gemm", x, self.w(o, i), self.w(o), transB=1, **attrs))

    def proto(self, *outputs: str, integers: Sequence[str] = ()) -> onnx.ModelProto:
        results = [helper.make_tensor_value_info(y, 1, None) for y in outputs]
        results += [helper.make_tensor_value_info(y, 7, None) for y in integers]
        graph = helper.make_graph(self.nodes, "g", self.inputs, results, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        domains = {node.domain for node in self.nodes if node.domain}
        opsets += [helper.make_opsetid(domain, 1) for domain in sorted(domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        known = all(y.type.tensor_type.HasField("shape") for y in model.graph.output)
        if not known and not domains:
            made = run_ort(model, random_feeds(model, {}))
            for y, array in zip(model.graph.output, made, strict=True):
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                y.CopyFrom(helper.make_tensor_value_info(y.name, kind, array.shape))
        return model


@dataclass
class Outcome:
    """What became of a model."""

    dependency: DependencyGraph
    plan: Plan
    before: onnx.ModelProto
    after: onnx.ModelProto
    masked: onnx.ModelProto
    error: float

    @property
    def rate(self) -> float:
        return count_params(self.before) / count_params(self.after)

    def shape(self, name: str) -> list[int]:
        """Sizes of a constant of the shrunk model."""
        return list(next(t.dims for t in self.after.graph.initializer if t.name == name))

    def node(self, name: str) -> onnx.NodeProto:
        return next(n for n in self.after.graph.node if n.name == name)


def run_ort(proto: onnx.ModelProto, feeds: Mapping[str, Any]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feeds)))


def random_feeds(proto: onnx.ModelProto, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    feeds = {}
    for value in proto.graph.input:
        kind = value.type.tensor_type
        dims = [d.dim_value or sizes.get(d.dim_param, 2) for d in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        integral = np.issubdtype(dtype, np.integer)
        x = rng.integers(0, 4, dims) if integral else rng.standard_normal(dims)
        feeds[value.name] = np.asarray(x, dtype)
    return feeds


def cut(
    source: onnx.ModelProto | Model,
    sparsity: float = 0.5,
    *,
    plan: Plan | Callable[[DependencyGraph], Plan] | None = None,
    allow_inexact: bool = False,
    sizes: Sequence[Mapping[str, int]] = ({},),
    tolerance: float = 1e-4,
) -> Outcome:
    """Prune, and check the equivalence, the checker, and that no output changed its shape."""
    model = source if isinstance(source, Model) else model_from_proto(source)
    before = proto_from_model(model)
    copies = untie_constants(model)
    dependency = analyse(model)
    if callable(plan):
        plan = plan(dependency)
    if plan is None:
        constants = model.constants()
        plan = magnitude_plan(dependency, constants, sparsity, allow_inexact=allow_inexact)
    shrunk, masked = shrink(dependency, plan).model, masked_model(dependency, plan)
    write_once(shrunk, copies)
    after, zeroed = proto_from_model(shrunk), proto_from_model(masked)
    onnx.checker.check_model(after, full_check=True)
    error = 0.0
    for chosen in sizes:
        feeds = random_feeds(before, chosen)
        dense = run_ort(before, feeds)
        pairs = zip(run_ort(after, feeds), run_ort(zeroed, feeds), dense, strict=True)
        for small, expected, original in pairs:
            assert small.shape == expected.shape == original.shape
            assert np.isfinite(expected).all()
            scale = max(float(np.abs(expected).max()), 1e-6)
            error = max(error, float(np.abs(small - expected).max()) / scale)
    if not allow_inexact:
        assert error <= tolerance
    assert count_params(after) <= count_params(before) + 64 * len(after.graph.node)
    return Outcome(dependency, plan, before, after, zeroed, error)


@pytest.fixture(scope="session")
def make_net() -> type[Net]:
    return Net


@pytest.fixture(scope="session")
def check_equivalence() -> Callable[..., Outcome]:
    return cut
