"""Constants that an exporter merged because they were equal tie nothing together."""

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import helper, numpy_helper

from acgraph.ir import Model, count_params, model_from_proto, proto_from_model
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.tie import retie_constants, write_once


def twice(op: str, slot: int, value: np.ndarray, *, node: bool = False, domain: str = "") -> Model:
    """Two nodes of an operator that read one constant at the same input, others at the rest."""
    rng = np.random.default_rng(0)
    nodes, held = [], []
    shared = numpy_helper.from_array(value, "shared")
    if node:
        nodes.append(helper.make_node("Constant", [], ["shared"], "constant", value=shared))
    else:
        held.append(shared)
    for name in ("first", "second"):
        inputs = ["x"]
        for other in range(1, slot):
            inputs.append(f"{name}.{other}")
            weight = rng.standard_normal((4, 4)).astype(np.float32)
            held.append(numpy_helper.from_array(weight, inputs[-1]))
        inputs = ["shared", "x"] if slot == 0 else [*inputs, "shared"]
        nodes.append(helper.make_node(op, inputs, [f"{name}.y"], name, domain=domain))
    value_info = helper.make_tensor_value_info
    outputs = [value_info(f"{name}.y", 1, None) for name in ("first", "second")]
    graph = helper.make_graph(nodes, "g", [value_info("x", 1, None)], outputs, held)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return model_from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=8))


ZEROS = np.zeros((1, 2, 4), np.float32)
NUMBERS = np.arange(8, dtype=np.float32).reshape(2, 4)
VECTOR = np.arange(4, dtype=np.float32)

APART: dict[str, tuple[str, int, np.ndarray]] = {
    "initial state of a GRU": ("GRU", 5, ZEROS),
    "initial state of an LSTM": ("LSTM", 5, ZEROS),
    "initial cell of an LSTM": ("LSTM", 6, ZEROS),
    "peepholes": ("LSTM", 7, np.zeros((1, 12), np.float32)),
    "bias of an LSTM": ("LSTM", 3, np.zeros((1, 32), np.float32)),
    "scale of a LayerNormalization": ("LayerNormalization", 1, np.ones(4, np.float32)),
    "one number for a PRelu": ("PRelu", 1, np.full(1, 0.25, np.float32)),
    "slopes": ("PRelu", 1, np.full((4, 1, 1), 0.25, np.float32)),
    "an exponent": ("Pow", 1, np.full(4, 2, np.float32)),
    "a branch of a Where": ("Where", 2, VECTOR),
    "a condition": ("Where", 0, np.array([True, False, True, True])),
    "what is appended": ("Concat", 1, VECTOR),
    "a maximum": ("Max", 1, VECTOR),
    "a matrix of ones": ("Mul", 1, np.ones((4, 4), np.float32)),
    "a weight of zeros": ("MatMul", 1, np.zeros((4, 4), np.float32)),
    "what is not understood": ("Unheard", 1, VECTOR),
}


@pytest.mark.parametrize("node", [False, True])
@pytest.mark.parametrize("case", APART)
def test_every_input_of_every_operator(case: str, node: bool) -> None:
    op, slot, value = APART[case]
    model = twice(op, slot, value, node=node, domain="com.microsoft" if op == "Unheard" else "")
    before = count_params(proto_from_model(model))
    copies = untie_constants(model)
    assert copies == {"shared/second": "shared"}
    readers = {n.name: n.inputs[slot].name for n in model.graph.nodes if n.op == op}
    assert readers == {"first": "shared", "second": "shared/second"}
    retie_constants(model, copies)
    assert {n.inputs[slot].name for n in model.graph.nodes if n.op == op} == {"shared"}
    assert count_params(proto_from_model(model)) == before


TIED: dict[str, tuple[str, int, np.ndarray]] = {
    "the weight of a layer": ("MatMul", 1, NUMBERS),
    "the weight of a layer with one filter": ("Gemm", 1, NUMBERS[:1]),
    "a table": ("Gather", 0, NUMBERS),
    "different numbers on two axes": ("Add", 1, NUMBERS),
    "sizes": ("Reshape", 1, np.array([1, 4])),
    "a number": ("Mul", 1, np.array(2, np.float32)),
}


@pytest.mark.parametrize("case", TIED)
def test_what_is_shared_by_design_stays_so(case: str) -> None:
    assert untie_constants(twice(*TIED[case])) == {}


def test_copies_that_differ_stay_apart() -> None:
    model = twice("Where", 2, VECTOR)
    copies = untie_constants(model)
    next(n for n in model.graph.nodes if n.name == "second").inputs[2].values = VECTOR[:2]
    retie_constants(model, copies)
    assert {n.inputs[2].name for n in model.graph.nodes} == {"shared", "shared/second"}


@pytest.mark.parametrize(("size", "left"), [(1 << 11, 1), (8, 2)])
def test_large_constants_are_written_once(size: int, left: int) -> None:
    model = twice("Add", 1, VECTOR)
    for name, node in zip(("one", "other"), model.graph.nodes, strict=True):
        node.inputs[1] = gs.Constant(name, np.arange(size, dtype=np.float32))
    write_once(model, {})
    assert len({node.inputs[1].name for node in model.graph.nodes}) == left


def test_recurrent_layers_with_one_initial_state_are_cut_apart(
    make_net: Any, check_equivalence: Any
) -> None:
    """Only the second feeds a LayerNormalization, across which no cut is exact."""
    net = make_net()
    x = net.op("Relu", net.input(5, 1, 12))
    state = net.const(np.zeros((1, 1, 16), np.float32), "state")
    for size in (12, 16):
        weights = [net.w(1, 64, size), net.w(1, 64, 16), net.w(1, 128), "", state, state]
        y, *_ = net.op("LSTM", x, *weights, outputs=3, hidden_size=16)
        x = net.op("Squeeze", y, net.ints(1))
    scale, shift = net.positive(16), net.w(16)
    x = net.op("LayerNormalization", x, scale, shift, axis=-1)
    outcome = check_equivalence(net.proto(net.op("MatMul", x, net.w(16, 4))))
    assert outcome.rate > 1.3


def test_a_weight_that_is_read_through_identities_stays_one() -> None:
    """Exporters write one block that runs several times so: its weight is one by design."""
    names = ("p", "q")
    nodes = [helper.make_node("Identity", ["w"], [name], f"as_{name}") for name in names]
    nodes += [helper.make_node("MatMul", ["x", name], [f"{name}.y"], name) for name in names]
    value_info = helper.make_tensor_value_info
    outputs = [value_info(f"{name}.y", 1, None) for name in names]
    held = [numpy_helper.from_array(NUMBERS, "w")]
    graph = helper.make_graph(nodes, "g", [value_info("x", 1, None)], outputs, held)
    opsets = [helper.make_opsetid("", 17)]
    model = model_from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    assert untie_constants(model) == {}
