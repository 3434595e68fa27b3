"""Shape tensors are computed from sizes alone where they follow from them."""

import numpy as np
import pytest
import torch
from onnx import helper

from acgraph.backends.torch import compiled
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.host_values import values_by_size
from acgraph.backends.torch.plan import Variant

N = helper.make_node
CONSTANTS = {
    "w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype("f4"),
    "zero": np.array([0], "i8"),
    "rest": np.array([-1], "i8"),
    "half": np.array(0.5, "f4"),
}
BY_SIZE = [
    N("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
    N("Mul", ["a", "half"], ["b"]),
    N("Shape", ["b"], ["s"]),
    N("Gather", ["s", "zero"], ["n"]),
    N("Concat", ["n", "rest"], ["to"], axis=0),
    N("Reshape", ["b", "to"], ["y"]),
]
BY_VALUE = [
    N("Relu", ["x"], ["r"]),
    N("NonZero", ["r"], ["places"]),
    N("Shape", ["places"], ["s"]),
    N("Cast", ["s"], ["y"], to=1),
]


def _plan(module, x):
    program = module._program
    names = tuple(sorted(program.host))
    plan = program.compile(Variant(False, None, {}, names), {}, torch.device("cpu"))
    return plan, module._compiled.initial_slots(plan, [torch.from_numpy(x)])


def _run(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x))[0].numpy()


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype("f4")


def test_values_that_follow_from_sizes_are_those_of_a_real_run(x, build, ort, monkeypatch):
    feeds = {"x": x}
    model = build(BY_SIZE, feeds, CONSTANTS, ["y"], shapes={"x": ["N", 3, 8, 8]})
    module = GraphModule(model)
    plan, slots = _plan(module, x)
    found = values_by_size(module._program, plan, slots)
    assert found is not None
    with torch.no_grad():
        real = module._compiled.execute(plan, [torch.from_numpy(x)])[1:]
    for ours, theirs in zip(found, real, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
    # Nothing is computed twice: the network itself runs once.
    runs = []
    execute = compiled.CompiledPlans.execute
    monkeypatch.setattr(compiled.CompiledPlans, "execute", lambda *a: runs.append(1) or execute(*a))
    np.testing.assert_allclose(_run(module, x), ort(model, feeds)[0], rtol=1e-5)
    assert len(runs) == 1


def test_a_size_that_depends_on_values_needs_a_real_run(x, build, ort):
    feeds = {"x": x}
    model = build(BY_VALUE, feeds, CONSTANTS, ["y"])
    module = GraphModule(model)
    assert values_by_size(module._program, *_plan(module, x)) is None
    np.testing.assert_array_equal(_run(module, x), ort(model, feeds)[0])
