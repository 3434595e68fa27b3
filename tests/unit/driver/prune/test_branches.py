"""``prune`` cuts inside the branches of an If whose condition depends on an input."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.analysis.obstacles import INNER_REASON
from acgraph.driver.cut_plan.apply import apply_plan
from acgraph.driver.prune import attempts
from acgraph.driver.prune.magnitude import prune
from acgraph.driver.prune.result import PruneReport
from acgraph.errors import UsageError, VerifyError
from acgraph.ir import Model, model_from_proto, proto_from_model
from acgraph.ir.check import check_model
from acgraph.pruning.cut_plan import CutPlan
from acgraph.pruning.plan import Plan
from acgraph.report.shortfall import remedy

node = helper.make_node
WIDTH, HIDDEN = 8, 24


def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def constants(**arrays: Any) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]


def two_layers(mark: str, data: str, seed: int) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Two matrix products with a hidden layer that can be cut; ``MARK_y`` is the result."""
    rng = np.random.default_rng(seed)
    nodes = [
        node("MatMul", [data, f"{mark}_w1"], [f"{mark}_a"], f"{mark}_fc1"),
        node("Relu", [f"{mark}_a"], [f"{mark}_b"], f"{mark}_relu"),
        node("MatMul", [f"{mark}_b", f"{mark}_w2"], [f"{mark}_y"], f"{mark}_fc2"),
    ]
    return nodes, {
        f"{mark}_w1": rng.standard_normal((WIDTH, HIDDEN)).astype(np.float32),
        f"{mark}_w2": rng.standard_normal((HIDDEN, WIDTH)).astype(np.float32),
    }


def branch(nodes: Sequence[onnx.NodeProto], output: str, **arrays: Any) -> onnx.GraphProto:
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    return helper.make_graph(list(nodes), "b", [], outputs, constants(**arrays))


def net(
    nodes: Sequence[onnx.NodeProto], *inputs: onnx.ValueInfoProto, output: str = "y", **arrays: Any
) -> onnx.ModelProto:
    outputs = [value(output, "n", WIDTH)]
    graph = helper.make_graph(list(nodes), "g", list(inputs), outputs, constants(**arrays))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    return proto


def switch(
    then: onnx.GraphProto, other: onnx.GraphProto, condition: str = "c", output: str = "y"
) -> onnx.NodeProto:
    return node("If", [condition], [output], "switch", then_branch=then, else_branch=other)


def two_ways() -> onnx.ModelProto:
    """Both branches read a hidden value of the graph around them and the input."""
    left, first = two_layers("l", "h", 1)
    right, second = two_layers("r", "h", 2)
    around, third = two_layers("s", "x", 3)
    around[-1].output[0] = "h"
    nodes = [*around, switch(branch(left, "l_y", **first), branch(right, "r_y", **second))]
    return net(nodes, value("x", "n", WIDTH), value("c", kind=TensorProto.BOOL), **third)


def outputs_of(model: Model, **feeds: Any) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    data = proto_from_model(model).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {k: np.asarray(v) for k, v in feeds.items()})[0]
    return found


def check_equal(result: PruneReport, **feeds: Sequence[Any]) -> None:
    """Compare both files in ONNX Runtime for every condition."""
    check_model(result.model)
    check_model(result.masked)
    x = np.random.default_rng(0).standard_normal((3, WIDTH)).astype(np.float32)
    for choice in zip(*feeds.values(), strict=True):
        own = dict(zip(feeds, choice, strict=True))
        small = outputs_of(result.model, x=x, **own)
        np.testing.assert_allclose(small, outputs_of(result.masked, x=x, **own), rtol=1e-4)


def removed(result: PruneReport) -> dict[str, int]:
    return {name: int(gone.sum()) for name, gone in result.plan.sets.items()}


def test_both_branches_and_what_is_around_them_are_cut() -> None:
    result = prune(model_from_proto(two_ways()))
    half = HIDDEN // 2
    assert removed(result) == {"s_fc1": half, "switch/then/l_fc1": half, "switch/else/r_fc1": half}
    assert result.after.params == result.before.params / 2
    assert result.verify.passed
    assert not result.verify.vacuous
    assert any("switch/then, checked on its own" in note for note in result.verify.notes)
    check_equal(result, c=[True, False])
    assert [each.reason for each in result.obstacles] == []


