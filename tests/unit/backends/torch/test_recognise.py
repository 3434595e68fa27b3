import math

import numpy as np
import pytest
import torch
from onnx import helper

from acgraph.backends.torch.export import export_model
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.recognise import recognise_activations
from acgraph.ir import clone_model, proto_from_model

N = helper.make_node
NUMBERS = {
    "sqrt2": np.array(math.sqrt(2), np.float32),
    "rsqrt2": np.array([math.sqrt(0.5)], np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
}


def erf(scaling):
    return [
        N("Relu", ["in"], ["x"]),
        N("Div", ["x", "sqrt2"], ["a"]) if scaling == "div" else N("Mul", ["rsqrt2", "x"], ["a"]),
        N("Erf", ["a"], ["b"]),
        N("Add", ["b", "one"], ["c"]),
    ]


ORDERS = {
    "half last": [N("Mul", ["x", "c"], ["d"]), N("Mul", ["d", "half"], ["y"])],
    "half before": [N("Mul", ["c", "half"], ["d"]), N("Mul", ["x", "d"], ["y"])],
    "half first": [N("Mul", ["half", "x"], ["d"]), N("Mul", ["d", "c"], ["y"])],
}
CASES = {
    **{
        f"gelu {scaling} {order}": ("Gelu", [*erf(scaling), *nodes])
        for scaling in ("div", "mul")
        for order, nodes in ORDERS.items()
    },
    "swish": (
        "Swish",
        [N("Relu", ["in"], ["x"]), N("Sigmoid", ["x"], ["s"]), N("Mul", ["s", "x"], ["y"])],
    ),
    "hard swish": (
        "HardSwish",
        [
            N("Relu", ["in"], ["x"]),
            N("HardSigmoid", ["x"], ["s"], alpha=1 / 6, beta=0.5),
            N("Mul", ["x", "s"], ["y"]),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_is_one_kernel_with_the_same_result(case, build, ort, normal):
    op, nodes = CASES[case]
    feeds = {"in": normal(3, 4) * 2}
    used = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in NUMBERS.items() if name in used}
    model = build(nodes, feeds, constants, ["y"], opset=17)
    module = GraphModule(model).eval()
    x = torch.from_numpy(feeds["in"])
    (found,) = module(x)
    np.testing.assert_allclose(found, ort(model, feeds)[0], rtol=1e-5, atol=1e-6)
    assert [step.node.op for step in module._plan([x], ()).steps] == ["Relu", op]
    assert proto_from_model(export_model(module, model)) == proto_from_model(clone_model(model))


OTHERWISE = {
    "another gate": [N("Sigmoid", ["in"], ["s"]), N("Mul", ["s", "half"], ["y"])],
    "gate read twice": [N("Sigmoid", ["in"], ["s"]), N("Mul", ["s", "s"], ["y"])],
    "another slope": [N("HardSigmoid", ["in"], ["s"]), N("Mul", ["in", "s"], ["y"])],
    "another offset": [
        N("Relu", ["in"], ["x"]),
        N("Div", ["x", "sqrt2"], ["a"]),
        N("Erf", ["a"], ["b"]),
        N("Add", ["b", "half"], ["c"]),
        *ORDERS["half last"],
    ],
    "no half": [*erf("div"), N("Mul", ["x", "c"], ["d"]), N("Mul", ["d", "one"], ["y"])],
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_leaves_what_only_looks_like_one(case, build, normal):
    model = build(OTHERWISE[case], {"in": normal(3, 4)}, NUMBERS, ["y"], opset=17)
    before = proto_from_model(model)
    assert recognise_activations(model) == 0
    assert proto_from_model(model) == before


def test_leaves_a_gate_that_is_an_output(build, normal):
    _, nodes = CASES["swish"]
    model = build(nodes, {"in": normal(3, 4)}, {}, ["y", "s"], opset=17)
    assert recognise_activations(model) == 0