def test_the_masked_model_keeps_the_nodes_of_both_branches() -> None:
    proto = two_ways()
    masked = proto_from_model(prune(model_from_proto(proto)).masked)
    for name in ("then_branch", "else_branch"):
        before, after = (
            next(a.g for n in p.graph.node for a in n.attribute if a.name == name)
            for p in (proto, masked)
        )
        assert [n.name for n in before.node] == [n.name for n in after.node]
        shapes = {t.name: list(t.dims) for t in before.initializer}
        assert {t.name: list(t.dims) for t in after.initializer} == shapes
        zeros = [int((numpy_helper.to_array(t) == 0).sum()) for t in after.initializer]
        assert zeros == [WIDTH * HIDDEN // 2] * 2


def test_a_wrong_cut_in_a_branch_that_random_inputs_never_reach_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The condition asks for a sum that no random input has."""
    left, first = two_layers("l", "x", 1)
    right, second = two_layers("r", "x", 2)
    nodes = [
        node("ReduceSum", ["x"], ["sum"], "sum", keepdims=0),
        node("Greater", ["sum", "much"], ["c"], "greater"),
        switch(branch(left, "l_y", **first), branch(right, "r_y", **second)),
    ]
    proto = net(nodes, value("x", "n", WIDTH), much=np.float32(1e9))
    assert removed(prune(model_from_proto(proto)))["switch/then/l_fc1"] == HIDDEN // 2
    right_cut = attempts.masked_model

    def wrong(dependency: Any, plan: Plan) -> Model:
        gone = {
            name: np.roll(sets, 1) if name == "l_fc1" else sets for name, sets in plan.sets.items()
        }
        return right_cut(dependency, Plan(sets=gone))

    monkeypatch.setattr(attempts, "masked_model", wrong)
    with pytest.raises(VerifyError, match="switch/then: the equivalence check failed"):
        prune(model_from_proto(proto))


def test_an_if_inside_a_branch_is_cut_as_well() -> None:
    deep, first = two_layers("d", "l_y", 1)
    left, second = two_layers("l", "x", 2)
    right, third = two_layers("r", "x", 3)
    same = branch([node("Identity", ["l_y"], ["e_y"])], "e_y")
    inner = switch(branch(deep, "d_y", **first), same, condition="c2", output="i_y")
    inner.name = "inner"
    nodes = [switch(branch([*left, inner], "i_y", **second), branch(right, "r_y", **third))]
    kind = TensorProto.BOOL
    proto = net(nodes, value("x", "n", WIDTH), value("c", kind=kind), value("c2", kind=kind))
    result = prune(model_from_proto(proto))
    half = HIDDEN // 2
    assert removed(result) == {
        "switch/then/l_fc1": half, "switch/then/inner/then/d_fc1": half, "switch/else/r_fc1": half,
    }  # fmt: skip
    check_equal(result, c=[True, True, False], c2=[True, False, True])


def test_weights_outside_are_cut_where_one_branch_alone_reads_them() -> None:
    left, first = two_layers("l", "x", 1)
    right = [  # the other branch reads the second weight, too
        node("Transpose", ["l_w2"], ["l_w2t"], "turn"),
        node("MatMul", ["x", "l_w2t"], ["r_a"], "r_fc1"),
        node("MatMul", ["r_a", "l_w2"], ["r_y"], "r_fc2"),
    ]
    nodes = [switch(branch(left, "l_y"), branch(right, "r_y"))]
    condition = value("c", kind=TensorProto.BOOL)
    shared = prune(model_from_proto(net(nodes, value("x", "n", WIDTH), condition, **first)))
    assert removed(shared) == {}
    own = [switch(branch(left, "l_y"), branch([node("Identity", ["x"], ["r_y"])], "r_y"))]
    result = prune(model_from_proto(net(own, value("x", "n", WIDTH), condition, **first)))
    assert removed(result) == {"switch/then/l_fc1": HIDDEN // 2}
    small = {t.name: list(t.dims) for t in proto_from_model(result.model).graph.initializer}
    assert small == {"l_w1": [WIDTH, HIDDEN // 2], "l_w2": [HIDDEN // 2, WIDTH]}
    check_equal(result, c=[True, False])


def test_a_size_that_both_branches_share_is_changed_in_the_one_that_is_cut() -> None:
    """The constant shape of a Reshape lies outside; a cut changes it for one branch only."""
    shape = np.array([-1, 2, HIDDEN // 2], np.int64)
    left, first = two_layers("l", "x", 1)
    left[1:2] = [
        node("Relu", ["l_a"], ["l_r"], "l_relu"),
        node("Reshape", ["l_r", "shape"], ["l_s"], "l_split"),
        node("Reshape", ["l_s", "flat"], ["l_b"], "l_join"),
    ]
    right = [
        node("Concat", ["x", "x", "x"], ["r_c"], "r_wide", axis=1),
        node("Reshape", ["r_c", "shape"], ["r_s"], "r_split"),
        node("ReduceSum", ["r_s", "ax"], ["r_m"], "r_sum", keepdims=0),
        node("Slice", ["r_m", "zero", "eight", "ax"], ["r_y"], "r_few"),
    ]
    nodes = [switch(branch(left, "l_y", **first), branch(right, "r_y"))]
    condition = value("c", kind=TensorProto.BOOL)
    proto = net(
        nodes, value("x", "n", WIDTH), condition, shape=shape,
        flat=np.array([-1, HIDDEN], np.int64), ax=np.array([1], np.int64),
        zero=np.array([0], np.int64), eight=np.array([WIDTH], np.int64),
    )  # fmt: skip
    result = prune(model_from_proto(proto))
    assert sum(removed(result).values()) > 0
    assert result.after.params < result.before.params
    outside = {t.name: t for t in proto_from_model(result.model).graph.initializer}
    assert numpy_helper.to_array(outside["shape"]).tolist() == shape.tolist()
    check_equal(result, c=[True, False])


def test_a_branch_that_nothing_can_reach_stays_and_says_so() -> None:
    """Inputs have rows of 8 numbers; one branch wants a multiple of 7."""
    left, first = two_layers("l", "seven", 1)
    left.insert(0, node("Reshape", ["x", "shape"], ["seven"], "l_reshape"))
    first["l_w1"] = first["l_w1"][:7]
    right, second = two_layers("r", "x", 2)
    then = branch(left, "l_y", **first, shape=np.array([-1, 7], np.int64))
    nodes = [switch(then, branch(right, "r_y", **second))]
    proto = net(nodes, value("x", "n", WIDTH), value("c", kind=TensorProto.BOOL))
    result = prune(model_from_proto(proto))
    assert removed(result) == {"switch/else/r_fc1": HIDDEN // 2}
    (reason,) = [f.message for f in result.fences if f.location.value == "switch/then"]
    assert "could not be checked" in reason
    assert reason.startswith(result.obstacles[0].reason)
    assert remedy(result.obstacles, {}).startswith("--input-shape may help")
    kept = next(
        a.g
        for a in proto_from_model(result.model).graph.node[0].attribute
        if a.g.node[0].name == "l_reshape"
    )
    assert kept.SerializeToString() == then.SerializeToString()


def test_a_number_that_selects_the_branch_is_fed() -> None:
    """The other branch takes no input of the usual sizes: its rows have 3 numbers."""
    left, first = two_layers("l", "x", 1)
    right, second = two_layers("r", "wrong", 2)
    second["r_w1"] = second["r_w1"][:3]
    right.insert(0, node("Reshape", ["x", "shape"], ["wrong"], "r_reshape"))
    other = branch(right, "r_y", **second, shape=np.array([-1, 3], np.int64))
    nodes = [
        node("Equal", ["rate", "known"], ["c"], "equal"),
        switch(branch(left, "l_y", **first), other),
    ]
    rate = value("rate", kind=TensorProto.INT64)
    proto = net(nodes, value("x", "n", WIDTH), rate, known=np.array(16_000, np.int64))
    result = prune(model_from_proto(proto))
    assert removed(result) == {"switch/then/l_fc1": HIDDEN // 2}
    assert result.verify.passed


def test_weights_in_a_loop_stay_and_are_named() -> None:
    body, first = two_layers("l", "state", 1)
    graph = helper.make_graph(
        [*body, node("Identity", ["going"], ["go"])], "body",
        [value("i", kind=TensorProto.INT64), value("going", kind=TensorProto.BOOL),
         value("state", "n", WIDTH)],
        [value("go", kind=TensorProto.BOOL), value("l_y", "n", WIDTH)],
        constants(**first),
    )  # fmt: skip
    nodes = [node("Loop", ["count", "yes", "x"], ["y"], "loop", body=graph)]
    proto = net(nodes, value("x", "n", WIDTH), count=np.array(3, np.int64), yes=np.array(True))
    result = prune(model_from_proto(proto))
    assert removed(result) == {}
    assert (result.obstacles[0].nodes, result.obstacles[0].reason) == (("loop",), INNER_REASON)


def test_columns_of_a_branch_are_cut_and_named() -> None:
    result = prune(model_from_proto(two_ways()), sparsity=0.0, columns=0.5, allow_slower=True)
    names = {layer.name: layer for layer in result.lowered}
    assert {"s_fc1", "switch/then/l_fc1", "switch/else/r_fc2"} <= names.keys()
    assert names["switch/then/l_fc2"].columns_before == HIDDEN
    assert result.after.params < result.before.params
    check_equal(result, c=[True, False])


def test_a_layer_of_a_branch_is_kept_by_its_name() -> None:
    result = prune(model_from_proto(two_ways()), keep=["switch/then/*"])
    half = HIDDEN // 2
    assert removed(result) == {"s_fc1": half, "switch/else/r_fc1": half}
    check_equal(result, c=[True, False])


@pytest.mark.parametrize("columns", [0.0, 0.5])
def test_the_plan_repeats_what_was_cut_of_branches(columns: float) -> None:
    model = model_from_proto(two_ways())
    first = prune(model, columns=columns, allow_slower=bool(columns))
    assert set(first.cut_plan.branches) == {"switch/then", "switch/else"}
    plan = CutPlan.from_json(json.dumps(first.cut_plan.as_json()))
    for again in (prune(model, plan=plan), apply_plan(model, plan)):
        for made, expected in ((again.model, first.model), (again.masked, first.masked)):
            made, expected = proto_from_model(made), proto_from_model(expected)
            del made.metadata_props[:], expected.metadata_props[:]
            assert made.SerializeToString() == expected.SerializeToString()
    strange = plan.model_copy(update={"branches": {"switch/other": CutPlan()}})
    with pytest.raises(UsageError, match="a branch that the model does not have"):
        apply_plan(model, strange)
